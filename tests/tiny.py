"""A plan so small that tests can train it for real, and the store of its runs that they share."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from lcd.experiments.execution import Event, execute
from lcd.experiments.plan import GamePlan, Plan, plan_game
from lcd.experiments.presets import Preset
from lcd.experiments.settings import Hyperparameters
from lcd.experiments.store import Store

GAME = "bossfight"
"""Of all games the one whose episodes are shortest: evaluations cost more than training at this size."""

TINY = Preset(
    steps=512,
    seeds=2,
    evaluations=2,
    evaluation_episodes=2,
    teacher_factor=2,
    teacher_candidates=2,
    inverse_temperatures=(1.0, 2.0),
    hyperparameters=Hyperparameters(num_envs=8, rollout_steps=16, minibatches=2, epochs=1),
)


@dataclass(frozen=True)
class TinyRuns:
    """Every run of the tiny plan, with a teacher that is trained.

    Attributes
    ----------
    plan
        The plan.
    store
        Its runs, for reading only: other tests use them as well.
    events
        Kind and run's name of each event of making them.
    """

    plan: GamePlan
    store: Store
    events: tuple[tuple[str, str], ...]


def tiny_runs(folder: Path) -> TinyRuns:
    """Make the runs in a folder, or wait until the process that makes them has finished, and find them there."""
    plan, store, told = plan_game(GAME, TINY), Store(folder / "runs"), folder / "events.json"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "making.lock"):
        if not told.is_file():
            events: list[Event] = []
            execute(Plan((plan,)), store, workers=2, threads=1, listener=events.append)
            told.write_text(json.dumps([(event.kind, event.run.name) for event in events]))
    return TinyRuns(plan, store, tuple((kind, name) for kind, name in json.loads(told.read_text())))


def shared_folder(of_this_process: Path) -> Path:
    """Temporary folder of all worker processes of a test run, from that of this one."""
    return of_this_process.parent if "PYTEST_XDIST_WORKER" in os.environ else of_this_process
