"""Execution of a plan by worker processes, one run each."""

from __future__ import annotations

import errno
import multiprocessing
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from lcd.experiments.plan import Plan
from lcd.experiments.settings import EXPERT, RunSettings
from lcd.experiments.store import Store
from lcd.io.limits import MOST_WORKERS, short, text, whole_number

POLL_SECONDS = 0.5


class RunFailed(RuntimeError):
    """A run ended without a result; finished runs are kept."""


@dataclass(frozen=True)
class Event:
    """Event in the execution of a run.

    Attributes
    ----------
    kind
        ``"reused"``, ``"started"``, ``"progress"`` or ``"finished"``.
    run
        The run.
    progress
        `lcd.experiments.Progress`, for the kind ``"progress"``.
    """

    kind: str
    run: RunSettings
    progress: Any = None


Listener = Callable[[Event], None]


def default_workers(device: str) -> tuple[int, int]:
    """Number of worker processes and of torch threads in each.

    On CPUs two processes of one thread each are faster than one process of two threads
    (``scripts/benchmark.py`` measures it): small convolutions share badly, and games and Python overlap with them.
    A GPU takes one run at a time.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if device == "cpu":
        return cores, 1
    import torch

    return (1, cores) if torch.cuda.is_available() else (cores, 1)


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


def _end_with_parent() -> None:
    """Exit when the parent process has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(
    settings: RunSettings,
    store_root: Path,
    teacher_file: Path | None,
    device: str,
    threads: int,
    connection: Connection,
) -> None:
    """Body of a worker process: one run, from settings to the store."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the planning process decides when work ends
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    from lcd.experiments.run import teacher_of, train

    torch.set_num_threads(threads)
    store = Store(store_root)
    try:
        with store.workspace(settings) as workspace:  # held by the process that writes to it
            result = train(
                settings,
                workspace,
                teacher=teacher_of(settings, teacher_file),
                report=lambda progress: connection.send(("progress", progress)),
                device=device,
                num_threads=0 if threads == 1 else threads,
            )
            machine = {"platform": platform.platform(), "device": device, "threads": threads, "cores": os.cpu_count()}
            teacher_score = None if result.teacher is None else asdict(result.teacher)
            store.finish(
                settings, workspace, result.episodes, result.seconds, teacher_score, machine, result.divergences
            )
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:  # whatever it is, the planning process must learn of it
        connection.send(("failed", _sentence(error, store_root)))
        sys.exit(1)


def _sentence(error: Exception, folder: Path | None = None) -> str:
    if os.strerror(errno.ENOSPC) in str(error):  # safetensors wraps the system's error in one of its own
        where = "" if folder is None else f" for {folder}"
        return f"There is no space left on the disk{where}: free some and start the same command again."
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "The memory is exhausted: use fewer --workers."
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith(".") else f"{type(error).__name__}: {text}."


_HIDING = threading.Lock()


@contextmanager
def _hidden_script() -> Iterator[None]:
    """Keep a new process from importing the user's script, which would execute the plan again.

    A process that is started looks for `__file__` and `__spec__` in `__main__`. Everything else of the script stays,
    for other threads may need it meanwhile; those that start processes themselves wait for one another.
    """
    with _HIDING:
        script = sys.modules["__main__"]
        hiding = ModuleType("__main__")
        vars(hiding).update((name, value) for name, value in vars(script).items() if name not in _LOCATING)
        sys.modules["__main__"] = hiding
        try:
            yield
        finally:
            sys.modules["__main__"] = script


_LOCATING = ("__file__", "__spec__")
"""Attributes with the location of a module."""


@dataclass
class _Worker:
    run: RunSettings
    process: BaseProcess
    connection: Connection
    failure: str | None = None


def _teacher_files(plan: Plan, store: Store) -> dict[str, Path]:
    """File of each teacher's weights, present or future, by the teacher's identity."""
    files: dict[str, Path] = {}
    for game in plan.games:
        if game.given_teacher is not None:
            files[game.given_teacher.checksum] = game.given_teacher.path
        if game.teacher_run is not None:
            files[game.teacher_run.identity] = store.teacher_file(game.teacher_run)
    return files


class _Pool:
    """The worker processes of one execution."""

    def __init__(self, store: Store, device: str, threads: int, listener: Listener) -> None:
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            self._context.set_forkserver_preload(["lcd.experiments.warm_start"])
        self._store, self._device, self._threads, self._listener = store, device, threads, listener
        self.workers: list[_Worker] = []

    def start(self, run: RunSettings, teacher_file: Path | None) -> None:
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_work,
            args=(run, self._store.root, teacher_file, self._device, self._threads, sender),
            name=run.name,
        )
        with _hidden_script():
            process.start()
        sender.close()
        self.workers.append(_Worker(run, process, receiver))
        self._listener(Event("started", run))

    def _read(self, worker: _Worker) -> None:
        try:
            while worker.connection.poll():
                kind, content = worker.connection.recv()
                if kind == "failed":
                    worker.failure = content
                else:
                    self._listener(Event("progress", worker.run, content))
        except EOFError:
            pass

    def wait(self) -> list[_Worker]:
        """Forward the reports of the workers, and return those that ended."""
        wait([worker.process.sentinel for worker in self.workers], timeout=POLL_SECONDS)
        for worker in self.workers:
            self._read(worker)
        ended = [worker for worker in self.workers if not worker.process.is_alive()]
        for worker in ended:
            self._read(worker)
            worker.process.join()
            worker.connection.close()
            self.workers.remove(worker)
        return ended

    def end(self) -> None:
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join(timeout=10)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


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
    device: str = "cpu",
    listener: Listener = lambda event: None,
) -> None:
    """Train the runs of a plan that the store lacks.

    Parameters
    ----------
    plan
        What to run.
    store
        Where finished runs are and go.
    workers, threads
        Worker processes, and torch threads in each; by default the fastest numbers for this machine.
    device
        Where torch computes.
    listener
        Called with every event, in the calling thread.

    Raises
    ------
    RunFailed
        If a run failed or its process died. Finished runs are kept, and the same call goes on from there.
    ValueError
        If there are to be no workers, or no threads.
    """
    usual = default_workers(device)
    workers = usual[0] if workers is None else workers
    threads = usual[1] if threads is None else threads
    for name, number in (("workers", workers), ("threads", threads)):
        whole_number(name, number, 1, MOST_WORKERS)
    teachers = _teacher_files(plan, store)
    makers = {game.teacher_run.identity: game.teacher_run for game in plan.games if game.teacher_run is not None}
    waiting = [run for run in plan.runs if not _reused(run, store, listener)]
    store.clear_unfinished()
    if not waiting:
        return
    store.root.mkdir(parents=True, exist_ok=True)
    pool = _Pool(store, device, threads, listener)
    with _terminable():
        try:
            while waiting or pool.workers:
                for run in list(waiting):
                    if len(pool.workers) >= workers:
                        break
                    if _reused(run, store, listener):  # another process has finished it since
                        waiting.remove(run)
                        continue
                    teacher_file = None if run.teacher in (None, EXPERT) else teachers[run.teacher]
                    if teacher_file is not None and not teacher_file.is_file():
                        continue
                    if run.teacher in makers:
                        store.check_teacher(makers[run.teacher])
                    waiting.remove(run)
                    pool.start(run, teacher_file)
                if waiting and not pool.workers:
                    raise RunFailed(f"{_gone(waiting, teachers)} Finished runs are kept.")
                for ended in pool.wait():
                    if not store.has(ended.run):
                        raise RunFailed(_failure(ended))
                    listener(Event("finished", ended.run))
        finally:
            pool.end()
            store.clear_unfinished()


def _reused(run: RunSettings, store: Store, listener: Listener) -> bool:
    """Whether the store already has a run; its checksums are verified."""
    if not store.has(run):
        return False
    store.load(run)
    listener(Event("reused", run))
    return True


def _gone(waiting: list[RunSettings], teachers: dict[str, Path]) -> str:
    """Message for runs that wait for a missing teacher."""
    file = next(teachers[run.teacher] for run in waiting if run.teacher is not None)
    return f"The teacher {file} is gone, and {len(waiting)} runs are to imitate it: put it back."


def _failure(worker: _Worker) -> str:
    kept = "Finished runs are kept."
    if worker.failure is not None:
        return f"The run {worker.run.name} failed: {worker.failure} {kept}"
    code = worker.process.exitcode or 0
    sent = next((known.name for known in signal.Signals if known == -code), "unnamed")  # SIGKILL is not everywhere
    cause = f"signal {-code} ({sent})" if code < 0 else f"exit status {code}"
    hint = " Perhaps the memory ran out: use fewer --workers." if sent == "SIGKILL" else ""
    return f"The worker of the run {worker.run.name} died with {cause}.{hint} {kept}"
