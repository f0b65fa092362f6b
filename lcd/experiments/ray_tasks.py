"""Runs as tasks of a Ray cluster, a task each.

A task writes into the store if its machine has the same disk, and otherwise sends its run back through Ray. A mark in
the store tells which. Tasks whose machine is lost are tried again by Ray on another one; on a shared disk they go on
from the run's last checkpoint.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lcd.experiments.executor import Report, Share
from lcd.experiments.job import Job, failure_of, last_line, sentence_of
from lcd.experiments.own_code import OwnCode
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store, StoreError
from lcd.io.files import token
from lcd.io.limits import STEP_LIMIT

POLL_SECONDS = 0.5

RETRIES = 3
"""How often Ray tries a run again whose machine or process is lost."""

REACHABLE_SECONDS = 10.0
"""Time in which the port of a cluster's address must answer."""

GRACE_SECONDS = 10.0
"""Time that cancelled tasks have to remove what they began."""

MARKS = ".shared"
"""Folder of the store with a file for each driver, which tells a task that it sees the same disk."""


def _shares(store: Store, mark: str) -> bool:
    return (store.root / MARKS / mark).is_file()


def _enter(folder: Path) -> None:
    """Work in the driver's folder where this machine has it: names of encoders may hold relative paths."""
    with suppress(OSError):
        os.chdir(folder)


