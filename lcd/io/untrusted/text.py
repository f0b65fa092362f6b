"""Reader of untrusted text, JSON and TOML."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from lcd.io.untrusted.opening import KIB, MIB, REMEDY, UnreadableFileError, in_short, read_bytes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEEPEST = 64
"""Lists and objects within each other."""

MOST_OBJECTS = 2_000_000
"""Lists and objects in all: each takes some sixty bytes, however few it has in the file."""

LARGEST_JSON = 64 * MIB
LARGEST_TOML = 64 * KIB
"""A plan that people write by hand; what reads it takes time with the square of a key's parts."""

_MOST_PARTS = 200  # dots in a line of TOML
_ALONE = re.compile(r"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]")
_PAIRS = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")


def read_text(path: Path, most: int = LARGEST_JSON, *, remedy: str = REMEDY) -> str:
    """Read a text file in UTF-8.

    Raises
    ------
    UnreadableFileError
        If the file cannot be read, is larger than `most` bytes, or is no text.
    """
    try:
        return read_bytes(path, most, remedy=remedy).decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableFileError(f"{path} is no text in UTF-8: {remedy}.") from None


def read_json(path: Path, most: int = LARGEST_JSON, *, remedy: str = REMEDY) -> Any:
    """Read a JSON file.

    Raises
    ------
    UnreadableFileError
        If the file cannot be read, or as `parse_json` says.
    """
    return parse_json(read_text(path, most, remedy=remedy), str(path), remedy=remedy)


def parse_json(text: str, name: str, *, remedy: str = REMEDY) -> Any:
    """Parse JSON.

    Parameters
    ----------
    text
        The text.
    name
        Its name in messages.
    remedy
        Remedy in the message, as the end of a sentence.

    Raises
    ------
    UnreadableFileError
        If it is no JSON, nested too deeply, or holds a whole number beyond 64 bits or half of a character.
    """
    if text.count("[") + text.count("{") > MOST_OBJECTS:
        raise UnreadableFileError(f"{name} holds more than {MOST_OBJECTS:,} lists and objects: {remedy}.")
    try:
        data = json.loads(text, parse_int=_of_64_bits)
        if _ALONE.search(_PAIRS.sub("", text)):
            raise ValueError("half of a character of two")
        _check_depth(data)
    except (ValueError, RecursionError, MemoryError) as error:
        raise UnreadableFileError(f"{name} cannot be read as JSON ({in_short(error)}): {remedy}.") from None
    return data


def _of_64_bits(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= (number := int(digits)) < 2**63:
        raise ValueError("a whole number beyond 64 bits")
    return number


def _check_depth(data: Any) -> None:
    """Check the nesting depth without recursion, so that later recursion is safe."""
    layer, depth = [data], 0
    while layer := [each for each in layer if isinstance(each, (dict, list))]:
        depth += 1
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        layer = [child for each in layer for child in (each.values() if isinstance(each, dict) else each)]


def read_toml(
    path: Path, most: int = LARGEST_TOML, *, what: str = "such a file", remedy: str = REMEDY
) -> dict[str, Any]:
    """Read a TOML file; `what` says what it should be.

    Raises
    ------
    UnreadableFileError
        If the file cannot be read, is no TOML, or is nested too deeply.
    """
    return parse_toml(read_text(path, most, remedy=remedy), str(path), what=what, remedy=remedy)


def parse_toml(text: str, name: str, *, what: str = "such a file", remedy: str = REMEDY) -> dict[str, Any]:
    """Parse TOML; `what` says what it should be.

    Raises
    ------
    UnreadableFileError
        If it is no TOML, or nested too deeply.
    """
    try:
        if any(line.count(".") > _MOST_PARTS for line in text.splitlines()):
            raise ValueError(f"a line has more than {_MOST_PARTS} dots")
        data = tomllib.loads(text)
        _check_depth(data)
    except (ValueError, RecursionError, MemoryError) as error:
        raise UnreadableFileError(
            f"{name} is not written as {what} is, in TOML ({in_short(error)}): {remedy}."
        ) from None
    return data
