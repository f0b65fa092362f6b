"""Settings: frozen dataclasses whose fields pydantic validates, with errors that are one sentence.

`settings` makes such a class. Limits of a field stand in its type, ``Annotated[Whole, Field(ge=1)]``; the usual ones
have names here. Where the type's ``Field`` has a description, messages say what is allowed in its words. A rule about
several fields is a method with ``pydantic.model_validator(mode="after")``.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, overload

import numpy as np
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StrictBool,
    StrictStr,
    ValidationError,
    WrapValidator,
)
from pydantic.dataclasses import dataclass as validated
from pydantic.fields import FieldInfo
from pydantic_core import PydanticKnownError

from lcd.io.limits import LARGEST_SEED, MOST_EPOCHS, MOST_FACTOR, MOST_GAMES_AT_ONCE, MOST_STEPS, short

if sys.version_info >= (3, 11):
    from typing import dataclass_transform
else:
    from typing_extensions import dataclass_transform

T = TypeVar("T")


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise PydanticKnownError("int_type")
    return int(value)


def _number(value: Any, check: Callable[[float], float]) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise PydanticKnownError("float_type")
    plain = int(value) if isinstance(value, Integral) else float(value)
    try:
        check(float(plain))
    except OverflowError:  # of a whole number with hundreds of digits
        raise PydanticKnownError("finite_number") from None
    return plain  # a whole number stays one, so that records and identities of runs stay what they are


def _listed(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise PydanticKnownError("tuple_type")
    return tuple(value)


def _flag(value: Any) -> Any:
    return bool(value) if isinstance(value, np.bool_) else value


def _plain_float(value: float) -> float:
    return float(value) + 0.0


def one_of(names: Collection[str], what: str) -> AfterValidator:
    """Of a text: takes one of some names; `what` says what they are of."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"Unknown {what} {short(name)}: choose one of {', '.join(names)}.")
        return name

    return AfterValidator(check)


LISTED = BeforeValidator(_listed)
"""Of a tuple: takes a list, an array or anything else that holds several values, but no text."""

AS_FLOAT = AfterValidator(_plain_float)
"""Of a number: makes it a float, so that 1 and 1.0, 0 and -0.0 are equal settings."""

Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number, of Python or numpy; True is none."""

Number = Annotated[float, WrapValidator(_number)]
"""A finite number, of Python or numpy; True is none."""

Text = StrictStr
Flag = Annotated[StrictBool, BeforeValidator(_flag)]
Several = Annotated[tuple[T, ...], LISTED]
"""Several values, kept as a tuple."""
Names = Annotated[Several[Text], Field(description="a list of names, each in quotation marks")]

Count = Annotated[Whole, Field(ge=1)]
Steps = Annotated[Whole, Field(ge=1, le=MOST_STEPS)]
"""Environment steps."""
RunSteps = Annotated[Whole, Field(ge=1, le=MOST_STEPS * (MOST_FACTOR + 1))]
"""Environment steps of a run, which is a teacher's at most."""
GamesAtOnce = Annotated[Whole, Field(ge=1, le=MOST_GAMES_AT_ONCE)]
"""Games that step together, or episodes of an evaluation."""
Epochs = Annotated[Whole, Field(ge=1, le=MOST_EPOCHS)]
Seed = Annotated[Whole, Field(ge=0, le=LARGEST_SEED)]
Share = Annotated[Number, Field(ge=0, le=1, description="a number from 0 to 1")]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)
_CALLED = "__called__"
_STRICT = {int: "Whole", float: "Number", str: "Text", bool: "Flag"}


@overload
def settings(kind: type[T], /) -> type[T]: ...


@overload
def settings(*, called: str = "{}", eq: bool = True) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def settings(kind: type[T] | None = None, /, *, called: str = "{}", eq: bool = True) -> Any:
    """Make a class a frozen dataclass whose fields are validated.

    Fields that are settings themselves take a dictionary too. Unknown fields are refused. No text is taken for a
    number, and true and false are no numbers.

    Parameters
    ----------
    kind
        The class.
    called
        Pattern of a field's name in messages, ``"The difficulty factor {}"``, say.
    eq
        Whether instances with equal fields are equal.

    Raises
    ------
    TypeError
        If a field has a type that converts what it is given, such as ``int``, which takes ``"1"``.
    """
    if kind is None:
        return functools.partial(_made, called=called, eq=eq)
    return _made(kind, called=called, eq=eq)


def _made(kind: type[T], *, called: str, eq: bool) -> type[T]:
    made: Any = validated(frozen=True, eq=eq, config=_CONFIG)(kind)
    for name, hint in _hints(made).items():
        _check_strict(hint, f"{kind.__name__}.{name}")
    setattr(made, _CALLED, called)
    validate = made.__init__

    @functools.wraps(validate)
    def build(self: Any, *values: Any, **named: Any) -> None:
        try:
            validate(self, *values, **named)
        except ValidationError as error:
            raise _as_value_error(made, error) from None

    made.__init__ = build
    return made


