"""Runs in processes of this machine, one run each."""

from __future__ import annotations

import errno
import importlib
import multiprocessing
import os
import platform
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from lcd.agents.encoders.registry import import_encoder, module_of
from lcd.envs.external.watching import WATCH
from lcd.experiments.executor import Report
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store

POLL_SECONDS = 0.5

SILENCE = 3600.0
"""Seconds without a report after which a run is taken to hang: an evaluation of a slow game takes some minutes."""


def _end_with_parent() -> None:
    """Leave when the process that planned the run is gone: its result could not be kept any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(
    settings: RunSettings,
    store_root: Path,
    weights: Mapping[str, Path],
    device: str,
    threads: int,
    connection: Connection,
    encoder_module: str | None,
) -> None:
    """Body of a worker process: one run, from settings to the store."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the planning process decides when work ends
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    from lcd.experiments.encoded_view import locate
    from lcd.experiments.run import teacher_of, train

    def hangs(sentence: str) -> None:
        try:
            connection.send(("failed", sentence))
        finally:
            os._exit(1)

    locate(weights)
    WATCH.ended = hangs
    torch.set_num_threads(threads)
    store = Store(store_root)
    try:
        _import_encoder(settings.encoder, encoder_module)
        with store.workspace(settings) as workspace:  # held by the process that writes to it
            result = train(
                settings,
                workspace,
                teacher=teacher_of(settings, weights.get(settings.teacher or "")),
                report=lambda progress: connection.send(("progress", progress)),
                device=device,
                num_threads=0 if threads == 1 else threads,
                checkpoint=store.checkpoint_file(settings),
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
    if _GPU_EXHAUSTED.search(str(error)):
        return "The memory of the GPU is exhausted: use fewer --workers."
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "The memory is exhausted: use fewer --workers."
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith(".") else f"{type(error).__name__}: {text}."


_GPU_EXHAUSTED = re.compile(r"(CUDA|HIP|GPU).*out of memory|CU[A-Z]+_STATUS_ALLOC_FAILED", re.IGNORECASE | re.DOTALL)
"""What torch, the driver and the libraries say when the memory of a GPU runs out."""

_HIDING = threading.Lock()


@contextmanager
def _hidden_script() -> Iterator[None]:
    """Keep a new process from importing the user's script, which would carry out the plan once more from there.

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
"""What tells where a module comes from."""


def _import_encoder(encoder: str, module: str | None) -> None:
    """Make a run's encoder known in a new process.

    Raises
    ------
    ValueError
        If it was registered by a script, which no other process imports.
    """
    if module == "__main__":
        raise ValueError(
            f"The encoder {encoder} is registered in the script that was started, which other processes do not import: "
            "put it into a module."
        )
    if module is not None:
        importlib.import_module(module)
        import_encoder(encoder)


@dataclass
class _Worker:
    run: RunSettings
    process: BaseProcess
    connection: Connection
    failure: str | None = None
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
    """

    def __init__(
        self, store: Store, workers: int, threads: int = 1, device: str = "cpu", silence: float = SILENCE
    ) -> None:
        self._silence = silence
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            self._context.set_forkserver_preload(["lcd.experiments.warm_start"])
        self._store, self._most, self._threads, self._device = store, workers, threads, device
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
            args=(run, self._store.root, dict(weights), self._device, self._threads, sender, module_of(run.encoder)),
            name=run.name,
        )
        with _hidden_script():
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
                else:
                    yield Report(worker.run, progress=content)

    def wait(self) -> Iterator[Report]:
        """What runs report within half a second, and which of them have ended."""
        wait([worker.process.sentinel for worker in self._workers], timeout=POLL_SECONDS)
        for worker in self._workers:
            if time.monotonic() - worker.heard > self._silence and not worker.connection.poll():
                worker.failure = (
                    f"nothing was heard of it for {self._silence:.0f} seconds: a step of its game may hang."
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
            yield Report(worker.run, ended=True, failure=_failure(worker))

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
