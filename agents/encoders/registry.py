"""Encoders by name, with their weights and whether these are frozen or fine-tuned."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from lcd.agents.encoders.convolutional import Encoder, Impala, Impoola, Nature, Small
from lcd.agents.encoders.own_modules import encoder_around
from lcd.agents.encoders.pretrained import BACKBONES, HUBS, ModuleEncoder
from lcd.agents.encoders.residual import Residual
from lcd.agents.encoders.vectors import Mlp
from lcd.agents.encoders.weights import POOLS, read_pools
from lcd.agents.observations import LABELS
from lcd.io.limits import short
from lcd.io.limits import text as checked_text
from lcd.io.modules import import_named, is_importable, version_of_modules

ENCODERS: dict[str, type[Encoder]] = {
    "nature": Nature,
    "small": Small,
    "impala": Impala,
    "impoola": Impoola,
    "residual": Residual,
    "mlp": Mlp,
}
"""Encoders that are trained from scratch, by name; `register_encoder` adds to them."""

PLUGINS = "lcd.encoders"
"""Group of entry points: an installed package that has one there is imported when its encoder is first asked for."""

LARGEST_SIZE, MOST_SIZES = 4_096, 16
"""Largest number after the colon of an encoder's name, and how many there may be."""

MOST_WEIGHTS = 2**28
"""Weights of an encoder whose sizes its name says: one gigabyte, and three more for gradients and Adam's averages."""

SMALL_SIDE = 128
"""Side of images up to which no encoder of its usual size has as many weights as that."""

_REGISTERED_IN: dict[str, str] = {}
"""Modules that called `register_encoder`, by the names of the encoders."""

_FRAMES = spaces.Box(0, 255, (3, 64, 64), np.uint8)
_LABEL_MAPS = spaces.Box(0, LABELS - 1, (64, 64), np.uint8)


def register_encoder(name: str) -> Callable[[type[Encoder]], type[Encoder]]:
    """Register an encoder class under a name, as a class decorator.

    Runs are carried out in processes of their own, so it must be used where a module is imported, not in a script.

    Raises
    ------
    ValueError
        If the name is taken, or has a character that `EncoderName` reserves.
    """
    if taken := [sign for sign in ":@+," if sign in name]:
        named = {":": "colon"}.get(taken[0], f"sign {taken[0]}")
        raise ValueError(f"The name of an encoder has no {named}: {name!r} does.")

    registering = str(sys._getframe(1).f_globals.get("__name__"))  # it may be another module than the class's

    def add(encoder: type[Encoder]) -> type[Encoder]:
        if name in ENCODERS:
            raise ValueError(f"There is an encoder {name!r} already: choose another name.")
        ENCODERS[name] = encoder
        _REGISTERED_IN[name] = registering
        return encoder

    return add


_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def names_a_class(architecture: str) -> bool:
    """Whether an encoder is named as a class in a module, ``"my_package.nets:MyNet"``."""
    return _CLASS.fullmatch(architecture) is not None and architecture.partition(":")[0] not in (*ENCODERS, *HUBS)


def import_encoder(encoder: str | type[nn.Module]) -> str:
    """Import an encoder that is given as a class, or named as one in a module, and register it; others are left alone.

    The class derives from `Encoder`, or is one of torch modules, see `lcd.agents.encoders.own_modules`. Importing runs
    the module's code, so a file never causes it, only its user.

    Returns
    -------
    str
        The name that `parse_encoder` then knows it by.

    Raises
    ------
    ValueError
        If there is no such class, or it is neither an `Encoder` nor a torch module.
    """
    if isinstance(encoder, type):
        name = f"{encoder.__module__}:{encoder.__qualname__}"
        if encoder.__module__ == "__main__" or "." in encoder.__qualname__:
            raise ValueError(
                f"The encoder {encoder.__qualname__} cannot be imported by the processes that carry out runs: put it "
                "at the top level of a module, and give that."
            )
        encoder = name
    architecture = checked_text("An encoder's name", encoder).partition("@")[0].partition("+")[0]
    if architecture in ENCODERS or not names_a_class(architecture):
        return encoder
    module, _, name = architecture.partition(":")
    try:
        found = getattr(import_named(module), name, None)
    except ImportError as error:
        raise ValueError(f"The encoder {short(architecture)} cannot be found: {error}.") from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(
            f"{short(architecture)} is no class of lcd.agents.Encoder, nor of torch.nn.Module: derive it from one of "
            "them."
        )
    ENCODERS[architecture] = found if issubclass(found, Encoder) else encoder_around(found)
    return encoder


