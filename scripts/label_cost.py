"""Measure the cost of a reference teacher's labels as a share of its student's step.

    python scripts/label_cost.py --output docs/label_cost.csv

In every game that has a reference teacher, a Nature student imitates it from pixels, 64 games at a time on one thread,
after a first rollout that is not counted. Columns: the teacher's encoder, microseconds of the processor a step for the
labels and for everything else (games in both views, acting, learning), and their ratio.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from lcd.agents import load_policy
from lcd.agents.imitation import DAgger, TaughtVecEnv, Teacher
from lcd.envs import ProcgenOptions, ProcgenVecEnv
from lcd.teachers.library import shipped_games, shipped_teacher

NUM_ENVS, ROLLOUT_STEPS = 64, 256


class TimedTeacher:
    """A teacher that counts the seconds in which it labels."""

    def __init__(self, teacher: Teacher) -> None:
        self.teacher, self.seconds = teacher, 0.0

    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """The teacher's."""
        started = time.process_time()
        labels = self.teacher.log_probabilities(observations)
        self.seconds += time.process_time() - started
        return labels


def measure(game: str, rollouts: int, num_envs: int = NUM_ENVS, rollout_steps: int = ROLLOUT_STEPS) -> dict[str, Any]:
    """One row of the table."""
    path, card = shipped_teacher(game)
    teacher = TimedTeacher(load_policy(path)[0])
    env = TaughtVecEnv(ProcgenVecEnv(ProcgenOptions(game, num_levels=200), num_envs, "both"))
    student = DAgger(env=env, teacher=teacher, n_steps=rollout_steps, seed=0, device="cpu")
    student.learn(num_envs * rollout_steps)
    before, started = teacher.seconds, time.process_time()
    steps = rollouts * num_envs * rollout_steps
    student.learn(steps, reset_num_timesteps=False)
    labels = 1e6 * (teacher.seconds - before) / steps
    rest = 1e6 * (time.process_time() - started) / steps - labels
    env.close()
    return {"game": game, "teacher": card.recipe["encoder"], "labels": labels, "rest": rest, "share": labels / rest}


def main() -> None:
    """Measure all games and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=2)
    parser.add_argument("--games", nargs="+", default=shipped_games(), choices=shipped_games(), metavar="GAME")
    parser.add_argument("--num-envs", type=int, default=NUM_ENVS, help="games at a time")
    parser.add_argument("--rollout-steps", type=int, default=ROLLOUT_STEPS, help="steps of a game in a rollout")
    parser.add_argument("--output", type=Path, help="CSV file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = pd.DataFrame(
        [measure(game, options.rollouts, options.num_envs, options.rollout_steps) for game in options.games]
    )
    table = table.round({"labels": 1, "rest": 1, "share": 3})
    print(table.to_string(index=False))
    if options.output:
        table.to_csv(options.output, index=False)


if __name__ == "__main__":
    main()
