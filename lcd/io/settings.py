"""Settings: frozen dataclasses whose fields pydantic validates, with errors that are one sentence.

`settings` makes such a class. Limits of a field stand in its type, ``Annotated[Whole, Field(ge=1)]``; the usual ones
have names here. Where the type's ``Field`` has a description, messages say what is allowed in its words
(`lcd.io.refusals`). A rule about several fields is a method with ``pydantic.model_validator(mode="after")``.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, overload

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
from pydantic_core import PydanticKnownError

from lcd.io.limits import LARGEST_SEED, MOST_EPOCHS, MOST_FACTOR, MOST_GAMES_AT_ONCE, MOST_STEPS, short
from lcd.io.refusals import CALLED, as_value_error, hints_of

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
        float(plain)
    except OverflowError:  # of a whole number with hundreds of digits
        raise PydanticKnownError("finite_number") from None
    check(plain)
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
    for name, hint in hints_of(made).items():
        _check_strict(hint, f"{kind.__name__}.{name}")
    setattr(made, CALLED, called)
    validate = made.__init__

    @functools.wraps(validate)
    def build(self: Any, *values: Any, **named: Any) -> None:
        try:
            validate(self, *values, **named)
        except ValidationError as error:
            raise as_value_error(made, error) from None

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
        raise as_value_error(kind, error) from None
    return made
