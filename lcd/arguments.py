"""What commands read from their arguments."""

from __future__ import annotations

import typer

UNITS = {"k": 1_000, "m": 1_000_000}


def count(text: str) -> int:
    """A number of steps such as ``500000``, ``500k`` or ``1.5M``.

    Raises
    ------
    typer.BadParameter
        If the text is no such number, or below 1.
    """
    digits, unit = (text[:-1], UNITS[text[-1].lower()]) if text[-1:].lower() in UNITS else (text, 1)
    try:
        number = float(digits) * unit
        whole = round(number)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no number of steps: write one such as 500000, 500k or 1.5M.") from None
    if whole < 1 or abs(whole - number) > 1e-6:
        raise typer.BadParameter(f"{text!r} must be a whole number of at least 1.")
    return whole


def names(text: str) -> tuple[str, ...]:
    """Names that are separated by commas, such as ``noise,delay``; none for an empty text."""
    return tuple(name for name in text.replace(" ", "").split(",") if name)
