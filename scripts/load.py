"""Measure the load that many queued runs put on one driver: memory, look-ups in the store, and start-up of a run.

A plan of tiny runs with many seeds is carried out by as many workers as are asked for, which is far more than the
machine has cores. Three things are measured:

- **memory** of the driver while the first and the last quarter of the runs are finished;
- **look-up**: seconds in which the store tells which of so many runs it has, for half and for all of them;
- **start-up**: seconds that a run takes beside its training, in one worker.

Usage::

    python scripts/load.py --output docs/load.csv             # 1,000 runs, 64 workers: half an hour on two cores
    python scripts/load.py --output load.csv --runs 16 --workers 4
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from soaking.memory import resident_mb

from lcd.experiments.execution import Event, execute
from lcd.experiments.plan import GamePlan, Plan, plan_game
from lcd.experiments.presets import Preset
from lcd.experiments.settings import Hyperparameters
from lcd.experiments.store import Store
from lcd.io.files import replacing

GAME = "maze"
ALONE = 8
"""Runs whose start-up is measured, in one worker."""


def tiny(seeds: int) -> GamePlan:
    """A plan of one rollout a run, from reward only: nothing waits for a teacher."""
    numbers = Hyperparameters(num_envs=8, rollout_steps=16, minibatches=1, epochs=1)
    preset = Preset(
        steps=128, seeds=seeds, evaluations=1, evaluation_episodes=1, teacher_factor=1, hyperparameters=numbers
    )
    plan = plan_game(GAME, preset)
    alike = [run for run in plan.cells if run.learning == "rl" and run.view == "pixels"]
    return replace(plan, cells=tuple(alike), teacher_run=None, candidates=())


def cut(plan: GamePlan, count: int) -> GamePlan:
    """The first runs of a plan."""
    return replace(plan, cells=plan.cells[:count])


def queued(plan: GamePlan, store: Store, workers: int) -> list[tuple[str, float]]:
    """Carry out a plan in many workers, and watch the driver's memory.

    Returns
    -------
    list of tuple
        Names of measures and their values: memory in MB, times in seconds.
    """
    memory: list[float] = []
    started = time.perf_counter()

    def watch(event: Event) -> None:
        if event.kind == "finished":
            memory.append(resident_mb())

    execute(Plan((plan,)), store, workers=workers, threads=1, device="cpu", listener=watch)
    seconds, quarter = time.perf_counter() - started, max(1, len(memory) // 4)
    return [
        ("runs", len(plan.cells)),
        ("workers", workers),
        ("seconds in all", seconds),
        ("driver's memory, first quarter (MB)", float(np.mean(memory[:quarter]))),
        ("driver's memory, last quarter (MB)", float(np.mean(memory[-quarter:]))),
    ]


def looked_up(plan: GamePlan, store: Store) -> list[tuple[str, float]]:
    """Time in which the store tells which runs it has, for half of the plan and for all of it."""
    found = []
    for name, runs in (("half of the runs", plan.cells[: len(plan.cells) // 2]), ("all runs", plan.cells)):
        times = []
        for _ in range(5):
            started = time.perf_counter()
            held = sum(store.has(run) and not store.is_leased(run) for run in runs)
            times.append(time.perf_counter() - started)
            assert held == len(runs)
        found.append((f"look-up of {name} (s)", median(times)))
    return found


def alone(plan: GamePlan, folder: Path) -> list[tuple[str, float]]:
    """Time that a run takes beside its training, one after the other; the first starts the server of processes."""
    store, moments = Store(folder), []
    execute(
        Plan((plan,)),
        store,
        workers=1,
        threads=1,
        device="cpu",
        listener=lambda event: moments.append((event.kind, event.run, time.perf_counter())),
    )
    beside = []
    begun = {run: moment for kind, run, moment in moments if kind == "started"}
    for kind, run, moment in moments:
        if kind == "finished":
            beside.append(moment - begun[run] - store.load(run).seconds)
    return [
        ("start-up of the first run (s)", beside[0]),
        ("start-up of a run after it (s)", median(beside[1:] or beside)),
    ]


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--runs", type=int, default=1000, help="number of runs, a multiple of 2")
    parser.add_argument("--workers", type=int, default=64, help="runs at once")
    options = parser.parse_args()
    plan = tiny(options.runs)
    with tempfile.TemporaryDirectory(prefix="lcd-") as name:
        rows = alone(cut(plan, ALONE), Path(name) / "alone")
        store = Store(Path(name) / "queued")
        rows += queued(plan, store, options.workers)
        rows += looked_up(plan, store)
    table = pd.DataFrame(rows, columns=["measure", "value"])
    with replacing(options.output) as file:
        table.round(7).to_csv(file, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
