"""Positions of games in the plane of perceptual and policy-learning demand, and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from lcd.measurement.demands import CONTRASTS
from lcd.measurement.intervals import cell_samples, contrast_intervals
from lcd.measurement.scores import CELLS, PRIMARY

Floats = NDArray[np.float64]

PLANE = ("perceptual", "policy")
"""The demands that span the plane."""

AXES: Floats = np.array([CONTRASTS[name].weights for name in PLANE])
"""The axes of the plane as contrasts of the four cells, shape (2, 4)."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The scores behind the positions of some games, by one family of scores.

    Attributes
    ----------
    games : tuple of str
        Names, n of them.
    samples : tuple of tuple of numpy.ndarray
        For each game the scores of its cells a, b, c, d, each an array over seeds.
    """

    games: tuple[str, ...]
    samples: tuple[tuple[Floats, ...], ...]

    @classmethod
    def of(cls, scores: pd.DataFrame, levels: str = PRIMARY[0], score: str = PRIMARY[1]) -> Cells:
        """Build from a table of scores.

        Parameters
        ----------
        scores : pandas.DataFrame
            One row a (game, view, learning, seed, levels), see `lcd.measurement.scores.cell_scores`.
        levels, score : str
            The family.

        Raises
        ------
        ValueError
            If a game lacks a cell, or a cell has a single seed, so that its variance is unknown.
        """
        games, samples = [], []
        for game, rows in scores.groupby("game", sort=False):
            cells = tuple(cell_samples(rows, levels, score)[0])
            if missing := [letter for letter, cell in zip(CELLS, cells, strict=True) if not len(cell)]:
                raise ValueError(f"{game} has no scores of its cell {missing[0]}: diagnose it again.")
            if min(len(cell) for cell in cells) < 2:
                raise ValueError(
                    f"{game} has a cell of a single seed, whose variance over seeds is unknown: diagnose it with "
                    "--seeds 2 or more."
                )
            games.append(str(game))
            samples.append(cells)
        return cls(tuple(games), tuple(samples))

    @property
    def means(self) -> Floats:
        """Mean score of each cell, shape (n, 4)."""
        return np.array([[cell.mean() for cell in game] for game in self.samples])

    @property
    def errors(self) -> Floats:
        """Standard error of each mean over seeds, shape (n, 4)."""
        return np.array([[stats.sem(cell) for cell in game] for game in self.samples])

    def positions(self) -> Floats:
        """Perceptual and policy-learning demand of each game, shape (n, 2)."""
        return self.means @ AXES.T

    def headrooms(self) -> Floats:
        """Headroom of each game, ``1 − d``, shape (n,)."""
        headroom = CONTRASTS["headroom"]
        return headroom.offset + self.means @ np.array(headroom.weights)

    def covariances(self) -> Floats:
        """Covariance of each position's error, shape (n, 2, 2): both demands share the cell d."""
        return np.einsum("ik,nk,jk->nij", AXES, self.errors**2, AXES)

    def draws(self, count: int, seed: int = 0, *, farthest: float = np.inf) -> Floats:
        """Positions under other draws of seeds.

        The mean of every cell is drawn from its t distribution over seeds, as resampling three seeds would
        underestimate the variance.

        Parameters
        ----------
        count : int
            Number of draws.
        seed : int
            Of the draws.
        farthest : float
            Number of standard errors at which draws of a cell's mean are clipped.

        Returns
        -------
        numpy.ndarray, shape (count, n, 2)
        """
        freedom = np.array([[len(cell) - 1 for cell in game] for game in self.samples])
        noise = np.random.default_rng(seed).standard_t(freedom, size=(count, *freedom.shape))
        means = self.means + self.errors * np.clip(noise, -farthest, farthest)
        return means @ AXES.T

    def of_seeds(self, chosen: Sequence[int]) -> Cells:
        """The same games with some of their seeds, by their places."""
        places = list(chosen)
        return Cells(self.games, tuple(tuple(cell[places] for cell in game) for game in self.samples))

    def of_games(self, chosen: Sequence[bool]) -> Cells:
        """Some of the games."""
        kept = [game for game, use in enumerate(chosen) if use]
        return Cells(tuple(self.games[game] for game in kept), tuple(self.samples[game] for game in kept))

    def by_seed(self) -> Floats:
        """Positions from one seed of each cell, shape (seeds, n, 2), of as many seeds as all cells have."""
        seeds = min(len(cell) for game in self.samples for cell in game)
        each = np.array([[cell[:seeds] for cell in game] for game in self.samples])
        return np.einsum("nks,ik->sni", each, AXES)


def position_table(scores: pd.DataFrame, levels: str = PRIMARY[0], score: str = PRIMARY[1]) -> pd.DataFrame:
    """All quantities of every game with their intervals, one row a game.

    Parameters
    ----------
    scores : pandas.DataFrame
        One row a (game, view, learning, seed, levels).
    levels, score : str
        The family.

    Returns
    -------
    pandas.DataFrame
        Column game; for every quantity in `lcd.measurement.demands.CONTRASTS` its estimate under its name and its 95 %
        limits with ``_low`` and ``_high`` behind it; and covariance, that of the errors of the two demands.
    """
    cells = Cells.of(scores, levels, score)
    rows = []
    for (game, of_game), covariance in zip(scores.groupby("game", sort=False), cells.covariances(), strict=True):
        samples, errors = cell_samples(of_game, levels, score)
        row: dict[str, object] = {"game": game}
        for name, found in contrast_intervals(samples, errors).items():
            row |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
        rows.append(row | {"covariance": covariance[0, 1]})
    return pd.DataFrame(rows)
