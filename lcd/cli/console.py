"""The console that commands print to."""

from __future__ import annotations

from rich.console import Console


def plain_console(*, stderr: bool = False) -> Console:
    """A console without markup, so that brackets in paths and sentences are printed as they are."""
    return Console(stderr=stderr, markup=False, emoji=False)
