"""Carrying out a plan: its runs, as soon as their teachers are there, until every run is in the store."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from lcd.envs.external.game import GameFault
from lcd.experiments.executor import Executor, Report
from lcd.experiments.executors import LOCAL, make_executor
from lcd.experiments.plan import Plan
from lcd.experiments.resources import check_numbers
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.io.child_processes import terminable
from lcd.io.limits import STEP_LIMIT


class RunFailed(RuntimeError):
    """Runs of a plan ended without a result; finished runs are kept, and the same call tries the others again.

    Attributes
    ----------
    failures : dict
        From the name of each such run to a sentence that says why.
    """

    def __init__(self, message: str, failures: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.failures = dict(failures or {})


@dataclass(frozen=True)
class Event:
    """Event in the execution of a run.

    Attributes
    ----------
    kind
        ``"reused"``, ``"started"``, ``"progress"``, ``"finished"`` or ``"failed"``; or ``"elsewhere"``, if another plan
        carries the run out at the moment.
    run
        The run.
    progress
        `lcd.experiments.Progress`, for the kind ``"progress"``; for the kind ``"failed"``, why, as a sentence.
    """

    kind: str
    run: RunSettings
    progress: Any = None


Listener = Callable[[Event], None]


def in_turn(*listeners: Listener) -> Listener:
    """A listener that tells several."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


Group = TypeVar("Group")


class WhenComplete(Generic[Group]):
    """Listener that reads each group of runs after the last of them, and tells of one that cannot be read.

    Parameters
    ----------
    groups
        Each with its runs.
    read
        Called with a group when all of its runs are in the store.
    failed
        Called with a group for which `read` raised a ValueError or a fault of its game, and its sentence; the runs of
        the others go on.
    """

    def __init__(
        self,
        groups: Iterable[tuple[Group, Iterable[RunSettings]]],
        read: Callable[[Group], None],
        failed: Callable[[Group, str], None],
    ) -> None:
        self._missing = [(group, {run.identity for run in runs}) for group, runs in groups]
        self._read, self._failed = read, failed

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if event.kind not in ("reused", "finished"):
            return
        for entry in list(self._missing):
            group, missing = entry
            missing.discard(event.run.identity)
            if not missing:
                self._missing.remove(entry)
                try:
                    self._read(group)
                except (ValueError, GameFault) as error:
                    self._failed(group, str(error))


def weights_of(plan: Plan, store: Store) -> dict[str, Path]:
    """File of each policy that runs of a plan use, present or future, by the identity that they know it by.

    Paths are absolute, for processes that work in another folder.
    """
    files: dict[str, Path] = {}
    for game in plan.games:
        if game.given_teacher is not None and game.given_teacher.path is not None:
            files[game.given_teacher.checksum] = game.given_teacher.path
    needed = {identity for run in plan.runs for identity in run.needs}
    files |= {run.identity: store.weights_file(run) for run in plan.runs if run.identity in needed}
    return {identity: file.absolute() for identity, file in files.items()}


def execute(
    plan: Plan,
    store: Store,
    *,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    listener: Listener = lambda event: None,
    executor: Executor | str = LOCAL,
    step_limit: float = STEP_LIMIT,
) -> None:
    """Train the runs of a plan that the store lacks.

    A run that fails does not keep the others from being carried out, unless several fail one after the other: then the
    rest of their game is not begun, and nothing else if they are of several games. Failures are listed at the end.

    Parameters
    ----------
    plan
        What to run.
    store
        Where finished runs are and go.
    workers, threads
        Runs at once, and torch threads of each; by default the fastest numbers, see
        `lcd.experiments.resources.chosen_workers`.
    device
        Where torch computes.
    listener
        Called with every event, in the calling thread.
    executor
        What carries out the runs, or its name, see `lcd.experiments.executors.make_executor`.
    step_limit
        Seconds after which a step of another package's game is taken to hang, where the executor is a name.

    Raises
    ------
    RunFailed
        If runs failed, or their processes died. Finished runs are kept, and the same call goes on from there.
    ValueError
        If there are to be no workers, or no threads.
    """
    check_numbers(workers, threads)
    waiting = [run for run in plan.runs if not _reused(run, store, listener)]
    store.clear_unfinished()
    if not waiting:
        return
    store.root.mkdir(parents=True, exist_ok=True)
    with terminable():
        if isinstance(executor, str):
            executor = make_executor(
                executor, store, waiting, workers=workers, threads=threads, device=device, step_limit=step_limit
            )
        try:
            carrying = _Carrying(plan, waiting, store, executor, listener)
            carrying.carry_out()
        finally:
            executor.end()
            store.clear_unfinished()
    if failures := carrying.failures:
        raise RunFailed(_message(failures, len(plan.runs), carrying.not_begun), failures)


