"""Runs in processes of this machine, one run each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from lcd.experiments.executor import WARM, Report, Share
from lcd.experiments.job import CarriedOutElsewhere, Job, failure_of
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.io.child_processes import end_with_parent, hidden_script, preload, start_method
from lcd.io.limits import STEP_LIMIT

POLL_SECONDS = 0.5

SILENCE = 3600.0
"""Seconds without a report after which a run is taken to hang: an evaluation of a slow game takes some minutes."""


def _work(job: Job, store: Store, connection: Connection, environment: Mapping[str, str]) -> None:
    """Body of a worker process: one run, from settings to the store.

    A server forks it that keeps the environment in which the first worker was started, such as credentials that have
    been changed since.
    """
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the planning process decides when work ends
    end_with_parent()

    def hangs(sentence: str) -> None:
        try:
            connection.send(("failed", sentence))
        finally:
            os._exit(1)

    try:
        job.carry_out(store, lambda progress: connection.send(("progress", progress)), hangs)
    except CarriedOutElsewhere:
        connection.send(("elsewhere", None))
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:  # whatever it is, the planning process must learn of it
        connection.send(("failed", failure_of(error, store, job.run)))
        sys.exit(1)


@dataclass
class _Worker:
    run: RunSettings
    process: BaseProcess
    connection: Connection
    failure: str | None = None
    elsewhere: bool = False
    heard: float = field(default_factory=time.monotonic)


class LocalProcesses:
    """Carries out runs in processes of this machine: the `Executor` for its processors, or for its GPU.

    Parameters
    ----------
    store
        Where finished runs go.
    workers
        Runs at once.
    threads
        Threads of torch in each.
    device
        Where torch computes.
    silence
        Seconds without a report after which a run is taken to hang.
    step_limit
        Seconds after which a step of another package's game is taken to hang.
    """

    def __init__(
        self,
        store: Store,
        workers: int,
        threads: int = 1,
        device: str = "cpu",
        silence: float = SILENCE,
        step_limit: float = STEP_LIMIT,
    ) -> None:
        self._silence = silence
        preload(WARM)
        self._context: Any = multiprocessing.get_context(start_method())
        self._store, self._most = store, workers
        self.share = Share(threads, 0.0 if device == "cpu" else 1 / workers, device, step_limit)
        self._workers: list[_Worker] = []

    @property
    def running(self) -> int:
        """Number of runs that have begun and not ended."""
        return len(self._workers)

    @property
    def free(self) -> int:
        """Number of runs that may begin."""
        return self._most - len(self._workers)

    def start(self, run: RunSettings, weights: Mapping[str, Path]) -> None:
        """Begin a run in a process of its own."""
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_work,
            args=(Job.of(run, weights, self.share), self._store, sender, dict(os.environ)),
            name=run.name,
        )
        with hidden_script():
            process.start()
        sender.close()
        self._workers.append(_Worker(run, process, receiver))

    def _read(self, worker: _Worker) -> Iterator[Report]:
        with suppress(EOFError):
            while worker.connection.poll():
                kind, content = worker.connection.recv()
                worker.heard = time.monotonic()
                if kind == "failed":
                    worker.failure = content
                elif kind == "elsewhere":
                    worker.elsewhere = True
                else:
                    yield Report(worker.run, progress=content)

    def wait(self) -> Iterator[Report]:
        """What runs report within half a second, and which of them have ended."""
        wait([worker.process.sentinel for worker in self._workers], timeout=POLL_SECONDS)
        for worker in self._workers:
            if time.monotonic() - worker.heard > self._silence and not worker.connection.poll():
                worker.failure = (
                    f"nothing was heard of it for {self._silence:.0f} seconds: a step of its game may hang. If it is "
                    "only slow, give a longer --step-limit."
                )
                worker.process.kill()
                worker.process.join()
        ended = [worker for worker in self._workers if not worker.process.is_alive()]
        for worker in list(self._workers):
            yield from self._read(worker)
        for worker in ended:
            worker.process.join()
            worker.connection.close()
            self._workers.remove(worker)
            yield Report(worker.run, ended=True, failure=_failure(worker), elsewhere=worker.elsewhere)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in this process."""
        return function(*arguments)

    def end(self) -> None:
        """End the processes that still work."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(timeout=10)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def _failure(worker: _Worker) -> str:
    """Why the process of a run that has not finished ended."""
    if worker.failure is not None:
        return f"The run {worker.run.name} failed: {worker.failure}"
    code = worker.process.exitcode or 0
    sent = next((known.name for known in signal.Signals if known == -code), "unnamed")  # SIGKILL is not everywhere
    cause = f"signal {-code} ({sent})" if code < 0 else f"exit status {code}"
    hint = " Perhaps the memory ran out: use fewer --workers." if sent == "SIGKILL" else ""
    return f"The worker of the run {worker.run.name} died with {cause}.{hint}"
