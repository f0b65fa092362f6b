"""How the progress of a plan is shown: on a screen, to a function, or to nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from lcd.experiments.display import PlanDisplay
from lcd.experiments.execution import Listener, in_turn
from lcd.experiments.plan import Plan
from lcd.io.console import plain_console
from lcd.io.limits import short

Show = Callable[[Plan], AbstractContextManager[Listener]]
"""From a plan to a context in which its events are shown."""


def silent(plan: Plan) -> AbstractContextManager[Listener]:
    """Show nothing."""
    return nullcontext(lambda event: None)


def showing(progress: bool, listener: Listener | None) -> Show:
    """Show the progress of every plan, tell a function of its events, or both.

    Parameters
    ----------
    progress
        Whether it is shown on the standard error stream, see `lcd.experiments.display.PlanDisplay`.
    listener
        Called with every event.

    Raises
    ------
    ValueError
        If `progress` is neither true nor false.
    """
    if not isinstance(progress, bool):
        raise ValueError(f"progress is true or false, not {short(progress)}.")
    told = () if listener is None else (listener,)

    @contextmanager
    def show(plan: Plan) -> Iterator[Listener]:
        with PlanDisplay(plan) if progress else nullcontext() as display:
            yield in_turn(*(() if display is None else (display,)), *told)

    return show


def reporting(progress: bool) -> Callable[[str], None]:
    """Show lines on the standard error stream, or don't."""
    console = plain_console(stderr=True)
    return (lambda line: console.print(line, highlight=False, soft_wrap=True)) if progress else (lambda line: None)