def _check_strict(hint: Any, name: str) -> None:
    """Refuse a type that converts a text to a number, or the like."""
    metadata = getattr(hint, "__metadata__", ())
    kind = hint.__origin__ if metadata else hint
    if kind in _STRICT and not any(isinstance(each, (BeforeValidator, WrapValidator, Strict)) for each in metadata):
        raise TypeError(f"{name} converts what it is given: use lcd.io.settings.{_STRICT[kind]}.")
    for inner in get_args(kind) if get_origin(kind) is not Literal else ():
        _check_strict(inner, name)


def _hints(kind: type) -> dict[str, Any]:
    """Types of the fields."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def from_data(kind: type[T], data: Any) -> T:
    """Settings from plain data, such as JSON or TOML hold.

    Parameters
    ----------
    kind
        A class that `settings` made.
    data
        A dictionary of its fields, in which settings may be dictionaries, and tuples lists.

    Raises
    ------
    ValueError
        If a field is missing, unknown or impossible: one sentence that names it, what is allowed, and what was given.
    """
    try:
        made: T = kind.__pydantic_validator__.validate_python(data)  # type: ignore[attr-defined]
    except ValidationError as error:
        raise _as_value_error(kind, error) from None
    return made


def _as_value_error(kind: type, error: ValidationError) -> ValueError:
    """The first of what is wrong, as one sentence; what a class's own rules say is kept."""
    # An unknown name tells more than the missing one that it stands for.
    first = min(error.errors(include_url=False), key=lambda each: each["type"] == "missing")
    context = first.get("ctx", {})
    if isinstance(own := context.get("error"), Exception):
        return own if isinstance(own, ValueError) else ValueError(str(own))
    if first["type"] in ("unexpected_keyword_argument", "invalid_key"):
        return ValueError(_unknown(kind, first["loc"]))
    place, hint = _located(kind, first["loc"])
    name = getattr(kind, _CALLED).format(place) if place else kind.__name__
    given = short(first["input"])
    if (allowed := _described(hint)) and first["type"] != "missing":
        return ValueError(f"{name} must be {allowed}, not {given}.")
    if first["type"] in _SENTENCES:
        return ValueError(_SENTENCES[first["type"]].format(name=name, given=given, **_readable(context)))
    return ValueError(f"{name} cannot be {given}: {' '.join(first['msg'].split())}.")


_SENTENCES = {
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
    "too_short": "{name} must hold {min_length} values or more, not {actual_length}.",
    "too_long": "{name} must hold {max_length} values or fewer, not {actual_length}.",
    "mapping_type": "{name} must be an object with names and values, not {given}.",
    "dict_type": "{name} must be an object with names and values, not {given}.",
    "dataclass_type": "{name} must be an object with the settings of {class_name}, not {given}.",
    "is_instance_of": "{name} must be {class}, not {given}.",
    "path_type": "{name} must be a path, not {given}.",
}
"""Sentences by pydantic's types of error; any other one is told in pydantic's words."""


def _readable(context: Mapping[str, Any]) -> dict[str, Any]:
    """Limits with separators between thousands."""
    return {
        name: f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else value
        for name, value in context.items()
    }


def _unknown(kind: type, place: tuple[int | str, ...]) -> str:
    """Sentence on a name that is no field; suggests the nearest."""
    inside, where = _located(kind, place[:-1])
    known = next((list(_hints(each)) for each in _within(where) if hasattr(each, _CALLED)), [])
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
        nested = next((each for each in inside if hasattr(each, _CALLED)), None)
        fields = {} if nested is None else _hints(nested)
        if index == 0 and isinstance(part, int) and part < len(fields):
            part = [*fields][part]
        if isinstance(part, int):
            lists = (each for each in inside if get_origin(each) is tuple)
            path, hint = f"{path}[{part}]", next((get_args(each)[0] for each in lists), Any)
        elif part in fields:
            path, hint = f"{path}.{part}", fields[part]
        elif part != "[key]" and any(get_origin(each) in (dict, Mapping) for each in inside):
            path = f"{path}.{part}"
    return path.removeprefix("."), hint


def _described(hint: Any) -> str | None:
    """What a type allows in words, where its ``Field`` has a description."""
    members = (hint, *get_args(hint)) if get_origin(hint) in (Union, UnionType) else (hint,)
    metadata = [each for member in members for each in getattr(member, "__metadata__", ())]
    told = (each.description for each in reversed(metadata) if isinstance(each, FieldInfo))
    return next((words for words in told if words), None)


def _within(hint: Any) -> Iterator[Any]:
    """A type and all types in it."""
    yield hint
    for inner in get_args(hint):
        yield from _within(inner)