def module_of(encoder: str) -> str | None:
    """Module whose import makes an encoder known; None for one that comes with the package.

    Raises
    ------
    ValueError
        If no import makes it known to the processes that carry out runs: a script registered it, or a function.
    """
    architecture = EncoderName.read(encoder).architecture
    made, _ = parse_encoder(architecture)
    module = _REGISTERED_IN.get(architecture.partition(":")[0], made.__module__)
    if module.startswith("lcd."):
        return None
    if module == "__main__" or "<locals>" in made.__qualname__ or not is_importable(module):
        raise ValueError(
            f"The encoder {encoder} is registered where the processes that carry out runs do not import it, in "
            f"{'the script that was started' if module == '__main__' else module}: put it at the top level of a module."
        )
    return module


def version_of_encoder(encoder: str) -> str | None:
    """What tells an encoder from a later one of the same name; None for one that comes with the package.

    That is the version of the package that it is from, or a checksum of its source where it is of the user's own.

    Raises
    ------
    ValueError
        If the processes that carry out runs cannot import it.
    """
    module = module_of(encoder)
    made, _ = parse_encoder(EncoderName.read(encoder).architecture)
    return None if module is None else version_of_modules(*dict.fromkeys((module, made.__module__)))


def _known(name: str) -> bool:
    """Whether an encoder has this name; a plugin that provides it is imported first."""
    if name not in ENCODERS:
        for plugin in entry_points(group=PLUGINS, name=name):
            try:
                plugin.load()
            except (ImportError, AttributeError) as error:
                raise ValueError(
                    f"The encoder {name!r}, {plugin.value}, cannot be imported ({error}): install the package that "
                    "provides it again."
                ) from error
    return name in ENCODERS


def parse_encoder(text: str) -> tuple[type[Encoder], dict[str, Any]]:
    """Encoder class and its arguments from an architecture: ``"nature"``, ``"nature:256"`` or ``"impala:32,64,64"``.

    The number after ``nature:`` is the number of features. The numbers after ``impala:`` are the channels of its
    stages, those after ``residual:`` the patch size and the channels. After ``timm:`` and ``hf:`` comes the name of a
    model.

    Raises
    ------
    ValueError
        If there is no such encoder, or its numbers are not valid.
    """
    if text in ENCODERS:
        return ENCODERS[text], {}
    name, colon, sizes = text.partition(":")
    if text in BACKBONES or (name in HUBS and sizes):
        return ModuleEncoder, {"backbone": text}
    if not _known(name):
        usual = (each for each, made in ENCODERS.items() if made.reads_frames and ":" not in each)  # others: teachers'
        known = ", ".join([*usual, *BACKBONES, *(f"{hub}:NAME" for hub in HUBS)])
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
        arguments = ENCODERS[name].arguments(tuple(int(number) for number in numbers))
    except ValueError as error:
        raise ValueError(f"The encoder {text!r} does not exist: {error}.") from None
    check_weights(text, ENCODERS[name], arguments, _FRAMES if ENCODERS[name].reads_frames else _LABEL_MAPS)
    return ENCODERS[name], arguments


def check_weights(text: str, made: type[Encoder], arguments: Mapping[str, Any], space: spaces.Space) -> None:
    """Check how many weights an encoder has for observations of a space, before memory is allocated for them.

    An encoder whose shapes are not known without computing passes.

    Parameters
    ----------
    text
        Its name, for the message.
    made, arguments
        As from `parse_encoder`.
    space
        Of the observations.

    Raises
    ------
    ValueError
        If it has more than `MOST_WEIGHTS`.
    """
    if made is ModuleEncoder:
        return  # a library's or a user's own module, as large as it is
    if not arguments and max(space.shape or (0,)) <= SMALL_SIDE:
        return  # what counts is loaded when it is first used, in half a second
    key = (made, repr(sorted(arguments.items())), repr(space))
    if key not in _WEIGHTS:
        _WEIGHTS[key] = _count_weights(made, arguments, space)
    if (weights := _WEIGHTS[key]) > MOST_WEIGHTS:
        raise ValueError(
            f"The encoder {text!r} has {weights:,} weights for observations of shape {space.shape}, and at most "
            f"{MOST_WEIGHTS:,} are trained: choose smaller sizes, such as impala:16,32,32."
        )


