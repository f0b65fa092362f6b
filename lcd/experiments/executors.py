"""Executors by name: processes of this machine, tasks of a Ray cluster, jobs of Slurm."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from typing import Any

from lcd.experiments.executor import Executor
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.io.limits import STEP_LIMIT, short, text

LOCAL, RAY, SLURM = "local", "ray", "slurm"

PACKAGES = {RAY: "ray", SLURM: "submitit"}
"""Package that an executor needs, which the extra of its own name installs."""

_SBATCH = ("partition", "account", "qos", "memory")
SETTINGS = {LOCAL: (), RAY: ("cpus", "gpus"), SLURM: ("cpus", "gpus", "time", *_SBATCH)}
"""Settings that may follow an executor's name."""


def parse_executor(executor: str) -> tuple[str, dict[str, str]]:
    """Read the name of an executor: ``local``, ``ray[:ADDRESS][,gpus=0.25]`` or ``slurm[:partition=NAME,time=8h]``.

    Parameters
    ----------
    executor
        The name, and after a colon its address and settings, separated by commas.

    Returns
    -------
    kind : str
        ``"local"``, ``"ray"`` or ``"slurm"``.
    settings : dict
        Its settings; what has no name is the ``"address"``.

    Raises
    ------
    ValueError
        If there is no such executor or setting, or its package is not installed.

    Examples
    --------
    >>> parse_executor("local")
    ('local', {})
    """
    kind, _, rest = text("The executor", executor).partition(":")
    if "," in kind:
        kind, _, rest = executor.partition(",")
    if kind not in SETTINGS:
        raise ValueError(f"Unknown executor {short(executor)}: choose one of {', '.join(SETTINGS)}.")
    settings: dict[str, str] = {}
    allowed = SETTINGS[kind]
    for part in filter(None, rest.split(",")):
        name, given, value = part.partition("=")
        if not given and kind == RAY and not settings:
            settings["address"] = part
        elif not given or name not in allowed or not value or name in settings:
            known = f"it takes {', '.join(f'{each}=…' for each in allowed)}" if allowed else "it takes none"
            raise ValueError(f"The executor {kind} has no setting {short(part)}, or it is given twice: {known}.")
        else:
            settings[name] = value
    for name, form in (("cpus", int), ("gpus", int if kind == SLURM else float)):
        _number(kind, settings, name, form)
    if "time" in settings:
        minutes_of(settings["time"])
    package = PACKAGES.get(kind)
    if package is not None and importlib.util.find_spec(package) is None:
        raise ValueError(
            f"The executor {kind} needs {package}, which is not installed: "
            f"pip install 'learning-challenge-diagnosticator[{kind}]'."
        )
    return kind, settings


def make_executor(
    executor: str,
    store: Store,
    runs: Sequence[RunSettings],
    *,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    step_limit: float = STEP_LIMIT,
) -> Executor:
    """Make an executor from its name.

    Parameters
    ----------
    executor
        ``"local"``: processes of this machine, see `lcd.experiments.processes.LocalProcesses`.
        ``"ray[:ADDRESS][,cpus=N][,gpus=SHARE]"``: see `lcd.experiments.ray_tasks.RayTasks`.
        ``"slurm[:time=8h][,partition=NAME][,cpus=N][,gpus=N][,account=NAME][,qos=NAME][,memory=8G]"``: see
        `lcd.experiments.slurm_jobs.SlurmJobs`.
    store
        Where finished runs go.
    runs
        What is to be run.
    workers, threads
        Runs at once, and torch threads of each; by default what the executor finds best.
    device
        Where torch computes.
    step_limit
        Seconds after which a step of another package's game is taken to hang.

    Raises
    ------
    ValueError
        If the name is wrong, or what it names is not there.
    """
    kind, settings = parse_executor(executor)
    if kind == RAY:
        from lcd.experiments.ray_tasks import RayTasks

        cpus = _number(kind, settings, "cpus", int)
        gpus = _number(kind, settings, "gpus", float)
        address, cores = settings.get("address"), cpus or threads or 1
        return RayTasks(
            store, address, runs, workers=workers, cpus=cores, gpus=gpus, device=device, step_limit=step_limit
        )
    if kind == SLURM:
        from lcd.experiments.slurm_jobs import MINUTES, SlurmJobs

        cpus, gpus = _number(kind, settings, "cpus", int), _number(kind, settings, "gpus", int)
        minutes = minutes_of(settings["time"]) if "time" in settings else MINUTES
        options = {"mem" if name == "memory" else name: settings[name] for name in _SBATCH if name in settings}
        cores = cpus or threads or 1
        return SlurmJobs(
            store,
            workers=workers,
            cpus=cores,
            gpus=gpus,
            minutes=minutes,
            device=device,
            step_limit=step_limit,
            cluster="slurm",
            **options,
        )
    from lcd.experiments.processes import SILENCE, LocalProcesses
    from lcd.experiments.resources import chosen_workers, resolve_device

    device = resolve_device(device)
    chosen = chosen_workers(device, runs, workers, threads)
    return LocalProcesses(store, *chosen, device, max(SILENCE, 2 * step_limit), step_limit)


def _number(kind: str, settings: dict[str, str], name: str, form: type[Any]) -> Any:
    """A number among an executor's settings, None where it is not given.

    Raises
    ------
    ValueError
        If it is not a number above 0.
    """
    if name not in settings:
        return None
    try:
        value = form(settings[name])
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}={short(settings[name])} of the executor {kind} is not a number above 0: correct it.")
    return value


_TIME = re.compile(r"(?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)(?:m|min)?)?")


def minutes_of(text: str) -> int:
    """Minutes of a time limit such as ``8h``, ``90``, ``90m`` or ``1h30``.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> minutes_of("1h30")
    90
    """
    found = _TIME.fullmatch(text)
    minutes = 0 if found is None else 60 * int(found["hours"] or 0) + int(found["minutes"] or 0)
    if not 0 < minutes < 60 * 24 * 366:
        raise ValueError(f"time={short(text)} is no time limit: write 8h, 90m or 1h30.")
    return minutes
