"""Scores of methods in games: means with their errors over seeds, and the part of them that is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Groupings = Mapping[str, Mapping[str, Sequence[str]]]
"""For each way to group games, the games of each group; a game need not be in any."""

SINGLE_GAMES = "game"
"""Name of the grouping in which every game is a group of its own."""


@dataclass(frozen=True, eq=False)
class MethodScores:
    """Scores of methods in games.

    Attributes
    ----------
    methods : tuple of str
        Names of the M methods.
    games : tuple of str
        Names of the G games.
    means : numpy.ndarray, shape (M, G)
        Mean score over seeds, NaN where there is none.
    squared_errors : numpy.ndarray, shape (M, G)
        Squared standard error of each mean over seeds, in the squared unit of the scores; NaN where it is unknown.
    freedom : numpy.ndarray, shape (M, G)
        Degrees of freedom of each squared error; NaN where it is unknown.
    pooled : numpy.ndarray of bool, shape (M, G)
        Whether a squared error is the game's pooled one, see `with_pooled_errors`, which methods share.
    """

    methods: tuple[str, ...]
    games: tuple[str, ...]
    means: Floats
    squared_errors: Floats
    freedom: Floats
    pooled: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))

    def __post_init__(self) -> None:
        shape = (len(self.methods), len(self.games))
        if self.pooled.shape != shape:
            object.__setattr__(self, "pooled", np.zeros(shape, np.bool_))
        for name in ("means", "squared_errors", "freedom"):
            if (found := getattr(self, name).shape) != shape:
                raise ValueError(f"{name} has the shape {found} instead of (methods, games) = {shape}")

    def scaled(self, zeros: Floats, ones: Floats) -> MethodScores:
        """Return the scores on a scale of each game on which `zeros` are 0 and `ones` are 1, both of shape (G,)."""
        ranges = ones - zeros
        return replace(self, means=(self.means - zeros) / ranges, squared_errors=self.squared_errors / ranges**2)

    def part(self, methods: Sequence[int] | NDArray[np.intp], games: Sequence[int] | NDArray[np.intp]) -> MethodScores:
        """Return the scores of some methods in some games, by their numbers."""
        chosen = np.ix_(np.asarray(methods, dtype=np.intp), np.asarray(games, dtype=np.intp))
        return MethodScores(
            tuple(self.methods[number] for number in methods),
            tuple(self.games[number] for number in games),
            self.means[chosen],
            self.squared_errors[chosen],
            self.freedom[chosen],
            self.pooled[chosen],
        )

    def pair_errors(
        self, first: NDArray[np.intp], second: NDArray[np.intp], games: Sequence[int] | None = None
    ) -> tuple[Floats, Floats]:
        """Return the squared errors behind the difference of each pair of methods, and their degrees of freedom.

        A pooled error that both methods of a pair have is one estimate, not two: its two shares are added, and the
        second one is 0.

        Parameters
        ----------
        first, second : numpy.ndarray, shape (pairs,)
            Numbers of the methods.
        games : sequence of int, optional
            Numbers of the games; by default all.

        Returns
        -------
        squared, freedom : numpy.ndarray, shape (pairs, 2 · games)
            Of the first methods in each game, then of the second ones; NaN where unknown.
        """
        chosen = list(range(len(self.games)) if games is None else games)
        one, other = (self.squared_errors[methods][:, chosen] for methods in (first, second))
        shared = self.pooled[first][:, chosen] & self.pooled[second][:, chosen]
        squared = np.concatenate([np.where(shared, one + other, one), np.where(shared, 0.0, other)], axis=1)
        return squared, np.concatenate([self.freedom[methods][:, chosen] for methods in (first, second)], axis=1)

    def complete(self) -> MethodScores:
        """Return the largest complete part: the methods that have every one of the games of some method.

        Of the sets of games that some method has, the one is taken for which the number of games times the number of
        methods that have them all is largest; of equal ones that with more games.

        Raises
        ------
        ValueError
            If no two methods have two games in common.
        """
        there = np.isfinite(self.means)
        sets = np.unique(there, axis=0)
        sizes = sets.sum(axis=1)
        having = (there[None] | ~sets[:, None]).all(axis=2)  # shape (sets, methods)
        counts = having.sum(axis=1)
        valid = (sizes >= 2) & (counts >= 2)
        if not valid.any():
            raise ValueError(
                "No two methods have two games in common, so that nothing can be ranked: give scores of the same games."
            )
        best = max(np.flatnonzero(valid), key=lambda number: (sizes[number] * counts[number], sizes[number]))
        return self.part(np.flatnonzero(having[best]), np.flatnonzero(sets[best]))


def with_pooled_errors(scores: MethodScores, seeds: Floats) -> MethodScores:
    """Give means of a single seed the error that the game's pooled variance over seeds implies.

    Of a single run the spread over seeds is unknown. It is taken to be that of the other methods in the same game:
    their variances over seeds, averaged with their degrees of freedom as weights.

    Parameters
    ----------
    scores : MethodScores
        The scores, with errors where several seeds tell them.
    seeds : numpy.ndarray, shape (M, G)
        Number of seeds behind each mean, NaN where it is unknown; such means get no error.
    """
    known = np.isfinite(scores.squared_errors) & np.isfinite(scores.freedom) & (seeds > 1)
    freedom = np.where(known, scores.freedom, 0.0)
    variances = np.where(known, scores.squared_errors * seeds, 0.0)
    total = freedom.sum(axis=0)
    with np.errstate(invalid="ignore"):
        pooled = (variances * freedom).sum(axis=0) / np.where(total > 0, total, np.nan)
    single = (seeds == 1) & np.isfinite(scores.means) & np.isfinite(pooled)
    return replace(
        scores,
        squared_errors=np.where(single, pooled, scores.squared_errors),
        freedom=np.where(single, total, scores.freedom),
        pooled=single,
    )


def with_single_games(groupings: Groupings, games: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Return groupings restricted to some games, and the one whose groups are single games.

    Groups without any of the games, or with all of them, are left out, and groupings that have no group left.
    """
    known, found = set(games), {}
    for name, groups in groupings.items():
        kept = {group: [game for game in members if game in known] for group, members in groups.items()}
        kept = {group: members for group, members in kept.items() if 0 < len(members) < len(known)}
        if kept:
            found[name] = kept
    return found | {SINGLE_GAMES: {game: [game] for game in games}}
