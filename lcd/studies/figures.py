"""Figures registered as entry points: `lcd.studies` must not import `lcd.analyses`, and finds figures by name."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

GROUP = "lcd.figures"
_REMEDY = "install the package again (pip install -e . in its folder, or make install)"


class FigureMissingError(ValueError, RuntimeError):
    """A figure that is not registered, or that cannot be imported."""


def check_registered(*names: str) -> None:
    """Check that figures are registered, without importing them: before the work whose result they would show.

    Raises
    ------
    FigureMissingError
        If one is not.
    """
    known = {entry.name for entry in entry_points(group=GROUP)}
    for name in names:
        if name not in known:
            raise FigureMissingError(f"No figure {name!r} is registered in the entry points {GROUP!r}: {_REMEDY}.")


def registered(name: str) -> Any:
    """Load the figure registered under a name in the entry points ``lcd.figures``.

    Raises
    ------
    FigureMissingError
        If there is none, because the package is not installed, or was installed before this version.
    """
    check_registered(name)
    entry = next(iter(entry_points(group=GROUP, name=name)))
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:  # what an older version registered, say
        raise FigureMissingError(
            f"The figure {name!r}, {entry.value}, cannot be imported ({error}): {_REMEDY}."
        ) from error
