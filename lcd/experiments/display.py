"""Progress of a plan's runs on a terminal, in a notebook or in a log."""

from __future__ import annotations

import math
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from lcd.experiments.execution import Event
from lcd.experiments.plan import Plan
from lcd.experiments.settings import RunSettings
from lcd.io.console import plain_console

LINE_SECONDS = 30.0


def duration(seconds: float) -> str:
    """Format a duration, such as ``2 h 05 min``."""
    minutes = int(seconds + 59) // 60
    if seconds < 60:
        return f"{max(0, round(seconds))} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def steps_text(steps: float) -> str:
    """Format a number of steps, such as ``500k`` or ``1.5M``."""
    if steps >= 1e6:
        return f"{steps / 1e6:.3g}M"
    return f"{steps / 1e3:.3g}k" if steps >= 1e3 else f"{steps:.0f}"


def run_title(run: RunSettings, role: str | None = None) -> str:
    """Short title of a run, with what it is for if that is no cell."""
    changed = f", {run.improvement}" if run.improvement else ", harmonized" if run.harmonizer else ""
    return f"{run.options.label} {run.view} + {run.learning}{of_role(role)}{changed}, seed {run.seed}"


def of_role(role: str | None) -> str:
    """What a run is for, in brackets; empty for a cell."""
    return "" if role is None else f" ({role})"


class PlanDisplay:
    """Live progress of a plan: current runs, steps per second, returns and remaining time.

    Progress bars on a terminal; elsewhere a line for every run that starts or ends, and one every half minute.

    Parameters
    ----------
    plan
        The plan.
    console
        Where to print; messages go to the standard error stream by default, results to the standard output.
    """

    def __init__(self, plan: Plan, console: Console | None = None) -> None:
        self._console = console or plain_console(stderr=True)
        self._plan, self._roles = plan, plan.roles
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._total: TaskID = self._progress.add_task("whole plan", total=plan.steps, note="")
        self._tasks: dict[str, TaskID] = {}
        self._steps: dict[str, int] = {}
        self._done = 0
        self._trained_before = 0
        self._started = time.monotonic()
        self._last_line = 0.0

    def __enter__(self) -> PlanDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def _line(self, text: str) -> None:
        if not self._console.is_terminal:
            self._console.print(text, highlight=False, soft_wrap=True)

    def _overall(self) -> str:
        trained = self._done + sum(self._steps.values())
        seconds = time.monotonic() - self._started
        rate = (trained - self._trained_before) / max(seconds, 1e-9)
        left = f"{duration((self._plan.steps - trained) / rate)} left" if rate > 0 else ""
        note = f"{steps_text(trained)} of {steps_text(self._plan.steps)} steps  {rate:,.0f} steps/s  {left}"
        self._progress.update(self._total, completed=trained, note=note)
        return note

    def __call__(self, event: Event) -> None:
        """Show an event."""
        run = event.run
        title = run_title(run, self._roles.get(run.identity))
        if event.kind == "reused":
            self._done += run.steps
            self._trained_before += run.steps
            self._line(f"{title}: found in the store")
        elif event.kind == "started":
            self._tasks[run.name] = self._progress.add_task(f"  {title}", total=run.steps, note="starting")
            self._line(f"{title}: started")
        elif event.kind == "progress":
            state = event.progress
            if run.name not in self._steps:
                self._trained_before += state.step  # it goes on from a checkpoint
            self._steps[run.name] = state.step
            returns = "first evaluation"
            if not math.isnan(state.training_return):
                returns = f"return {state.training_return:.2f} on training, {state.unseen_return:.2f} on unseen levels"
            note = f"{state.step / max(state.seconds, 1e-9):,.0f} steps/s  {returns}"
            self._progress.update(self._tasks[run.name], completed=state.step, note=note)
            if time.monotonic() - self._last_line > LINE_SECONDS:
                self._last_line = time.monotonic()
                self._line(f"{title}: {steps_text(state.step)} steps, {note}; {self._overall()}")
        elif event.kind == "finished":
            self._done += run.steps
            self._steps.pop(run.name, None)
            self._progress.remove_task(self._tasks.pop(run.name))
            self._line(f"{title}: finished; {self._overall()}")
        elif event.kind == "elsewhere":
            self._steps.pop(run.name, None)
            if run.name in self._tasks:
                self._progress.remove_task(self._tasks.pop(run.name))
            self._line(f"{title}: carried out by another process")
        elif event.kind == "failed":
            self._steps.pop(run.name, None)
            if run.name in self._tasks:
                self._progress.remove_task(self._tasks.pop(run.name))
            self._console.print(event.progress, style="red", highlight=False, soft_wrap=True)
        self._overall()
