"""How each game's teacher is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from agents.search import SearchSettings
from lcd.training.settings import Hyperparameters

FIXED, FOLLOWING, NEAR = "egocentric:256", "nature:256", "egocentric-near:256"
"""Encoders for games whose camera is fixed, and for those whose camera keeps the player in the middle already; and for
those of the first kind in which small sizes near the player decide."""

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
    encoder
        Encoder of the student.
    advice
        How the student is taught first, if at all.
    steps
        Environment steps of PPO.
    hyperparameters
        Settings of PPO.
    guidance
        Reward for every cell that the way to the goal becomes shorter by, see `lcd.teachers.guidance`.
    """

    expert: SearchSettings
    encoder: str = FIXED
    advice: Advice | None = None
    steps: int = 4_000_000
    hyperparameters: Hyperparameters = HYPERPARAMETERS
    guidance: float = 0.0


def _led(horizon: int, num_plans: int) -> SearchSettings:
    """A search that follows the way to the goal, where rewards are rare."""
    return SearchSettings(horizon, num_plans, hold=5, route_weight=0.1)


_TO_THE_GOAL = 0.2
"""Guidance where a goal pays 10 and is some 20 cells away."""

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "bigfish": Recipe(SearchSettings(16, 16), NEAR),
        "bossfight": Recipe(SearchSettings(30, 24)),
        "caveflyer": Recipe(_led(20, 24), FOLLOWING, guidance=_TO_THE_GOAL),
        "chaser": Recipe(_led(12, 16)),
        "climber": Recipe(_led(20, 24), FOLLOWING, guidance=_TO_THE_GOAL),
        "coinrun": Recipe(_led(20, 24), FOLLOWING, guidance=_TO_THE_GOAL),
        "dodgeball": Recipe(SearchSettings(20, 32)),
        "fruitbot": Recipe(SearchSettings(36, 32, death_cost=1.0, hold=4.0), FOLLOWING),
        "heist": Recipe(_led(8, 16), advice=Advice(), guidance=_TO_THE_GOAL),
        "jumper": Recipe(_led(20, 24), FOLLOWING, Advice(), guidance=_TO_THE_GOAL),
        "leaper": Recipe(_led(16, 16), guidance=_TO_THE_GOAL),
        "maze": Recipe(_led(6, 12), advice=Advice(), guidance=_TO_THE_GOAL),
        "miner": Recipe(_led(8, 16), guidance=0.05),
        "ninja": Recipe(_led(24, 24), FOLLOWING, guidance=_TO_THE_GOAL),
        "plunder": Recipe(SearchSettings(40, 16), "egocentric-plunder:256"),
        "starpilot": Recipe(SearchSettings(20, 24)),
    }
)
"""Recipes of the 16 games."""
