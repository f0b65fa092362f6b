"""How the progress of a plan is shown: studies do not know who shows it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from lcd.experiments.execution import Listener
from lcd.experiments.plan import Plan

Show = Callable[[Plan], AbstractContextManager[Listener]]
"""From a plan to a context in which its events are shown."""


def silent(plan: Plan) -> AbstractContextManager[Listener]:
    """Show nothing."""
    return nullcontext(lambda event: None)


def telling(listener: Listener) -> Show:
    """Tell a function of every event of every plan."""
    return lambda plan: nullcontext(listener)
