"""What fixed rules reach in Tracker when they are told the true places of the objects: beside them agents are read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lcd.envs.calibration.tracker import EPISODE, MOVES, Tracker
from lcd.studies.tracking.conditions import UNSEEN_LEVELS

RULES = ("random", "nearest", "target")
"""A random move; towards the object that is nearest to the cursor; towards the target.

The second remembers nothing: what an agent reaches beyond it takes more than to know where the objects are. The third
is what a teacher shows."""

LEVELS = 1_000
"""Unseen levels on which a rule is played, the first ones."""


def rule_returns(distractors: Sequence[int], levels: int = LEVELS) -> pd.DataFrame:
    """Mean share of steps on the target.

    Parameters
    ----------
    distractors
        Numbers of objects beside the target.
    levels
        Number of unseen levels.

    Returns
    -------
    pandas.DataFrame
        One row a (distractors, rule): value, and error, its standard error over levels. How fast looks change does not
        matter to these rules.
    """
    rows = []
    for number in distractors:
        for rule in RULES:
            returns = _played(rule, number, UNSEEN_LEVELS[0] + np.arange(levels))
            rows.append((number, rule, returns.mean(), returns.std(ddof=1) / np.sqrt(levels)))
    return pd.DataFrame(rows, columns=["distractors", "rule", "value", "error"])


def _played(rule: str, distractors: int, levels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return of one episode in each level, shape (levels,)."""
    games, generator = np.arange(len(levels)), np.random.default_rng(0)
    tracker, total = Tracker(distractors, levels), np.zeros(len(levels))
    for _ in range(EPISODE):
        if rule == "random":
            actions = generator.integers(len(MOVES), size=len(levels))
        else:
            places = tracker.places(games)
            distances = np.linalg.norm(places - tracker.cursor[:, None], axis=2)
            chosen = distances.argmin(axis=1) if rule == "nearest" else np.zeros(len(levels), np.int64)
            aims = places[games, chosen] - tracker.cursor
            actions = np.linalg.norm(aims[:, None] - MOVES, axis=2).argmin(axis=1)
        rewards, _ = tracker.step(actions)
        total += rewards
    return total
