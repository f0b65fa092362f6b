"""Encoders by name, and what else a name can say: whose weights, and whether they are trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from lcd.agents.encoders.convolutional import Encoder, Impala, Impoola, Nature, Small
from lcd.agents.encoders.pretrained import EYES, HUBS, ModuleEncoder
from lcd.agents.encoders.residual import Residual
from lcd.io.limits import short
from lcd.io.limits import text as checked_text

ENCODERS: dict[str, type[Encoder]] = {
    "nature": Nature,
    "small": Small,
    "impala": Impala,
    "impoola": Impoola,
    "residual": Residual,
}
"""Encoders that are trained from nothing, by name; `register_encoder` adds to them."""

PLUGINS = "lcd.encoders"
"""Group of entry points: an installed package that has one there is imported when its encoder is first asked for."""

LARGEST_SIZE, MOST_SIZES = 4_096, 16
"""What a number after the colon of an encoder's name may be, and how many there may be."""


def register_encoder(name: str) -> Callable[[type[Encoder]], type[Encoder]]:
    """Class decorator that makes an encoder known by a name.

    Raises
    ------
    ValueError
        If the name is taken, or has a sign that means something in `EncoderName`.
    """
    if taken := [sign for sign in ":@+," if sign in name]:
        named = {":": "colon"}.get(taken[0], f"sign {taken[0]}")
        raise ValueError(f"The name of an encoder has no {named}: {name!r} does.")

    def add(encoder: type[Encoder]) -> type[Encoder]:
        if name in ENCODERS:
            raise ValueError(f"There is an encoder {name!r} already: choose another name.")
        ENCODERS[name] = encoder
        return encoder

    return add


def _known(name: str) -> bool:
    """Whether there is an encoder of this name, after importing the package that brings it, if any does."""
    if name not in ENCODERS:
        for plugin in entry_points(group=PLUGINS, name=name):
            plugin.load()
    return name in ENCODERS


def parse_encoder(text: str) -> tuple[type[Encoder], dict[str, Any]]:
    """Encoder class and its arguments from an architecture: ``"nature"``, ``"nature:256"`` or ``"impala:32,64,64"``.

    The number after Nature's name is that of its features; those after IMPALA's are the depths of its stages; those
    after ``residual:`` the side of its squares of pixels and the depths. After
    ``timm:`` and ``hf:`` stands the name of a model there.

    Raises
    ------
    ValueError
        If there is no such encoder, or the numbers after the colon are not such numbers.
    """
    name, colon, sizes = text.partition(":")
    if text in EYES or (name in HUBS and sizes):
        return ModuleEncoder, {"eye": text}
    if not _known(name):
        usual = (name for name, encoder in ENCODERS.items() if encoder.reads_frames)  # the others are for teachers
        known = ", ".join([*usual, *EYES, *(f"{hub}:NAME" for hub in HUBS)])
        raise ValueError(f"Unknown encoder {text!r}: choose one of {known}.")
    if not colon:
        return ENCODERS[name], {}
    numbers = sizes.split(",")
    if not all(number.isascii() and number.isdigit() and number.strip("0") for number in numbers):
        raise ValueError(f"Sizes of an encoder are whole numbers above 0, as in impala:16,32,32, not {short(sizes)}.")
    if len(numbers) > MOST_SIZES or any(len(number) > 9 or int(number) > LARGEST_SIZE for number in numbers):
        raise ValueError(
            f"Sizes of an encoder are at most {MOST_SIZES} whole numbers up to {LARGEST_SIZE:,}, as in "
            f"impala:16,32,32, not {short(sizes)}."
        )
    try:
        return ENCODERS[name], ENCODERS[name].arguments(tuple(int(number) for number in numbers))
    except ValueError as error:
        raise ValueError(f"The encoder {text!r} does not exist: {error}.") from None


@dataclass(frozen=True)
class EncoderName:
    """What an encoder's name says, such as ``nature:256@eyes.safetensors+tuned=1e-4``.

    Attributes
    ----------
    architecture
        See `parse_encoder`.
    weights
        File of the eye's weights, after ``@``; see `lcd.agents.encoders.weights`.
    frozen
        Whether the eye stays as it is. ``+frozen`` says so, ``+tuned`` the reverse; by default an eye that learned
        elsewhere is frozen, and one without weights is trained. ``nature+frozen`` is a random eye, the control.
    learning_rate
        The eye's own learning rate, from ``+tuned=RATE``, or None for that of everything else.
    """

    architecture: str
    weights: Path | None = None
    frozen: bool = False
    learning_rate: float | None = None

    @property
    def comes_with_weights(self) -> bool:
        """Whether the architecture learned elsewhere by itself, and has no other weights."""
        return parse_encoder(self.architecture)[0] is ModuleEncoder

    @property
    def encoder(self) -> tuple[type[Encoder], dict[str, Any]]:
        """Encoder class and its arguments; weights from a file spare those of a library, which would be fetched."""
        made, arguments = parse_encoder(self.architecture)
        return made, arguments | ({"pretrained": False} if made is ModuleEncoder and self.weights else {})

    @property
    def without_weights(self) -> str:
        """The name for one whose weights are at hand, so that the file is not needed."""
        if self.frozen:
            return f"{self.architecture}+frozen"
        if self.learning_rate is not None:
            return f"{self.architecture}+tuned={self.learning_rate}"
        return self.architecture + "+tuned" * self.comes_with_weights

    @classmethod
    def read(cls, text: str) -> EncoderName:
        """Read a name.

        Raises
        ------
        ValueError
            If it is none.
        """
        checked_text("An encoder's name", text)
        rest, plus, manner = text.rpartition("+")
        written = manner in ("frozen", "tuned") or manner.startswith("tuned=")
        if not plus or ("@" in rest and not written):  # a file's name may have the sign
            rest, plus, manner = text, "", ""
        architecture, at, file = rest.partition("@")
        parse_encoder(architecture)
        learned = bool(file) or parse_encoder(architecture)[0] is ModuleEncoder
        word, equals, number = manner.partition("=")
        if (at and not file) or (plus and word not in ("frozen", "tuned")) or (equals and word != "tuned"):
            raise ValueError(
                f"The encoder {text!r} is not written as one: after @ comes a file, and after that +frozen, +tuned or "
                "+tuned=1e-4."
            )
        try:
            rate = float(number) if equals else None
        except ValueError:
            raise ValueError(
                f"The learning rate of the encoder {text!r} is no number: write one such as 1e-4."
            ) from None
        if rate is not None and not 0 < rate < math.inf:
            raise ValueError(f"The learning rate of an encoder must be above 0, not {rate}.")
        frozen = word == "frozen" or (learned and word != "tuned")
        return cls(architecture, Path(file) if file else None, frozen, rate)
