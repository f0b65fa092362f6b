"""Presets: budgets of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from lcd.envs.levels import Levels
from lcd.experiments.settings import Hyperparameters
from lcd.io.limits import LARGEST_SEED, MOST_EVALUATIONS, MOST_FACTOR, MOST_SEEDS
from lcd.io.settings import GamesAtOnce, Positive, Several, Steps, Text, Whole, settings

INVERSE_TEMPERATURES = (1.0, 2.0, 4.0)
"""Candidates for evaluation, from the unchanged policy to nearly its most probable action."""


Precision = Literal["auto", "float32", "bfloat16"]
"""Of an encoder's numbers."""


@settings
class Preset:
    """Budget and settings of each cell of a diagnosis.

    Attributes
    ----------
    steps
        Budget of environment steps for each cell and seed; rounded up to whole rollouts.
    seeds
        Seeds for each cell.
    first_seed
        The first of them; the others follow it.
    evaluations
        Evaluations along the budget, after the one at step 0.
    spacing
        ``"even"`` or ``"geometric"`` spacing of their steps.
    evaluation_episodes
        Episodes of each evaluation, on training and on unseen levels each.
    teacher_factor
        Steps of a teacher that has to be trained, with those of the candidate that it goes on from, as a multiple of
        `steps`; with 1, a single rollout follows those.
    teacher_candidates
        Learners from reward that begin as such a teacher, with the seeds from 0 on. After `steps` the best of them goes
        on alone.
    encoder
        Visual encoder.
    num_levels
        Training levels.
    inverse_temperatures
        Tried at each evaluation, see `lcd.experiments.Evaluation`.
    hyperparameters
        Settings of the learner.
    precision
        Of the encoder's numbers: ``"float32"``, ``"bfloat16"``, or ``"auto"``: the fastest where runs are planned.
    """

    steps: Steps
    seeds: Annotated[Whole, Field(ge=1, le=MOST_SEEDS)]
    evaluations: Annotated[Whole, Field(ge=1, le=MOST_EVALUATIONS)] = 10
    spacing: Literal["even", "geometric"] = "even"
    evaluation_episodes: GamesAtOnce = 64
    teacher_factor: Annotated[Whole, Field(ge=1, le=MOST_FACTOR)] = 5
    teacher_candidates: Annotated[Whole, Field(ge=1, le=MOST_SEEDS)] = 3
    encoder: Text = "nature"
    num_levels: Levels = 200
    first_seed: Annotated[Whole, Field(ge=0, le=LARGEST_SEED - MOST_SEEDS)] = 0
    inverse_temperatures: Several[Positive] = INVERSE_TEMPERATURES
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    precision: Precision = "auto"


LEARNER = Hyperparameters(rollout_steps=64, minibatches=32, epochs=1, learning_rate=1e-3, gamma=0.99)
"""Hyperparameters of the learner on a CPU: one pass over each rollout, in minibatches of 128 with twice the learning
rate, where Procgen's usual ones pass three times in minibatches of 2,048. At equal computing students of label maps
learn two to three times as much in minibatches of 256 as in those. With Procgen's usual discount, 0.999, learners of
coinrun come to a stop (``docs/learner.md``)."""

HASTY_LEARNER = replace(LEARNER, learning_rate=2e-3)
"""The same with twice the learning rate again, which was ahead in the first minutes, by less than the noise."""

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "smoke": Preset(
            steps=2_048,
            seeds=2,
            evaluations=2,
            evaluation_episodes=8,
            teacher_factor=2,
            teacher_candidates=2,
            hyperparameters=Hyperparameters(rollout_steps=16),
        ),
        "quick": Preset(
            steps=192_000,
            seeds=3,
            evaluations=4,
            evaluation_episodes=32,
            teacher_factor=4,
            hyperparameters=HASTY_LEARNER,
        ),
        "standard": Preset(steps=1_000_000, seeds=3, hyperparameters=LEARNER),
        "paper": Preset(steps=25_000_000, seeds=5, evaluations=25, evaluation_episodes=128, encoder="impala"),
    }
)
"""Presets by name: ``smoke`` tests the installation, ``quick`` takes ten minutes to two hours, ``paper`` a GPU."""
