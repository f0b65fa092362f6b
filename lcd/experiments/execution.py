"""Carrying out a plan: its runs, as soon as their teachers are there, until every run is in the store."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcd.experiments.executor import Executor
from lcd.experiments.plan import Plan
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.io.limits import MOST_WORKERS, short, text, whole_number


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
        ``"reused"``, ``"started"``, ``"progress"``, ``"finished"`` or ``"failed"``.
    run
        The run.
    progress
        `lcd.experiments.Progress`, for the kind ``"progress"``; for the kind ``"failed"``, why, as a sentence.
    """

    kind: str
    run: RunSettings
    progress: Any = None


Listener = Callable[[Event], None]


def chosen_workers(
    device: str, runs: Sequence[RunSettings] = (), workers: int | None = None, threads: int | None = None
) -> tuple[int, int]:
    """Number of worker processes and of torch threads in each: those that were chosen, else the fastest.

    On CPUs two processes of one thread each are faster than one process of two threads
    (``scripts/benchmark.py`` measures it): small convolutions share badly, and games and Python overlap with them.
    A GPU takes as many runs at once as fill it, see `lcd.experiments.gpu`, which share the cores for their games.

    Parameters
    ----------
    device
        ``"cpu"``, ``"cuda"`` or ``"auto"``.
    runs
        The runs of a plan; on a GPU their memory bounds the number at once.
    workers, threads
        What was chosen, or None.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if resolve_device(device) == "cpu":
        return workers or cores, threads or 1
    if workers is None:
        from lcd.experiments.gpu import workers_for

        workers = workers_for(runs, cores)
    return workers, threads or max(1, cores // workers)


def resolve_device(device: str) -> str:
    """The device to compute on.

    Raises
    ------
    ValueError
        If it is unknown or not there.
    """
    if text("The device", device) == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and torch.cuda.is_available():
        return device
    there = "there is no GPU that torch can use" if device == "cuda" else "it is unknown"
    raise ValueError(f"The device {short(device)} cannot be used, for {there}: choose cpu or auto.")


def weights_of(plan: Plan, store: Store) -> dict[str, Path]:
    """File of each policy that runs of a plan use, present or future, by the identity that they know it by."""
    files: dict[str, Path] = {}
    for game in plan.games:
        if game.given_teacher is not None and game.given_teacher.path is not None:
            files[game.given_teacher.checksum] = game.given_teacher.path
    needed = {identity for run in plan.runs for identity in run.needs}
    return files | {run.identity: store.weights_file(run) for run in plan.runs if run.identity in needed}


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that workers are stopped and workspaces removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(signum: int, frame: Any) -> None:
        raise SystemExit(128 + signum)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def execute(
    plan: Plan,
    store: Store,
    *,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    listener: Listener = lambda event: None,
    executor: Executor | None = None,
) -> None:
    """Train the runs of a plan that the store lacks.

    A run that fails does not keep the others from being carried out. Failures are listed at the end.

    Parameters
    ----------
    plan
        What to run.
    store
        Where finished runs are and go.
    workers, threads
        Worker processes, and torch threads in each; by default the fastest numbers, see `chosen_workers`.
    device
        Where torch computes.
    listener
        Called with every event, in the calling thread.
    executor
        Carries out the runs; by default `lcd.experiments.processes.LocalProcesses` of these workers.

    Raises
    ------
    RunFailed
        If runs failed, or their processes died. Finished runs are kept, and the same call goes on from there.
    ValueError
        If there are to be no workers, or no threads.
    """
    for name, number in (("workers", workers), ("threads", threads)):
        if number is not None:
            whole_number(name, number, 1, MOST_WORKERS)
    waiting = [run for run in plan.runs if not _reused(run, store, listener)]
    store.clear_unfinished()
    if not waiting:
        return
    store.root.mkdir(parents=True, exist_ok=True)
    if executor is None:
        from lcd.experiments.processes import LocalProcesses

        device = resolve_device(device)
        workers, threads = chosen_workers(device, waiting, workers, threads)
        executor = LocalProcesses(store, workers, threads, device)
    with _terminable():
        try:
            failures = _carried_out(plan, waiting, store, executor, listener)
        finally:
            executor.end()
            store.clear_unfinished()
    if failures:
        raise RunFailed(_message(failures, len(plan.runs)), failures)


def _carried_out(
    plan: Plan, waiting: list[RunSettings], store: Store, executor: Executor, listener: Listener
) -> dict[str, str]:
    """Carry out what waits, and tell which runs failed, by name, and why."""
    files = weights_of(plan, store)
    makers = {run.identity: run for run in plan.runs if run.identity in files}
    failures: dict[str, str] = {}
    in_a_row = 0

    def fail(run: RunSettings, why: str) -> None:
        failures[run.name] = why
        listener(Event("failed", run, why))

    while waiting or executor.running:
        for run in list(waiting):
            if executor.free < 1:
                break
            if _reused(run, store, listener):  # another process has finished it since
                waiting.remove(run)
                continue
            needed = [makers[identity] for identity in run.needs if identity in makers]
            if failed := next((maker.name for maker in needed if maker.name in failures), None):
                waiting.remove(run)
                fail(run, f"The run {run.name} cannot begin, for {failed}, whose weights it uses, failed.")
                continue
            uses = {identity: files[identity] for identity in run.needs}
            if not all(file.is_file() for file in uses.values()):
                continue
            for maker in needed:
                store.check_weights(maker)
            waiting.remove(run)
            executor.start(run, uses)
            listener(Event("started", run))
        if waiting and not executor.running:
            raise RunFailed(f"{_gone(waiting, files)} {KEPT}", failures)
        for report in executor.wait():
            if not report.ended:
                listener(Event("progress", report.run, report.progress))
            elif store.has(report.run):
                in_a_row = 0
                listener(Event("finished", report.run))
            else:
                in_a_row += 1
                fail(report.run, report.failure)
        if in_a_row >= MOST_FAILURES:  # what fails all of them would fail the others
            break
    return failures


KEPT = "Finished runs are kept."

MOST_FAILURES = 5
"""Runs that fail one after the other, none finished between them, after which no others are begun."""


def _message(failures: Mapping[str, str], count: int) -> str:
    """What failed, in a sentence for each cause."""
    if len(failures) == 1:
        return f"{next(iter(failures.values()))} {KEPT}"
    alike: dict[str, list[str]] = {}
    for name, why in failures.items():
        alike.setdefault(why.replace(name, ""), []).append(why)
    sentences = []
    for first, *others in alike.values():
        more = "" if not others else f" {len(others)} {'others' if len(others) > 1 else 'other'} likewise."
        sentences.append(first + more)
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