_WEIGHTS: dict[tuple[type[Encoder], str, str], int] = {}
"""Numbers of weights that were counted, by class, arguments and observations."""


def _count_weights(made: type[Encoder], arguments: Mapping[str, Any], space: spaces.Space) -> int:
    """Weights of an encoder, without memory for them; 0 where its shapes are not known without computing."""
    try:
        with torch.device("meta"):
            return sum(each.numel() for each in made(space, **arguments).parameters())
    except Exception:  # of many types: an encoder's constructor may compute with real tensors
        return 0


@dataclass(frozen=True)
class EncoderName:
    """A parsed encoder name, such as ``nature:256@weights.safetensors+tuned=1e-4``.

    Attributes
    ----------
    architecture
        See `parse_encoder`.
    weights
        File of the backbone's weights, after ``@``; see `lcd.agents.encoders.weights`.
    frozen
        Whether the backbone is frozen: ``+frozen`` freezes it, ``+tuned`` fine-tunes it. By default a pretrained
        encoder is frozen and one without weights is trained. ``nature+frozen`` has random frozen weights, the control.
    learning_rate
        Learning rate of the backbone, from ``+tuned=RATE``, or None for that of the other layers.
    """

    architecture: str
    weights: Path | None = None
    frozen: bool = False
    learning_rate: float | None = None

    @property
    def comes_with_weights(self) -> bool:
        """Whether the architecture is always pretrained."""
        return parse_encoder(self.architecture)[0] is ModuleEncoder

    @property
    def encoder(self) -> tuple[type[Encoder], dict[str, Any]]:
        """Encoder class and its arguments; with weights from a file a library fetches none.

        Raises
        ------
        ValueError
            If the file does not say clearly how its model is used.
        """
        made, arguments = parse_encoder(self.architecture)
        if made is not ModuleEncoder or self.weights is None:
            return made, arguments
        pools = read_pools(self.weights) if self.architecture.startswith("hf:") else None
        return made, arguments | {"pretrained": False} | ({} if pools is None else {POOLS: pools})

    @property
    def without_weights(self) -> str:
        """The name without its file, for an encoder whose weights are loaded already."""
        if self.frozen:
            return f"{self.architecture}+frozen"
        if self.learning_rate is not None:
            return f"{self.architecture}+tuned={self.learning_rate}"
        return self.architecture + "+tuned" * self.comes_with_weights

    @property
    def untrained(self) -> str:
        """An encoder of the same cost with random weights, in place of one whose file does not exist yet.

        It is named apart from the plain architecture, whose runs are others.
        """
        return self.without_weights if self.frozen or self.learning_rate else f"{self.architecture}+tuned"

    @classmethod
    def read(cls, text: str) -> EncoderName:
        """Parse a name.

        Raises
        ------
        ValueError
            If it is not a valid name.
        """
        checked_text("An encoder's name", text)
        rest, plus, mode = text.rpartition("+")
        known = mode in ("frozen", "tuned") or mode.startswith("tuned=")
        if not plus or ("@" in rest and not known):  # the plus may belong to the name of a file
            rest, plus, mode = text, "", ""
        architecture, at, file = rest.partition("@")
        if file and architecture.isidentifier() and not _known(architecture) and architecture not in BACKBONES:
            if "timm" not in sys.modules and find_spec("timm") is None:
                raise ValueError(
                    f"Unknown encoder {architecture!r}: name one of the LCD's, or install timm if it is one of timm's."
                )
            architecture = f"timm:{architecture}"
        parse_encoder(architecture)
        pretrained = bool(file) or parse_encoder(architecture)[0] is ModuleEncoder
        word, equals, number = mode.partition("=")
        if (at and not file) or (plus and word not in ("frozen", "tuned")) or (equals and word != "tuned"):
            raise ValueError(
                f"The encoder {text!r} is not a valid name: after @ comes a file, and after that +frozen, +tuned or "
                "+tuned=1e-4."
            )
        try:
            rate = float(number) if equals else None
        except ValueError:
            raise ValueError(
                f"The learning rate of the encoder {text!r} is not a number: write one such as 1e-4."
            ) from None
        if rate is not None and not 0 < rate < math.inf:
            raise ValueError(f"The learning rate of an encoder must be above 0, not {rate}.")
        frozen = word == "frozen" or (pretrained and word != "tuned")
        return cls(architecture, Path(file) if file else None, frozen, rate)
