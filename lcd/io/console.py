"""The console that commands print to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

WIDTH = 120
"""Columns of what is printed to a file or a pipe, which has no width of its own."""


def plain_console(*, stderr: bool = False) -> Console:
    """A console without markup, so that brackets in paths and sentences are printed as they are."""
    found = Console(stderr=stderr, markup=False, emoji=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = WIDTH
    return found


@contextmanager
def counting() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a progress bar with the remaining time, as long as the context lasts.

    Yields
    ------
    callable
        To be called with what is done now, how much is done, and of how much, None where that is not known.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeRemainingColumn())
    with Progress(*columns, console=plain_console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda what, done, of: progress.update(task, description=what, completed=done, total=of)
