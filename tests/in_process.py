"""An executor that carries out runs in this process, one after the other: starting processes takes seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lcd.experiments.executor import Report, Share
from lcd.experiments.job import Job
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store


class InProcess:
    """In the place of `lcd.experiments.processes.LocalProcesses`."""

    def __init__(
        self, store: Store, workers: int, threads: int, device: str, silence: float, step_limit: float
    ) -> None:
        self.store, self.share = store, Share(device=device, step_limit=step_limit)
        self.reports: list[Report] = []

    @property
    def running(self) -> int:
        return len(self.reports)

    @property
    def free(self) -> int:
        return 1 - self.running

    def start(self, run: RunSettings, weights: Mapping[str, Path]) -> None:
        Job.of(run, weights, self.share).carry_out(self.store, lambda progress: None)
        self.reports.append(Report(run, ended=True))

    def wait(self) -> list[Report]:
        reports, self.reports = self.reports, []
        return reports

    def end(self) -> None:
        pass
