"""Figures registered as entry points: `lcd.studies` must not import `lcd.analyses`, and finds figures by name."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

GROUP = "lcd.figures"


def registered(name: str) -> Any:
    """Load the figure registered under a name in the entry points ``lcd.figures``.

    Raises
    ------
    RuntimeError
        If there is none, because the package is not installed.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise RuntimeError(
            f"no figure {name!r} is registered in the entry points {GROUP!r}: "
            "install the package (pip install -e .) rather than only putting it on the path"
        )
    return next(iter(found)).load()
