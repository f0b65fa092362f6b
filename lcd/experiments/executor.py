"""What carries out runs, as `lcd.experiments.execution.execute` needs it: processes of this machine are one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lcd.experiments.settings import RunSettings
from lcd.io.limits import STEP_LIMIT

WARM = "lcd.experiments.warm_start"
"""Module that new worker processes find imported."""


@dataclass(frozen=True)
class Report:
    """What an executor tells of a run.

    Attributes
    ----------
    run
        The run.
    progress
        `lcd.experiments.Progress`, if it tells how far the run has come.
    ended
        Whether the run has ended; it is finished if the store holds it.
    failure
        Why it ended if it is not finished: a sentence.
    elsewhere
        Whether it ended because another plan carries out the same run.
    """

    run: RunSettings
    progress: Any = None
    ended: bool = False
    failure: str = ""
    elsewhere: bool = False


@dataclass(frozen=True)
class Share:
    """What an executor gives each run.

    Attributes
    ----------
    threads
        Cores, which are torch's threads too.
    gpus
        GPUs, such as 0.25.
    device
        Where torch computes.
    step_limit
        Seconds after which a step of another package's game is taken to hang.
    """

    threads: int = 1
    gpus: float = 0.0
    device: str = "cpu"
    step_limit: float = STEP_LIMIT


class Executor(Protocol):
    """Carries out runs, several at once, until the store holds them."""

    @property
    def share(self) -> Share:
        """What each run gets."""
        ...

    @property
    def running(self) -> int:
        """Number of runs that have begun and not ended."""
        ...

    @property
    def free(self) -> int:
        """Number of runs that may begin."""
        ...

    def start(self, run: RunSettings, weights: Mapping[str, Path]) -> None:
        """Begin a run.

        Parameters
        ----------
        run
            The run.
        weights
            Files of the policies that it uses, as absolute paths, by the identities in `RunSettings.needs`.
        """
        ...

    def wait(self) -> Iterable[Report]:
        """What runs have to report; returns soon also if that is nothing."""
        ...

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function once where runs are carried out, with what a run gets, and return its result."""
        ...

    def end(self) -> None:
        """End the runs that have not ended, and leave nothing behind."""
        ...
