"""The console that commands print to."""

from __future__ import annotations

from rich.console import Console


def plain_console(*, stderr: bool = False) -> Console:
    """A console that prints texts as they are: brackets in paths and in sentences are no markup."""
    return Console(stderr=stderr, markup=False, emoji=False)