def _call(folder: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in the driver's folder."""
    _enter(folder)
    return function(*arguments)


def _task(
    job: Job, store: Store, mark: str, weights: Mapping[str, tuple[str, Any]], queue: Any, driver_folder: Path
) -> Any:
    """Body of a task.

    Returns
    -------
    str or dict
        Why the run failed; or the files of the finished run by their names, where the disk is not shared, else none.
    """
    import ray

    def hangs(sentence: str) -> None:
        with suppress(Exception):
            queue.put((job.run.name, sentence))
        os._exit(1)

    def report(progress: Any) -> None:
        with suppress(Exception):  # its machine may be gone; the run goes on without
            queue.put((job.run.name, progress))

    _enter(driver_folder)
    with tempfile.TemporaryDirectory(prefix="lcd-") as name:
        shared = True
        if not _shares(store, mark):
            folder, shared = Path(name), False
            store, files = Store(folder / "store"), {}
            for number, (identity, (called, content)) in enumerate(weights.items()):
                files[identity] = folder / f"{number}-{called}"
                files[identity].write_bytes(ray.get(content))
            job = replace(job, weights=files)
        try:
            job.carry_out(store, report, hangs, leased=True)
        except Exception as error:  # whatever it is, the driver must learn of it
            return failure_of(error, store, job.run) if shared else sentence_of(error)
        return {} if shared else {file.name: file.read_bytes() for file in store.folder(job.run).iterdir()}


def _runs_on_one_gpu(own: OwnCode, runs: Sequence[RunSettings]) -> int:
    """How many of some runs fill one GPU of the machine that this is called on."""
    import ray

    from lcd.experiments.gpu import workers_for

    own.load()
    node = next(node for node in ray.nodes() if node["NodeID"] == ray.get_runtime_context().get_node_id())
    return workers_for(runs, max(1, int(node["Resources"]["CPU"] // node["Resources"]["GPU"])))


def _check_reachable(address: str | None) -> None:
    """Refuse an address at which nobody listens, for which Ray itself waits for minutes.

    Raises
    ------
    ValueError
        If nobody listens.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACHABLE_SECONDS).close()
    except OSError as error:
        raise _no_cluster(address, error) from None


def _no_cluster(address: str | None, error: Exception) -> ValueError:
    """What to raise where no cluster answers."""
    where = address or os.environ.get("RAY_ADDRESS", "this machine")
    return ValueError(
        f"There is no Ray cluster at {where} ({error}): start one with `ray start --head`, or correct the address "
        "(--executor ray:ADDRESS)."
    )


@dataclass
class _Task:
    run: RunSettings
    kept: ExitStack
    """Holds the run's lease."""
    hangs: str | None = None


class RayTasks:
    """Carries out runs as tasks of a Ray cluster: an `Executor`.

    The driver holds the runs' leases, for Ray ends its tasks with it.

    Parameters
    ----------
    store
        Where finished runs go.
    address
        Of the cluster, as ``ray.init`` takes it; by default the environment's, or else a cluster of this machine, which
        ends with the executor.
    runs
        What is to be run: the largest decides how many share a GPU.
    workers
        Most runs at once; by default as many as the cluster has room for, which may change.
    cpus
        Cores of a run, which are torch's threads too.
    gpus
        GPUs of a run, such as 0.25; by default as many runs share one as fill it, if the cluster has any.
    device
        Where torch computes: ``"auto"`` is a GPU if the cluster has one.
    step_limit
        Seconds after which a step of another package's game is taken to hang.

    Raises
    ------
    ValueError
        If there is no cluster at the address, or it has no GPU where one is asked for.
    """

    def __init__(
        self,
        store: Store,
        address: str | None = None,
        runs: Sequence[RunSettings] = (),
        *,
        workers: int | None = None,
        cpus: int = 1,
        gpus: float | None = None,
        device: str = "auto",
        step_limit: float = STEP_LIMIT,
    ) -> None:
        import ray
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._store, self._most = store, workers
        self._closing = ExitStack()
        try:
            self._connect(address)
            there = ray.cluster_resources()
            if device == "auto":
                device = "cuda" if there.get("GPU", 0) > 0 else "cpu"
            if device == "cuda" and there.get("GPU", 0) <= 0:
                raise ValueError("The Ray cluster has no GPU: choose the device cpu or auto (--device).")
            if device == "cpu":
                gpus = gpus or 0.0
            elif gpus is None:
                asked = ray.remote(_runs_on_one_gpu).options(num_cpus=1, num_gpus=1)
                gpus = 1 / ray.get(asked.remote(OwnCode.of(runs), list(runs)))
            self.share = Share(cpus, gpus, device, step_limit)
            remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, max_calls=1)
            self._task: Any = remote(_task)
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
            self._queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
            self._closing.callback(self._queue.shutdown, force=True)
            self._mark = token()
        except BaseException:
            self._closing.close()
            raise
        self._tasks: dict[Any, _Task] = {}
        self._elsewhere: list[RunSettings] = []
        self._contents: dict[Path, Any] = {}
        self._room = self._slots()

    def _connect(self, address: str | None) -> None:
        import ray

        if ray.is_initialized():
            return
        _check_reachable(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.WARNING, configure_logging=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _no_cluster(address, error) from error
        self._closing.callback(ray.shutdown)

    def _slots(self) -> int:
        """Number of runs for which the cluster has room, at least 1: it may be about to grow."""
        import ray

        there = ray.cluster_resources()
        slots = int(there.get("CPU", 0) // self.share.threads)
        if self.share.gpus:
            slots = min(slots, int(there.get("GPU", 0) / self.share.gpus + 1e-9))
        return max(1, slots if self._most is None else min(slots, self._most))

    @property
    def running(self) -> int:
        """Number of runs that have been handed over and not ended."""
        return len(self._tasks) + len(self._elsewhere)

    @property
    def free(self) -> int:
        """Number of runs that may be handed over."""
        return self._room - self.running

    def start(self, run: RunSettings, weights: Mapping[str, Path]) -> None:
        """Hand a run over to Ray, with the weights that it uses."""
        kept = ExitStack()
        if not kept.enter_context(self._store.lease(run)):
            self._elsewhere.append(run)
            return
        self._make_mark()
        sent = {identity: (file.name, self._content(file)) for identity, file in weights.items()}
        job = Job.of(run, weights, self.share)
        given = job, self._store.absolute(), self._mark, sent, self._queue, Path.cwd()
        task = self._task.options(name=run.name).remote(*given)
        self._tasks[task] = _Task(run, kept)

    def _make_mark(self) -> None:
        marked = self._store.root / MARKS / self._mark
        if not marked.exists():
            marked.parent.mkdir(parents=True, exist_ok=True)
            marked.touch()
            self._closing.callback(marked.unlink, missing_ok=True)

    def _content(self, file: Path) -> Any:
        """A file's content in Ray's object store, where it is once for all tasks."""
        import ray

        if file not in self._contents:
            self._contents[file] = ray.put(file.read_bytes())
        return self._contents[file]

    def wait(self) -> Iterator[Report]:
        """What runs report within half a second, and which of them have ended."""
        import ray

        elsewhere, self._elsewhere = self._elsewhere, []
        for run in elsewhere:
            yield Report(run, ended=True, elsewhere=True)
        if not self._tasks:
            return
        ended, _ = ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=POLL_SECONDS)
        yield from self._heard()
        for task in ended:
            state = self._tasks.pop(task)
            failure = state.hangs or self._outcome(task, state.run)
            state.kept.close()
            yield Report(state.run, ended=True, failure=failure)
        self._room = self._slots()

    def _heard(self) -> Iterator[Report]:
        import ray

        known = {state.run.name: (task, state) for task, state in self._tasks.items()}
        with suppress(Exception):  # without its queue a plan goes on, and tells less
            for name, content in self._queue.get_nowait_batch(self._queue.qsize()):
                if name not in known:
                    continue
                task, state = known[name]
                if isinstance(content, str):
                    state.hangs = f"The run {name} failed: {content}"
                    ray.cancel(task, force=True)
                else:
                    yield Report(state.run, progress=content)

    def _outcome(self, task: Any, run: RunSettings) -> str:
        """Put a run that has ended into the store, unless it is there; why it failed, or nothing."""
        import ray

        try:
            found = ray.get(task)
        except ray.exceptions.RayError as error:
            return f"Ray could not carry out the run {run.name} ({type(error).__name__}): {last_line(error)}."
        if isinstance(found, str):
            return f"The run {run.name} failed: {found}"
        if found:
            try:
                self._store.take(run, found)
            except (OSError, ValueError, StoreError) as error:
                return f"The run {run.name} came back and could not be kept: {sentence_of(error, self._store.root)}"
        return ""

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in a task.

        Raises
        ------
        OSError
            If it failed.
        """
        import ray

        remote = ray.remote(num_cpus=self.share.threads, num_gpus=self.share.gpus)
        try:
            return ray.get(remote(_call).remote(Path.cwd(), function, *arguments))
        except ray.exceptions.RayError as error:
            raise OSError(f"A Ray task failed: {last_line(error)}.") from error

    def end(self) -> None:
        """Cancel the tasks that still work, and leave the cluster."""
        import ray

        tasks = list(self._tasks)
        for force in (False, True):
            for task in tasks:
                with suppress(Exception):
                    ray.cancel(task, force=force)
            if tasks:
                _, tasks = ray.wait(tasks, num_returns=len(tasks), timeout=GRACE_SECONDS)
        for state in self._tasks.values():
            state.kept.close()
        self._tasks.clear()
        self._closing.close()
