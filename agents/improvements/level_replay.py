"""Levels replayed where much is still to be learned (PLR)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcd.agents.improvements.level_choice import LevelChooser, LevelChoosingPPO, PlayedLevels

TEMPERATURE = 0.1
"""β: weights fall with the rank as ``rank ** -(1 / β)``; as published for Procgen."""

STALENESS = 0.1
"""Share, rho in the paper, of the distribution by how long a level was not played; as published for Procgen."""


class LevelReplay(LevelChooser):
    """Prioritised level replay (Jiang et al., 2021, arXiv:2010.03934).

    A level that was played is replayed with a probability that is the share of levels that were, else one that was not
    is drawn uniformly. Replayed levels are drawn from ``(1 − ρ) P_S + ρ P_C``: P_S by the rank of their scores, P_C by
    the number of episodes that have begun since they were played last. The score is the mean absolute generalised
    advantage estimate of the level's last rollout.

    Parameters
    ----------
    count, seed
        As in `LevelChooser`.
    temperature, staleness
        See `TEMPERATURE` and `STALENESS`.

    Notes
    -----
    As in the authors' code, what a rollout shows of an episode that it cuts counts as the episode's score. Where
    several games play a level in one rollout, this averages over all their steps; the code keeps one of them.
    """

    def __init__(
        self, count: int, seed: int | None, temperature: float = TEMPERATURE, staleness: float = STALENESS
    ) -> None:
        super().__init__(count, seed)
        self.temperature, self.staleness = temperature, staleness
        self.scores = np.zeros(count)
        self.played = np.zeros(count, bool)
        self.idle = np.zeros(count, np.int64)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Scores of levels, whether they were played, and how many episodes ago they began last."""
        return {"scores": self.scores, "played": self.played, "idle": self.idle}

    def probabilities(self) -> NDArray[np.float64]:
        """Distribution from which replayed levels are drawn, shape (levels,): 0 for those that were never played."""
        found = np.zeros(self.count)
        played = np.flatnonzero(self.played)
        if not played.size:
            return found
        ranks = np.empty(played.size)
        ranks[np.argsort(-self.scores[played], kind="stable")] = np.arange(1, played.size + 1)
        by_score = ranks ** (-1 / self.temperature)
        idle = self.idle[played].astype(np.float64)
        by_staleness = idle if idle.any() else np.ones(played.size)
        found[played] = (1 - self.staleness) * by_score / by_score.sum()
        found[played] += self.staleness * by_staleness / by_staleness.sum()
        return found / found.sum()

    def choose(self, games: int) -> NDArray[np.int64]:
        """Choose a level for each of some games, shape (games,)."""
        unplayed = np.flatnonzero(~self.played)
        replays = self.generator.random(games) < self.played.mean()
        levels = np.empty(games, np.int64)
        if replays.any():
            levels[replays] = self.generator.choice(self.count, replays.sum(), p=self.probabilities())
        if not replays.all():
            levels[~replays] = self.generator.choice(unplayed, (~replays).sum())
        return levels

    def begin(self, levels: NDArray[np.int64]) -> None:
        """Count the episodes since each level began."""
        for level in levels.tolist():
            self.idle += 1
            self.idle[level] = 0

    def learn(self, played: PlayedLevels) -> None:
        """Score the levels of a rollout."""
        levels = played.levels.ravel()
        steps = np.bincount(levels, minlength=self.count)
        sums = np.bincount(levels, np.abs(played.advantages, dtype=np.float64).ravel(), minlength=self.count)
        now = steps > 0
        self.scores[now] = sums[now] / steps[now]
        self.played |= now


class LevelReplayPPO(LevelChoosingPPO):
    """PPO on levels that `LevelReplay` chooses."""

    chooser_class = LevelReplay