class _Carrying:
    """The runs of a plan on their way into the store.

    Parameters
    ----------
    plan
        What to run.
    waiting
        Its runs that have not begun, in an executable order.
    store, executor, listener
        As in `execute`.
    """

    def __init__(
        self, plan: Plan, waiting: list[RunSettings], store: Store, executor: Executor, listener: Listener
    ) -> None:
        self._store, self._executor, self._listener = store, executor, listener
        self._waiting = waiting
        self._files = weights_of(plan, store)
        self._makers = {run.identity: run for run in plan.runs if run.identity in self._files}
        self._elsewhere: set[str] = set()
        self._failed_since: list[str] = []
        self._failed_in: Counter[str] = Counter()
        self._given_up = 0
        self.failures: dict[str, str] = {}
        self.not_begun = 0

    def carry_out(self) -> None:
        """Carry out all runs, or all that can still be after failures.

        Raises
        ------
        RunFailed
            If the weights that waiting runs use are gone.
        """
        while self._waiting or self._executor.running:
            held_elsewhere = self._start()
            if self._waiting and not self._executor.running:
                if not held_elsewhere:
                    raise RunFailed(f"{_gone(self._waiting, self._files)} {KEPT}", self.failures)
                time.sleep(LOOK_AGAIN)
                continue
            for report in self._executor.wait():
                self._hear(report)
            for game, failed in list(self._failed_in.items()):
                if failed >= MOST_FAILURES:
                    self._give_up(game)
            if self._given_up > 1 or (len(self._failed_since) >= MOST_FAILURES and len({*self._failed_since}) > 1):
                self.not_begun += len(self._waiting)  # what fails several games would fail the others
                return

    def _give_up(self, game: str) -> None:
        """Begin no more runs of a game; what failed in it is no sign that others would fail."""
        left = [run for run in self._waiting if run.options.label != game]
        self.not_begun += len(self._waiting) - len(left)
        self._waiting = left
        self._failed_in.pop(game)
        self._failed_since = [each for each in self._failed_since if each != game]
        self._given_up += 1

    def _start(self) -> bool:
        """Begin as many of the waiting runs as may be, and tell whether another plan carries any of them out."""
        held_elsewhere = False
        for run in list(self._waiting):
            if self._executor.free < 1:
                break
            leased = self._store.is_leased(run)  # a run is finished before its lease ends: look in this order
            if _reused(run, self._store, self._listener):  # another process has finished it since
                self._waiting.remove(run)
                continue
            if leased:
                held_elsewhere = True
                self._tell_elsewhere(run)
                continue
            needed = [self._makers[identity] for identity in run.needs if identity in self._makers]
            if failed := next((maker.name for maker in needed if maker.name in self.failures), None):
                self._waiting.remove(run)
                self._fail(run, f"The run {run.name} cannot begin, for {failed}, whose weights it uses, failed.")
                continue
            uses = {identity: self._files[identity] for identity in run.needs}
            if not all(file.is_file() for file in uses.values()):
                continue
            for maker in needed:
                self._store.check_weights(maker)
            self._waiting.remove(run)
            self._executor.start(run, uses)
            self._listener(Event("started", run))
        return held_elsewhere

    def _hear(self, report: Report) -> None:
        """Note what a run reports."""
        if not report.ended:
            self._listener(Event("progress", report.run, report.progress))
        elif self._store.has(report.run):
            self._failed_since.clear()
            self._given_up = 0
            self._failed_in.pop(report.run.options.label, None)
            self._listener(Event("finished", report.run))
        elif report.elsewhere:
            self._waiting.insert(0, report.run)
            self._tell_elsewhere(report.run)
        else:
            self._failed_since.append(report.run.options.label)
            self._failed_in[report.run.options.label] += 1
            self._fail(report.run, report.failure)

    def _tell_elsewhere(self, run: RunSettings) -> None:
        if run.name not in self._elsewhere:
            self._elsewhere.add(run.name)
            self._listener(Event("elsewhere", run))

    def _fail(self, run: RunSettings, why: str) -> None:
        self.failures[run.name] = why
        self._listener(Event("failed", run, why))


KEPT = "Finished runs are kept."

LOOK_AGAIN = 2.0
"""Seconds until the store is looked at again while other plans carry out all that is left."""

MOST_FAILURES = 5
"""Runs that fail one after the other, none finished between them, after which no others are begun: none of their game
if all are of one, else none at all."""


def _message(failures: Mapping[str, str], count: int, not_begun: int = 0) -> str:
    """What failed, in a sentence for each cause, and how many of so many runs were not begun after that."""
    if len(failures) == 1:
        return f"{next(iter(failures.values()))} {KEPT}"
    alike: dict[str, list[str]] = {}
    for name, why in failures.items():
        alike.setdefault(why.replace(name, ""), []).append(why)
    sentences = []
    for first, *others in alike.values():
        more = "" if not others else f" {len(others)} {'others' if len(others) > 1 else 'other'} likewise."
        sentences.append(first + more)
    if not_begun:
        sentences.append(f"{not_begun} more {'runs were' if not_begun > 1 else 'run was'} not begun after that.")
    return " ".join([f"{len(failures)} of {count} runs failed.", *sentences, KEPT])


def _reused(run: RunSettings, store: Store, listener: Listener) -> bool:
    """Whether the store already has a run; its checksums are verified."""
    if not store.has(run):
        return False
    store.load(run)
    listener(Event("reused", run))
    return True


def _gone(waiting: list[RunSettings], files: dict[str, Path]) -> str:
    """Message for runs that wait for missing weights."""
    file = next(files[identity] for run in waiting for identity in run.needs if not files[identity].is_file())
    return f"The weights {file} are gone, and {len(waiting)} runs use them: put them back."
