"""A curriculum of levels: those are played whose returns change most."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcd.agents.improvements.level_choice import LevelChooser, LevelChoosingPPO, PlayedLevels

WINDOW = 10
"""Number K of changes that are remembered of each level."""

UNIFORM = 0.1
"""Share of levels that are drawn uniformly."""


class LearningProgress(LevelChooser):
    """Teacher-student curriculum learning with levels as tasks (Matiisen et al., 2017, arXiv:1707.00183).

    It is the paper's *sampling* algorithm: for each level, one of the last `WINDOW` changes of the return from an
    episode to the next is drawn, and the level with the largest absolute value is played. Levels without a change, that
    were not played twice, come first. So a level is played while it is being learned, is left once it returns the same
    whatever is tried, too hard or too easy, and is taken up again when it is being forgotten.

    It was chosen among curricula because it needs nothing but returns: no levels in order of difficulty, which a game
    does not tell, no thresholds, no unit of reward, and no teacher. An order by the present return would need a target,
    and a growing number of levels an order and a pace.

    Parameters
    ----------
    count, seed
        As in `LevelChooser`.
    window, uniform
        See `WINDOW` and `UNIFORM`.

    Notes
    -----
    Changes of single episodes hold the spread of returns as well as progress: of levels that are won and lost, those
    won half of the time change most. In the paper a task's change is that of a mean over several episodes; levels here
    are many and episodes of each few. As in the authors' code, ten changes are remembered and a tenth of the levels is
    drawn uniformly, so that those which never change are looked at again.
    """

    def __init__(self, count: int, seed: int | None, window: int = WINDOW, uniform: float = UNIFORM) -> None:
        super().__init__(count, seed)
        self.uniform = uniform
        self.changes = np.zeros((count, window))
        self.counted = np.zeros(count, np.int64)
        self.last_returns = np.full(count, np.nan)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Last changes of each level, shape (levels, window), how many there were, and last returns."""
        return {"changes": self.changes, "counted": self.counted, "last_returns": self.last_returns}

    def choose(self, games: int) -> NDArray[np.int64]:
        """Choose a level for each of some games, shape (games,)."""
        held = np.minimum(self.counted, self.changes.shape[1])
        places = self.generator.integers(0, np.maximum(held, 1), (games, self.count))
        drawn = np.abs(self.changes[np.arange(self.count), places])
        drawn[:, held == 0] = np.inf
        ties = self.generator.random((games, self.count)) * (drawn == drawn.max(axis=1, keepdims=True))
        levels = ties.argmax(axis=1)
        uniform = self.generator.integers(0, self.count, games)
        return np.where(self.generator.random(games) < self.uniform, uniform, levels)

    def learn(self, played: PlayedLevels) -> None:
        """Take note of the returns of episodes.

        Raises
        ------
        ValueError
            If nobody has counted them.
        """
        for level, found in zip(played.ended_levels.tolist(), played.ended_returns.tolist(), strict=True):
            if np.isnan(found):
                raise ValueError("A curriculum needs the returns of episodes: wrap the environment in VecMonitor.")
            if not np.isnan(self.last_returns[level]):
                self.changes[level, self.counted[level] % self.changes.shape[1]] = found - self.last_returns[level]
                self.counted[level] += 1
            self.last_returns[level] = found


class CurriculumPPO(LevelChoosingPPO):
    """PPO on levels that `LearningProgress` chooses."""

    chooser_class = LearningProgress
