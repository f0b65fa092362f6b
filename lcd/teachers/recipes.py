"""How each game's teacher is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from lcd.experiments.settings import Hyperparameters
from lcd.teachers.search import SearchSettings

FIXED, FOLLOWING, NEAR = "egocentric:256", "nature:256", "egocentric-near:256"
"""Encoders for games whose camera is fixed, and for those whose camera keeps the player in the middle already; and for
those of the first kind in which small sizes near the player decide."""

HYPERPARAMETERS = Hyperparameters(rollout_steps=64, minibatches=4, gamma=0.99)
"""Shorter rollouts and smaller minibatches than usual: in starpilot they learn twice as fast from the same steps."""


Guide = Literal["way", "wary"]
"""An expert that knows what to do in every state, so that a student can be shown it."""

WAY: Guide = "way"
"""The one that follows a shortest way to the nearest goal and looks at nothing else."""

WARY: Guide = "wary"
"""The one that minds the enemies of chaser, see `lcd.teachers.avoidance`."""

Expert = SearchSettings | Guide


QUICKLY = replace(HYPERPARAMETERS, learning_rate=3e-3, minibatches=16)
"""For an encoder of few weights that are used again and again."""

TOLD = replace(QUICKLY, learning_rate=1e-3)
"""For an encoder that is told nearly everything."""


@dataclass(frozen=True)
class Recipe:
    """How one teacher is made.

    Attributes
    ----------
    expert
        Plays with every privilege, for a score to compare the teacher with: a search, `WAY` or `WARY`.
    encoder
        Encoder of the student.
    steps
        Environment steps in which it learns.
    hyperparameters
        Settings of PPO.
    guidance
        Reward for every cell that the way to the goal becomes shorter by, see `lcd.teachers.shaping`.
    """

    expert: Expert
    encoder: str = FIXED
    steps: int = 4_000_000
    hyperparameters: Hyperparameters = HYPERPARAMETERS
    guidance: float = 0.0

    @property
    def guide(self) -> Guide | None:
        """Who shows it what to do, see `lcd.teachers.imitation`; None if it learns by PPO."""
        return None if isinstance(self.expert, SearchSettings) else self.expert


def _led(horizon: int, num_plans: int) -> SearchSettings:
    """A search that follows the way to the goal, where rewards are rare."""
    return SearchSettings(horizon, num_plans, hold=5, route_weight=0.1)


_TO_THE_GOAL = 0.2
"""Guidance where a goal pays 10 and is some 20 cells away."""

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "bigfish": Recipe(SearchSettings(16, 16), NEAR, 6_000_000),
        "bossfight": Recipe(SearchSettings(30, 24), steps=3_000_000),
        "caveflyer": Recipe(_led(20, 24), FOLLOWING, 7_300_000, guidance=_TO_THE_GOAL),
        "chaser": Recipe(WARY, "floodfill-chaser:11", 500_000, TOLD),
        "climber": Recipe(_led(20, 24), FOLLOWING, 4_900_000, guidance=_TO_THE_GOAL),
        "coinrun": Recipe(_led(20, 24), FOLLOWING, 5_700_000, guidance=_TO_THE_GOAL),
        "dodgeball": Recipe(SearchSettings(20, 32), steps=3_000_000),
        "fruitbot": Recipe(SearchSettings(36, 32, death_cost=1.0, hold=4.0), FOLLOWING, 5_700_000),
        "heist": Recipe(WAY, "floodfill-heist", 500_000, TOLD),
        "jumper": Recipe(_led(20, 24), FOLLOWING, 3_000_000, guidance=_TO_THE_GOAL),
        "leaper": Recipe(_led(16, 16), steps=3_000_000, guidance=_TO_THE_GOAL),
        "maze": Recipe(WAY, "floodfill-maze:15,8,1", 500_000, QUICKLY),
        "miner": Recipe(WAY, "wayfinder:10", 1_300_000, QUICKLY),
        "ninja": Recipe(_led(24, 24), FOLLOWING, guidance=_TO_THE_GOAL),
        "plunder": Recipe(SearchSettings(40, 16), "egocentric-plunder:256", 3_000_000),
        "starpilot": Recipe(SearchSettings(20, 24), steps=6_000_000),
    }
)
"""Recipes of the 16 games."""
