"""How each game's teacher is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from lcd.experiments.settings import Hyperparameters
from lcd.io.settings import Number, Steps, Text, settings
from lcd.teachers.search import SearchSettings

FIXED, FOLLOWING, NEAR = "egocentric:256", "nature:256", "egocentric-near:256"
"""Encoders for games with a fixed camera, for games whose camera follows the player, and for games with a fixed camera
in which small differences in size near the player matter."""

HYPERPARAMETERS = Hyperparameters(rollout_steps=64, minibatches=4, gamma=0.99)
"""Shorter rollouts and smaller minibatches than usual: starpilot is learned in half the steps."""


LabelExpert = Literal["shortest-path", "enemy-avoiding"]
"""An expert that acts in every state, so that it can label the states that a student visits."""

SHORTEST_PATH: LabelExpert = "shortest-path"
"""The expert that follows a shortest path to the nearest goal and ignores everything else."""

ENEMY_AVOIDING: LabelExpert = "enemy-avoiding"
"""The expert that avoids the enemies of chaser, see `lcd.teachers.enemy_avoidance`."""

Expert = SearchSettings | LabelExpert


FAST = replace(HYPERPARAMETERS, learning_rate=3e-3, minibatches=16)
"""For a recurrent encoder, whose few weights are applied many times."""

PRIVILEGED = replace(FAST, learning_rate=1e-3)
"""For a privileged-feature encoder."""


@settings
class Recipe:
    """How one teacher is trained.

    Attributes
    ----------
    expert
        Expert with privileged information, whose score the teacher's is compared with: a search, `SHORTEST_PATH` or
        `ENEMY_AVOIDING`.
    encoder
        Encoder of the student.
    steps
        Environment steps of its training.
    hyperparameters
        Settings of PPO.
    shaping
        Shaping reward for each cell closer to the goal, see `lcd.teachers.shaping`.
    """

    expert: Expert
    encoder: Text = FIXED
    steps: Steps = 4_000_000
    hyperparameters: Hyperparameters = HYPERPARAMETERS
    shaping: Number = 0.0

    @property
    def label_expert(self) -> LabelExpert | None:
        """Expert that labels the visited states, see `lcd.teachers.imitation`; None trains by PPO."""
        return None if isinstance(self.expert, SearchSettings) else self.expert


def _path_search(horizon: int, num_plans: int) -> SearchSettings:
    """A search guided by the distance to the goal, for games with sparse rewards."""
    return SearchSettings(horizon, num_plans, hold=5, route_weight=0.1)


_GOAL_SHAPING = 0.2
"""Shaping weight where the goal returns 10 and is some 20 cells away."""

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "bigfish": Recipe(SearchSettings(16, 16), NEAR, 6_000_000),
        "bossfight": Recipe(SearchSettings(30, 24), steps=3_000_000),
        "caveflyer": Recipe(_path_search(20, 24), FOLLOWING, 7_300_000, shaping=_GOAL_SHAPING),
        "chaser": Recipe(ENEMY_AVOIDING, "floodfill-chaser:11", 500_000, PRIVILEGED),
        "climber": Recipe(_path_search(20, 24), FOLLOWING, 4_900_000, shaping=_GOAL_SHAPING),
        "coinrun": Recipe(_path_search(20, 24), FOLLOWING, 5_700_000, shaping=_GOAL_SHAPING),
        "dodgeball": Recipe(SearchSettings(20, 32), steps=3_000_000),
        "fruitbot": Recipe(SearchSettings(36, 32, death_cost=1.0, hold=4.0), FOLLOWING, 5_700_000),
        "heist": Recipe(SHORTEST_PATH, "floodfill-heist", 500_000, PRIVILEGED),
        "jumper": Recipe(_path_search(20, 24), FOLLOWING, 3_000_000, shaping=_GOAL_SHAPING),
        "leaper": Recipe(_path_search(16, 16), steps=3_000_000, shaping=_GOAL_SHAPING),
        "maze": Recipe(SHORTEST_PATH, "floodfill-maze:15,8,1", 500_000, FAST),
        "miner": Recipe(SHORTEST_PATH, "recurrent:10", 1_300_000, FAST),
        "ninja": Recipe(_path_search(24, 24), FOLLOWING, shaping=_GOAL_SHAPING),
        "plunder": Recipe(SearchSettings(40, 16), "egocentric-plunder:256", 3_000_000),
        "starpilot": Recipe(SearchSettings(20, 24), steps=6_000_000),
    }
)
"""Recipes of the 16 games."""
