"""How each game's teacher is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from agents.search import SearchSettings
from lcd.training.settings import Hyperparameters

ENCODER = "egocentric:256"

HYPERPARAMETERS = Hyperparameters(rollout_steps=64, minibatches=4, gamma=0.99)
"""Shorter rollouts and smaller minibatches than usual: in starpilot they learn twice as fast from the same steps."""


@dataclass(frozen=True)
class Advice:
    """How a student is taught by an expert before it learns from reward.

    Attributes
    ----------
    stride
        Steps from one decision of the expert to the next.
    temperature
        Difference in return for which the expert's preference of one action over another is a factor of e.
    rounds
        Rounds of DAgger: states are collected and labelled, then the student learns from all states so far.
    states
        States labelled in each round.
    expert_share
        Share of the games in which the expert acts rather than the student; in the first round it acts in all.
    slips
        Share of the expert's decisions that are replaced by a random action, so that it shows how to recover.
    epochs
        Passes over all states so far in each round.
    """

    stride: int = 2
    temperature: float = 0.1
    rounds: int = 4
    states: int = 16_384
    expert_share: float = 0.25
    slips: float = 0.1
    epochs: int = 6


@dataclass(frozen=True)
class Recipe:
    """How one teacher is made: advice by an expert, where rewards alone are too rare, and then PPO.

    Attributes
    ----------
    expert
        The search that gives the advice, and the score to compare the teacher with.
    steps
        Environment steps of PPO.
    advice
        How the student is taught first, if at all.
    encoder
        Encoder of the student.
    hyperparameters
        Settings of PPO.
    """

    expert: SearchSettings
    steps: int = 4_000_000
    advice: Advice | None = None
    encoder: str = ENCODER
    hyperparameters: Hyperparameters = field(default_factory=lambda: HYPERPARAMETERS)


def _open(horizon: int, num_plans: int, **settings: float) -> Recipe:
    """Rewards are dense: PPO alone."""
    return Recipe(replace(SearchSettings(horizon, num_plans), **settings))  # type: ignore[arg-type]


def _led(horizon: int, num_plans: int) -> SearchSettings:
    """A search that follows the way to the goal, where rewards are rare."""
    return SearchSettings(horizon, num_plans, hold=5, route_weight=0.1)


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "bigfish": _open(16, 16),
        "bossfight": _open(14, 18),
        "caveflyer": Recipe(_led(20, 24)),
        "chaser": Recipe(_led(12, 16)),
        "climber": Recipe(_led(20, 24)),
        "coinrun": Recipe(_led(20, 24)),
        "dodgeball": _open(20, 32),
        "fruitbot": _open(36, 32, hold=4.0, death_cost=1.0),
        "heist": Recipe(_led(8, 16), advice=Advice()),
        "jumper": Recipe(_led(20, 24), advice=Advice()),
        "leaper": Recipe(_led(16, 16)),
        "maze": Recipe(_led(6, 12), advice=Advice()),
        "miner": Recipe(_led(8, 16)),
        "ninja": Recipe(_led(24, 24)),
        "plunder": replace(_open(40, 16), encoder="egocentric-plunder:256"),
        "starpilot": _open(20, 24),
    }
)
"""Recipes of the 16 games."""
