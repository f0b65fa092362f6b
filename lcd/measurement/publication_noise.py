"""Noise between publications of the same method, and the share of the gains that lies within it.

Two publications of the same method differ in code, settings and evaluation, besides their seeds. Their variance in a
game is pooled over the methods that several publications have. The difference of two numbers of different publications
then has twice that variance if there is no gain at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from lcd.measurement.method_scores import Floats, MethodScores

FEWEST_GAMES = 5
"""Smallest number of games for limits of a share."""

COPIES = 0.005
"""Two publications have the same runs if their scores differ by less than this in every game that both have, as a share
of the methods' standard deviation there, and these are at least half of the games that either has."""


def independent(means: Floats) -> NDArray[np.intp]:
    """Numbers of the publications that are no copy of an earlier one.

    Parameters
    ----------
    means : numpy.ndarray, shape (publications, G)
        Scores of one method, divided by the standard deviation of all methods in each game; NaN where missing.
    """
    kept: list[int] = []
    for number, row in enumerate(means):
        if not any(_copied(means[other], row) for other in kept):
            kept.append(number)
    return np.array(kept, dtype=np.intp)


def _copied(one: Floats, other: Floats) -> bool:
    """Whether the scores of two publications are of the same runs."""
    shared = np.isfinite(one) & np.isfinite(other)
    either = np.isfinite(one) | np.isfinite(other)
    return 2 * shared.sum() >= either.sum() > 0 and bool((np.abs(one - other)[shared] < COPIES).all())


def noise_by_game(scores: MethodScores, replicates: Sequence[Sequence[int]]) -> pd.DataFrame:
    """Standard deviation between publications of the same method, in each game.

    Parameters
    ----------
    scores : MethodScores
        Scores on a scale that is comparable between games.
    replicates : sequence of sequences of int
        For each method that several publications have, their numbers among `scores.methods`.

    Returns
    -------
    pandas.DataFrame
        One row a game: deviation (pooled over methods, in the unit of the scores; NaN without replicates) and freedom
        (its degrees of freedom).
    """
    squares, freedom = np.zeros(len(scores.games)), np.zeros(len(scores.games))
    for numbers in replicates:
        values = scores.means[list(numbers)]
        count = np.isfinite(values).sum(axis=0)
        centre = np.where(np.isfinite(values), values, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares += np.where(np.isfinite(values), (values - centre) ** 2, 0.0).sum(axis=0)
        freedom += np.maximum(count - 1, 0)
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt(squares / np.where(freedom > 0, freedom, np.nan))
    return pd.DataFrame({"game": scores.games, "deviation": deviation, "freedom": freedom.astype(int)})


def noise_share(gains: Floats, noise: pd.DataFrame, *, resamples: int = 2000, seed: int = 0) -> dict[str, float]:
    """Share of the gains that lies within the noise between publications.

    Parameters
    ----------
    gains : numpy.ndarray, shape (improvements, G)
        Gains in each game; NaN where there is none.
    noise : pandas.DataFrame
        What `noise_by_game` returned, for the same games.
    resamples, seed : int
        Of the bootstrap over games.

    Returns
    -------
    dict of str to float
        gains (their number, in games whose noise is known), within (share of them that are no larger than the 95 %
        limit of the difference of two publications of the same method: Student's t with the noise's degrees of
        freedom), and share (mean square that the noise alone makes, divided by that of the gains) with low and high
        (95 %, of a bootstrap over games; NaN with fewer than `FEWEST_GAMES`). A share may exceed 1: gains within one
        publication can be smaller than the noise between two.
    """
    deviation, freedom = noise["deviation"].to_numpy(np.float64), noise["freedom"].to_numpy(np.float64)
    there = np.isfinite(gains) & np.isfinite(deviation)
    used = there.any(axis=0)
    if not used.any():
        return {"gains": 0, **dict.fromkeys(("within", "share", "low", "high"), float("nan"))}
    limits = stats.t.ppf(0.975, np.maximum(freedom, 1)) * np.sqrt(2) * deviation
    within = float((np.abs(gains) <= limits)[there].mean())
    squares = np.where(there, gains, 0.0) ** 2
    by_game = np.stack([squares.sum(axis=0), 2 * deviation**2 * there.sum(axis=0), there.sum(axis=0)])[:, used]

    def ratio(games: Floats) -> Floats:
        """Noise over gains, of games in the last axis."""
        shares: Floats = games[1].sum(axis=-1) / games[0].sum(axis=-1)
        return shares

    share = float(ratio(by_game)) if by_game[0].sum() > 0 else float("nan")
    low = high = float("nan")
    if by_game.shape[1] >= FEWEST_GAMES and np.isfinite(share):
        random = np.random.default_rng(seed)
        drawn = by_game[:, random.integers(by_game.shape[1], size=(resamples, by_game.shape[1]))]
        with np.errstate(invalid="ignore", divide="ignore"):
            low, high = (float(limit) for limit in np.nanquantile(ratio(drawn), (0.025, 0.975)))
    return {"gains": int(there.sum()), "within": within, "share": share, "low": low, "high": high}
