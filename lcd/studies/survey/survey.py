"""Execution of a survey: each game's diagnosis is written as soon as its runs are finished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lcd.experiments.execution import Event, Listener, execute
from lcd.experiments.plan import GamePlan, Plan
from lcd.experiments.store import Store
from lcd.io.files import DEFAULT_STORE
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.output import OutputFolder
from lcd.studies.pipeline import read_diagnosis
from lcd.studies.survey.plan import Survey


def folders(survey: Survey, out: Path) -> dict[str, OutputFolder]:
    """Output folder of each game's diagnosis, after checking that none belongs to another plan.

    Raises
    ------
    ValueError
        If one does.
    """
    found = {plan.game: OutputFolder(out / plan.game) for plan in survey.plan.games}
    for plan in survey.plan.games:
        found[plan.game].check(Plan((plan,)))
    return found


class _Writing:
    """Event listener that writes a game's diagnosis after the last of its runs."""

    def __init__(
        self, survey: Survey, out: Path, store: Store, listener: Listener, done: Callable[[Diagnosis], None]
    ) -> None:
        self._folders = folders(survey, out)
        self._missing = {plan: set(plan.runs) for plan in survey.plan.games}
        self._survey, self._store, self._listener, self._done = survey, store, listener, done

    def __call__(self, event: Event) -> None:
        self._listener(event)
        if event.kind not in ("reused", "finished"):
            return
        for plan, missing in list(self._missing.items()):
            missing.discard(event.run)
            if not missing:
                del self._missing[plan]
                self._done(self._written(plan))

    def _written(self, plan: GamePlan) -> Diagnosis:
        diagnosis = read_diagnosis(plan, self._store, {"preset": self._survey.preset})
        folder = self._folders[plan.game]
        folder.claim(Plan((plan,)))
        folder.write(diagnosis)
        return diagnosis


def carry_out(
    survey: Survey,
    out: Path,
    store: Path | str = DEFAULT_STORE,
    *,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    listener: Listener = lambda event: None,
    done: Callable[[Diagnosis], None] = lambda diagnosis: None,
) -> None:
    """Diagnose the games of a survey; finished runs are taken from the store.

    Parameters
    ----------
    survey
        What to diagnose.
    out
        Folder for the diagnoses, a folder a game; each is written as soon as its runs are finished.
    store
        Folder of the runs.
    workers, threads
        Worker processes, and torch threads in each; by default the fastest numbers for this machine.
    device
        Where torch computes.
    listener
        Called with every event, see `lcd.experiments.execution.Event`.
    done
        Called with each diagnosis when it is written.

    Raises
    ------
    ValueError
        If a game's folder belongs to another plan.
    lcd.experiments.execution.RunFailed
        If a run failed; the same call resumes from the finished ones.
    """
    runs = Store(store)
    writing = _Writing(survey, out, runs, listener, done)
    execute(survey.plan, runs, workers=workers, threads=threads, device=device, listener=writing)
