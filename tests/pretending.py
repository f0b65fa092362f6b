"""Runs that nobody trained, and an executor that makes them: for tests of stores, where training would take long.

As a script it carries out a plan of such runs: ``python pretending.py URL NUMBER SECONDS``.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from lcd.experiments.execution import execute
from lcd.experiments.executor import Report, Share
from lcd.experiments.plan import plan_game
from lcd.experiments.presets import PRESETS
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store


def some_runs(number: int) -> list[RunSettings]:
    """Runs that use no others' weights."""
    first = next(run for run in plan_game("maze", PRESETS["smoke"]).cells if run.learning == "rl")
    return [replace(first, seed=seed) for seed in range(number)]


class TellingItsEnvironment:
    """A job that reports one of its environment's variables, and trains nothing."""

    def carry_out(self, store: Store, report: Any, hangs: Any = None) -> None:
        report(os.environ.get("LCD_TEST_VARIABLE"))


def episodes_of(run: RunSettings) -> pd.DataFrame:
    return pd.DataFrame(
        [
            (run.game, run.view, run.learning, run.seed, step, levels, episode, episode, 5.0, 100)
            for step in run.evaluation.steps
            for levels in ("unseen", "training")
            for episode in range(4)
        ],
        columns=["game", "view", "learning", "seed", "step", "levels", "episode", "level_seed", "return", "length"],
    )


def finish(store: Store, run: RunSettings, size: int = 1000, seconds: float = 1.0) -> None:
    """Put a run into a store, with weights of a number of bytes."""
    with store.workspace(run) as workspace:
        (workspace / "policy.safetensors").write_bytes(np.random.default_rng(run.seed).bytes(size))
        store.finish(run, workspace, episodes_of(run), seconds, None, {"threads": 1})


class Pretending:
    """An `Executor` that makes one run after the other in this process."""

    share = Share()
    free = 1

    def __init__(self, store: Store, seconds: float = 0.0) -> None:
        self._store, self._seconds = store, seconds
        self._reports: list[Report] = []
        self.made: list[int] = []

    @property
    def running(self) -> int:
        return len(self._reports)

    def start(self, run: RunSettings, weights: Any) -> None:
        with self._store.lease(run) as free:
            if free and not self._store.has(run):
                time.sleep(self._seconds)
                finish(self._store, run)
                self.made.append(run.seed)
        self._reports.append(Report(run, ended=True, elsewhere=not free, failure="it was not made"))

    def wait(self) -> list[Report]:
        reports, self._reports = self._reports, []
        return reports

    def call(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    def end(self) -> None:
        pass


def carry_out(store: Store, runs: list[RunSettings], seconds: float = 0.0) -> list[int]:
    """Make the missing ones of some runs; the seeds of those that this call made."""
    executor = Pretending(store, seconds)
    execute(SimpleNamespace(runs=runs, games=()), store, executor=executor)  # type: ignore[arg-type]
    return executor.made


if __name__ == "__main__":
    from lcd.experiments.remote_store import open_store

    print(*carry_out(open_store(sys.argv[1]), some_runs(int(sys.argv[2])), float(sys.argv[3])))
