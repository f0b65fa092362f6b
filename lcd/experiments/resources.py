"""With what the runs of a plan are carried out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lcd.experiments.executor import WARM
from lcd.experiments.executors import LOCAL, parse_executor
from lcd.experiments.host import free_host_bytes, usable_cores
from lcd.experiments.presets import Preset
from lcd.experiments.settings import RunSettings
from lcd.io.child_processes import preload
from lcd.io.limits import LONGEST_STEP_LIMIT, MOST_WORKERS, STEP_LIMIT, real_number, short, text, whole_number

DEVICES = ("auto", "cpu", "cuda")

BYTES_PER_WORKER = 5 * 2**28
"""Memory that a worker takes on CPUs: up to 0.8 GiB beside what it shares with others, measured with Nature on Procgen
in training and evaluation, and room for larger networks."""


@dataclass(frozen=True)
class Resources:
    """With what the runs of a plan are carried out; the arguments of `lcd.experiments.execution.execute`.

    Attributes
    ----------
    device
        Where torch computes; resolved where this machine carries out the runs.
    workers, threads
        Runs at once, and torch threads of each; None for the fastest numbers.
    executor
        Name of what carries them out, see `lcd.experiments.executors.make_executor`.
    step_limit
        Seconds after which a step of another package's game is taken to hang.
    """

    device: str = "auto"
    workers: int | None = None
    threads: int | None = None
    executor: str = LOCAL
    step_limit: float = STEP_LIMIT

    @classmethod
    def checked(
        cls,
        device: str = "auto",
        workers: int | None = None,
        threads: int | None = None,
        executor: str = LOCAL,
        step_limit: float = STEP_LIMIT,
    ) -> Resources:
        """The resources, after checking that they are there as far as this machine knows.

        Raises
        ------
        ValueError
            If there is no such device or executor, or a number is impossible.
        """
        check_numbers(workers, threads)
        real_number("step_limit", step_limit, 1, LONGEST_STEP_LIMIT)
        kind, _ = parse_executor(executor)
        if kind == LOCAL:
            device = resolve_device(device)
            preload(WARM)  # before planning starts processes of games
        elif text("The device", device) not in DEVICES:
            raise ValueError(f"The device {short(device)} is unknown: choose one of {', '.join(DEVICES)}.")
        return cls(device, workers, threads, executor, step_limit)

    def processes(self, bytes_each: int = BYTES_PER_WORKER) -> int:
        """How many processes of one thread work at once here before and after the runs.

        As many as this machine takes, and no more than runs do, unless a cluster carries them out.

        Parameters
        ----------
        bytes_each
            Memory that each takes.
        """
        most = _workers_on_cpus(usable_cores(), 1, bytes_each)
        return min(most, self.workers or most) if parse_executor(self.executor)[0] == LOCAL else most

    def precise(self, preset: Preset) -> Preset:
        """The preset with the precision that is fastest where its runs are carried out, unless it names one.

        On a cluster, whose machines are not known here, ``"auto"`` stays.
        """
        from lcd.agents.machine import fastest_precision

        if preset.precision != "auto" or parse_executor(self.executor)[0] != LOCAL:
            return preset
        return replace(preset, precision=fastest_precision(self.device))


FASTEST = Resources()
"""This machine's device, and the fastest numbers."""


def check_numbers(workers: int | None, threads: int | None) -> None:
    """Check the numbers of runs at once and of threads.

    Raises
    ------
    ValueError
        If there are to be none, or too many.
    """
    for name, number in (("workers", workers), ("threads", threads)):
        if number is not None:
            whole_number(name, number, 1, MOST_WORKERS)


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
        The runs of a plan; on a GPU their memory bounds the number at once, on CPUs `BYTES_PER_WORKER`.
    workers, threads
        What was chosen, or None.
    """
    cores = usable_cores()
    if resolve_device(device) == "cpu":
        return workers or _workers_on_cpus(cores, threads or 1), threads or 1
    if workers is None:
        from lcd.experiments.gpu import workers_for

        workers = workers_for(runs, cores)
    return workers, threads or max(1, cores // workers)


def _workers_on_cpus(cores: int, threads: int, bytes_each: int = BYTES_PER_WORKER) -> int:
    """As many processes as the cores and the free memory take."""
    free = free_host_bytes()
    return max(1, min(cores // threads, cores if free is None else free // bytes_each))


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
