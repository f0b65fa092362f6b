"""How each game's teacher is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from agents.search import SearchSettings


@dataclass(frozen=True)
class Recipe:
    """How one teacher is made.

    Attributes
    ----------
    search
        How the expert looks ahead.
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
    epochs, last_epochs
        Passes over all states so far in each round, and in the last.
    encoder
        Encoder of the student.
    """

    search: SearchSettings
    stride: int = 2
    temperature: float = 0.2
    rounds: int = 8
    states: int = 32_768
    expert_share: float = 0.25
    slips: float = 0.1
    epochs: int = 3
    last_epochs: int = 8
    encoder: str = "nature:256"


def _led(horizon: int, num_plans: int) -> SearchSettings:
    """A search that follows the way to the goal, where rewards are rare."""
    return SearchSettings(horizon, num_plans, hold=5, route_weight=0.1)


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "bigfish": Recipe(SearchSettings(horizon=16, num_plans=16)),
        "bossfight": Recipe(SearchSettings(horizon=14, num_plans=18)),
        "caveflyer": Recipe(_led(20, 24)),
        "chaser": Recipe(_led(12, 16)),
        "climber": Recipe(_led(20, 24), temperature=0.1),
        "coinrun": Recipe(_led(20, 24), temperature=0.1),
        "dodgeball": Recipe(SearchSettings(horizon=20, num_plans=32)),
        "fruitbot": Recipe(SearchSettings(horizon=24, num_plans=16, death_cost=1.0)),
        "heist": Recipe(_led(8, 16), temperature=0.1),
        "jumper": Recipe(_led(20, 24), temperature=0.1),
        "leaper": Recipe(_led(16, 16), temperature=0.1),
        "maze": Recipe(_led(6, 12), temperature=0.1),
        "miner": Recipe(_led(8, 16)),
        "ninja": Recipe(_led(24, 24), temperature=0.1),
        "plunder": Recipe(SearchSettings(horizon=40, num_plans=16)),
        "starpilot": Recipe(SearchSettings(horizon=20, num_plans=24)),
    }
)
"""Recipes of the 16 games: one search for all, led by the way to the goal where rewards are rare."""
