"""Presets: how much a diagnosis spends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from lcd.experiments.settings import Hyperparameters
from lcd.io.limits import (
    MOST_EVALUATIONS,
    MOST_FACTOR,
    MOST_GAMES_AT_ONCE,
    MOST_SEEDS,
    MOST_STEPS,
    short,
    text,
    whole_number,
)

INVERSE_TEMPERATURES = (1.0, 2.0, 4.0)
"""From acting as the policy samples by itself to nearly the most probable action; teachers chose among such, too."""
MOST: Mapping[str, int] = MappingProxyType(
    {
        "steps": MOST_STEPS,
        "seeds": MOST_SEEDS,
        "evaluations": MOST_EVALUATIONS,
        "evaluation_episodes": MOST_GAMES_AT_ONCE,
        "teacher_factor": MOST_FACTOR,
    }
)
"""The largest numbers that a preset may have."""


@dataclass(frozen=True)
class Preset:
    """What a diagnosis spends on each cell.

    Attributes
    ----------
    steps
        Budget of environment steps for each cell and seed; rounded up to whole rollouts.
    seeds
        Seeds for each cell.
    evaluations
        Evaluations along the budget, after the one at step 0.
    spacing
        Whether they come after equal numbers of steps, or each after so many times as many as the one before.
    evaluation_episodes
        Episodes of each evaluation, on training and on unseen levels each.
    teacher_factor
        Budget of a teacher that has to be trained, as a multiple of `steps`.
    encoder
        Visual encoder.
    num_levels
        Training levels.
    inverse_temperatures
        Tried at each evaluation, see `lcd.experiments.Evaluation`.
    hyperparameters
        Settings of the learner.
    """

    steps: int
    seeds: int
    evaluations: int = 10
    spacing: Literal["even", "geometric"] = "even"
    evaluation_episodes: int = 64
    teacher_factor: int = 5
    encoder: str = "nature"
    num_levels: int = 200
    inverse_temperatures: tuple[float, ...] = INVERSE_TEMPERATURES
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)

    def check(self) -> None:
        """Refuse what cannot be spent.

        Raises
        ------
        ValueError
            If a number is below 1 or above `MOST`, or something is of another kind.
        """
        for name, most in MOST.items():
            whole_number(name, getattr(self, name), 1, most)
        text("encoder", self.encoder)
        if self.spacing not in ("even", "geometric"):
            raise ValueError(f"spacing must be 'even' or 'geometric', not {short(self.spacing)}.")


LEARNER = Hyperparameters(rollout_steps=64, minibatches=16)
"""Of the learner on a CPU: minibatches of 256, where Procgen's usual ones have 2,048. For the same computing a student
gets eight times as many gradient steps and returns three to seven times as much (``docs/learner.md``)."""

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "smoke": Preset(
            steps=2_048,
            seeds=2,
            evaluations=2,
            evaluation_episodes=8,
            teacher_factor=2,
            hyperparameters=Hyperparameters(rollout_steps=16),
        ),
        "quick": Preset(
            steps=80_000,
            seeds=3,
            evaluations=5,
            evaluation_episodes=64,
            teacher_factor=4,
            hyperparameters=LEARNER,
        ),
        "standard": Preset(steps=1_000_000, seeds=3, hyperparameters=LEARNER),
        "paper": Preset(steps=25_000_000, seeds=5, evaluations=25, evaluation_episodes=128, encoder="impala"),
    }
)
"""Presets by name: ``smoke`` proves the plumbing, ``quick`` fits into a coffee break, ``paper`` wants a GPU."""
