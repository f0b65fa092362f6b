"""Limits of numbers, and validation of arguments; `lcd.io.settings` validates the fields of settings."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

NAME_IN_FIGURES = re.compile(r"[^$\\]{1,200}")
"""Of a game, a method or a group: dollar signs and backslashes would be read as a formula where it is drawn."""

MOST_STEPS = 10**12
"""Environment steps of a run: more than a year of the fastest machine."""

MOST_SEEDS = 1_000
"""Seeds of a cell; twice as many narrow an interval by a third."""

MOST_EVALUATIONS = 1_000
"""Evaluations along a run."""

MOST_FACTOR = 100
"""Limit of a teacher's budget as a multiple of a cell's."""

MOST_GAMES_AT_ONCE = 2**16
"""Games that step together, and so episodes of an evaluation: each takes about a megabyte."""

LARGEST_SIDE, MOST_ACTIONS = 1_024, 10_000
"""Largest side of a policy's observation in pixels, and largest number of its actions."""

MOST_ACTION_VALUES = 1_000
"""Values that each part of a continuous action may have."""

MOST_LABELS = 65
"""Labels of label maps run from 0 up to, and without, this number: encoders have a code for as many."""

MOST_CHANNELS = 64
"""Of a frame: sixteen stacked frames of four channels."""

MOST_IMAGES = 100_000
"""Images whose importance maps are measured together."""

FEWEST_SCENES, MOST_SCENES = 40, 25_000
"""Training or test scenes of each kind from which probes learn."""

MOST_COPIES = 100
"""Copies of an encoder with random weights."""

MOST_STEPS_OF_IMAGE, MOST_CROPS = 100_000, 256
"""Steps of the optimisation of one image, and its crops in each step."""

MOST_WORKERS = 1_024
"""Worker processes, and threads of each."""

STEP_LIMIT, LONGEST_STEP_LIMIT = 300, 86_400
"""Seconds after which a step or a reset of another package's game is taken to hang: the default, and the largest."""

MOST_EPOCHS = 10_000
"""Passes over the same frames or images."""

LARGEST_SEED = 2**31 - 1
"""Procgen and torch handle larger seeds differently, or not at all."""


def whole_number(name: str, value: Any, least: int = 0, most: int = MOST_STEPS) -> int:
    """Check a whole number and its limits.

    Parameters
    ----------
    name
        Its name in messages.
    value
        Whatever was given for it; true and false are no numbers.
    least, most
        The limits, both allowed.

    Raises
    ------
    ValueError
        If it is something else, or beyond a limit.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} must be a whole number, not {short(value)}.")
    number = int(value)
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {short(number)}.")
    if number > most:
        raise ValueError(f"{name} must be at most {most:,}, not {short(number)}.")
    return number


def real_number(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """Check a finite number and its limits.

    Parameters
    ----------
    name
        Its name in messages.
    value
        Whatever was given for it.
    least, most
        The limits, both allowed.

    Raises
    ------
    ValueError
        If it is something else, not finite, or beyond a limit.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, not {short(value)}.")
    try:
        number = float(value)
    except OverflowError:  # of a whole number with hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, not {short(value)}.")
    if not least <= number <= most:
        raise ValueError(f"{name} must lie between {least:g} and {most:g}, not be {number:g}.")
    return number


def text(name: str, value: Any) -> str:
    """Check a string.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text in quotation marks, not {short(value)}.")
    return value


def path(name: str, value: Any) -> Path:
    """Check a path, given as such or as a string.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise ValueError(f"{name} must be a path, not {short(value)}.")
    if "\0" in os.fspath(value):
        raise ValueError(f"{name} must be a path, which has no zero byte as {short(value)} has.")
    return Path(value)


def listed(name: str, several: Any, what: str = "a list in brackets") -> tuple[Any, ...]:
    """Check that something is a list or the like; a single string is none.

    Raises
    ------
    ValueError
        If it is none; the message says what is wanted.
    """
    if isinstance(several, str) or not isinstance(several, Iterable):
        raise ValueError(f"{name} must be {what}, not {short(several)}.")
    return tuple(several)


def texts(name: str, several: Any) -> tuple[str, ...]:
    """Check a list of strings; a single string is refused.

    Raises
    ------
    ValueError
        If it is something else.
    """
    several = listed(name, several, "a list of names, each in quotation marks")
    return tuple(text(f"A name among {name}", each) for each in several)


def _refuse_constant(name: str) -> float:
    """Refuse NaN and infinities, which JSON has not.

    Raises
    ------
    ValueError
        Always.
    """
    raise ValueError(f"{name} is no number")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different.

    Raises
    ------
    ValueError
        If one comes twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"{twice} comes twice")
    if infinite := [key for key, value in pairs if isinstance(value, float) and math.isinf(value)]:
        raise ValueError(f"{infinite[0]} is beyond double precision")
    return found


def json_object(name: str, value: Any, *, example: str) -> dict[str, Any]:
    """Check an object as JSON has it, given as a mapping or as JSON's text.

    Parameters
    ----------
    name
        Its name in messages.
    value
        Whatever was given for it.
    example
        One that is right, for the message.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not isinstance(value, (str, Mapping)):
        raise ValueError(f"{name} must be an object, in JSON such as '{example}', not {short(value)}.")
    try:
        text = value if isinstance(value, str) else json.dumps(dict(value))
        data = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_repetition)
        if not isinstance(data, dict):
            raise TypeError("not an object")
    except (TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ValueError(
            f"{name} must be an object in JSON, such as '{example}', not {short(value)} ({reason})."
        ) from None
    return data


def short(value: Any) -> str:
    """Shortened repr of a value for a message, on one line."""
    try:
        shown = " ".join(repr(value).split())
    except ValueError:  # of a whole number with thousands of digits
        shown = f"a number of {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__
    return shown if len(shown) <= 120 else f"{shown[:100]}... ({len(shown):,} characters)"
