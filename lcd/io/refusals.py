"""What pydantic refuses, as one sentence that names the field, what is allowed, and what was given."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from lcd.io.limits import short

CALLED = "__called__"
"""Attribute of a class of settings: the pattern of a field's name in messages."""

SENTENCES = {
    "missing": "{name} is missing: give it.",
    "unexpected_positional_argument": "There are more values than settings, {given} among them: name each.",
    "multiple_argument_values": "{name} is given twice: give it once.",
    "int_type": "{name} must be a whole number, not {given}.",
    "float_type": "{name} must be a number, not {given}.",
    "finite_number": "{name} must be finite, not {given}.",
    "greater_than_equal": "{name} must be at least {ge}, not {given}.",
    "greater_than": "{name} must be above {gt}, not {given}.",
    "less_than_equal": "{name} must be at most {le}, not {given}.",
    "less_than": "{name} must be below {lt}, not {given}.",
    "bool_type": "{name} must be true or false, not {given}.",
    "string_type": "{name} must be a text in quotation marks, not {given}.",
    "literal_error": "{name} must be {expected}, not {given}.",
    "tuple_type": "{name} must be a list, not {given}.",
    "too_short": "{name} must hold at least {min_length} of them, not {actual_length}.",
    "too_long": "{name} must hold at most {max_length} of them, not {actual_length}.",
    "mapping_type": "{name} must be an object with names and values, not {given}.",
    "dict_type": "{name} must be an object with names and values, not {given}.",
    "dataclass_type": "{name} must be an object with the settings of {class_name}, not {given}.",
    "is_instance_of": "{name} must be {class}, not {given}.",
    "path_type": "{name} must be a path, not {given}.",
}
"""Sentences by pydantic's types of error; any other one is in pydantic's words."""

OF_THE_CALL = ("missing", "multiple_argument_values", "unexpected_positional_argument")
"""Types of error that are not about a value."""


def as_value_error(kind: type, error: ValidationError) -> ValueError:
    """The first of what is wrong, as one sentence; what a class's own rules say is kept.

    Parameters
    ----------
    kind
        The class whose fields were validated.
    error
        What pydantic found.
    """
    # An unknown name tells more than the missing one that it stands for.
    first = min(error.errors(include_url=False), key=lambda each: each["type"] == "missing")
    context = first.get("ctx", {})
    if isinstance(own := context.get("error"), Exception):
        return own if isinstance(own, ValueError) else ValueError(str(own))
    if first["type"] in ("unexpected_keyword_argument", "invalid_key"):
        return ValueError(_unknown(kind, first["loc"]))
    place, hint = _located(kind, first["loc"])
    name = getattr(kind, CALLED).format(place) if place else kind.__name__
    given = short(first["input"])
    if (allowed := _described(hint)) and first["type"] not in OF_THE_CALL:
        return ValueError(f"{name} must be {allowed}, not {given}.")
    if first["type"] in SENTENCES:
        return ValueError(SENTENCES[first["type"]].format(name=name, given=given, **_readable(context)))
    return ValueError(f"{name} cannot be {given}: {' '.join(first['msg'].split())}.")


def _readable(context: Mapping[str, Any]) -> dict[str, Any]:
    """Limits with separators between thousands."""
    return {
        name: f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else value
        for name, value in context.items()
    }


def _unknown(kind: type, place: tuple[int | str, ...]) -> str:
    """Sentence on a name that is no field; suggests the nearest."""
    inside, where = _located(kind, place[:-1])
    known = next((list(hints_of(each)) for each in _within(where) if hasattr(each, CALLED)), [])
    name = str(place[-1])
    near = difflib.get_close_matches(name[:100], known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose among {', '.join(known)}."
    return f"There is no setting {short(name)}{f' in {inside}' if inside else ''}: {hint}"


def _located(kind: type, place: tuple[int | str, ...]) -> tuple[str, Any]:
    """Follow pydantic's path of a value through the fields.

    Parameters
    ----------
    kind
        The class of the settings.
    place
        Names of fields, keys and places in a list. Pydantic counts fields that are given by place, and inserts names of
        its own for the members of a union and for keys.

    Returns
    -------
    str
        The path as people write it, such as ``evaluation.steps[1]``.
    type
        The type of what is there.
    """
    path, hint = "", kind
    for index, part in enumerate(place):
        inside = list(_within(hint))
        nested = next((each for each in inside if hasattr(each, CALLED)), None)
        fields = {} if nested is None else hints_of(nested)
        if index == 0 and isinstance(part, int) and part < len(fields):
            part = [*fields][part]
        if isinstance(part, int):
            lists = (each for each in inside if get_origin(each) is tuple)
            path, hint = f"{path}[{part}]", next((get_args(each)[0] for each in lists), Any)
        elif part in fields:
            path, hint = f"{path}.{part}", fields[part]
        elif part != "[key]" and any(get_origin(each) in (dict, Mapping) for each in inside):
            path = f"{path}[{short(part)}]"
    return path.removeprefix("."), hint


def _described(hint: Any) -> str | None:
    """What a type allows in words, where its ``Field`` has a description."""
    members = (hint, *get_args(hint)) if get_origin(hint) in (Union, UnionType) else (hint,)
    metadata = [each for member in members for each in getattr(member, "__metadata__", ())]
    words = (each.description for each in reversed(metadata) if isinstance(each, FieldInfo))
    return next((each for each in words if each), None)


def _within(hint: Any) -> Iterator[Any]:
    """A type and all types in it."""
    yield hint
    for inner in get_args(hint):
        yield from _within(inner)


def hints_of(kind: type) -> dict[str, Any]:
    """Types of the fields, by name."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
