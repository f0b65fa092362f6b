"""Whether a measure of how networks see foretells how far one gets with their eyes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

FEWEST = 3
"""Encoders that it takes to rank them, and games that it takes for limits."""

EXCHANGES = 5040
"""Exchanges of the encoders, at most."""

_ROUNDING = 1e-9

DECIMALS = 5
"""Numbers that agree to as many are ties: they would be ones in a table, and which comes first says nothing."""

MEASURES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gradient": ("where", "spearman", "gradient"),
        "integrated_gradients": ("where", "spearman", "integrated-gradients"),
        "smooth_gradient": ("where", "spearman", "smooth-gradient"),
        "occlusion": ("where", "spearman", "occlusion"),
        "revealed": ("how", "gain", "revealed"),
        "hidden": ("how", "gain", "hidden"),
        "robustness": ("robustness", "L2 norm", "smallest perturbation"),
        "perturbation": ("robustness", "spearman", "smallest perturbation"),
        "invariance": ("invariance", "found"),
    }
)
"""Measures that may foretell: aspect, measure and, unless the mean over all is meant, method of a row of `align`."""


def sight(aligned: pd.DataFrame) -> dict[str, float]:
    """Each of `MEASURES` in the tables of `lcd.alignment.measuring.align` and `invariance_table`, put together."""
    rows = aligned.set_index(["aspect", "measure", "method"]).sort_index()["mean"]
    return {name: _mean(np.atleast_1d(np.asarray(rows.loc[row], dtype=np.float64))) for name, row in MEASURES.items()}


def rank_correlations(encoders: pd.DataFrame, measures: Sequence[str], outcome: str = "score") -> pd.DataFrame:
    """Whether a measure orders the encoders of a game as their outcomes do.

    Where there is a perceptual demand, the share of it that an encoder closes rises with its score, so that within a
    game ranks of scores are ranks of shares.

    Parameters
    ----------
    encoders : pandas.DataFrame
        One row a (game, encoder): game, encoder, the outcome and the measures.
    measures : sequence of str
        Columns that may foretell.
    outcome : str
        Column that is to be foretold.

    Returns
    -------
    pandas.DataFrame
        One row a (measure, game): spearman, Spearman's rank correlation over the game's encoders, NaN where all have
        the same outcome or the same measure, one of the two is missing, or there are fewer than `FEWEST` encoders.
    """
    games = encoders["game"].unique()
    told = _places(encoders, outcome)
    rows = [
        (measure, game, correlation)
        for measure in measures
        for game, correlation in zip(games, _products(_places(encoders, measure), told), strict=True)
    ]
    return pd.DataFrame(rows, columns=["measure", "game", "spearman"])


def foretelling(
    encoders: pd.DataFrame, measures: Sequence[str], outcome: str = "score", *, seed: int = 0
) -> pd.DataFrame:
    """Mean rank correlation of each measure with the outcome over games, and what it bears.

    Parameters
    ----------
    encoders, measures, outcome
        See `rank_correlations`.
    seed : int
        Of the exchanges, where there are too many encoders for all of them.

    Returns
    -------
    pandas.DataFrame
        One row a measure: spearman, the mean over the games where it is defined, and games, their number; low and high,
        95 % limits for all measures at once (Student's t over games, Bonferroni), which speak of other games with these
        encoders, are for telling a correlation from none, and are too narrow near 1; least and most, between which the
        mean lies when any one of the encoders is left out, 0 if nothing can be ranked then; p, the share of exchanges
        of the encoders, the same in all games, by which one of the measures does as well (the largest of all measures:
        Westfall and Young), which speaks of other encoders; and p_least and p_most, between which p lies when any one
        of the encoders is left out, NaN if nothing can be ranked then.
    """
    all_of_them = _Exchanged(encoders, measures, outcome, seed)
    without = [
        _Exchanged(encoders[encoders["encoder"] != left], measures, outcome, seed)
        for left in encoders["encoder"].unique()
    ]
    rows = []
    for number, measure in enumerate(measures):
        correlations = all_of_them.correlations[number]
        known, mean = correlations[np.isfinite(correlations)], _mean(correlations)
        half = np.nan
        if len(known) >= FEWEST:
            half = float(stats.t.ppf(1 - 0.025 / len(measures), len(known) - 1) * stats.sem(known))
        means = [np.nan_to_num(_mean(part.correlations[number])) for part in without]
        chances = [chance for part in without if np.isfinite(chance := part.chance(number))] or [np.nan]
        limits = (mean - half, mean + half, min(means), max(means))
        rows.append((measure, mean, len(known), *limits, all_of_them.chance(number), min(chances), max(chances)))
    columns = ["measure", "spearman", "games", "low", "high", "least", "most", "p", "p_least", "p_most"]
    return pd.DataFrame(rows, columns=columns)


class _Exchanged:
    """Correlations of each measure in each game, and what they are on the mean where encoders are exchanged."""

    def __init__(self, encoders: pd.DataFrame, measures: Sequence[str], outcome: str, seed: int) -> None:
        told = _places(encoders, outcome)
        orders = _exchanges(told.shape[1], seed)
        self.correlations = []
        self._largest = np.zeros(len(orders))  # of all measures
        for measure in measures:
            places = _places(encoders, measure)
            self.correlations.append(_products(places, told))
            exchanged = (places[:, orders] * told[:, None]).mean(axis=2)  # of each game, shape (games, exchanges)
            known = exchanged[np.isfinite(exchanged).all(axis=1)]
            if len(known):
                self._largest = np.maximum(self._largest, np.abs(known.mean(axis=0)))

    def chance(self, number: int) -> float:
        """Share of the exchanges by which one of the measures does as well as that of the number."""
        mean = _mean(self.correlations[number])
        return float(np.mean(self._largest >= abs(mean) - _ROUNDING)) if np.isfinite(mean) else float("nan")


def _places(encoders: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Standardised ranks of a column among the encoders of each game, shape (games, encoders); NaN where undefined."""
    values = encoders.pivot_table(index="game", columns="encoder", values=column, sort=False, dropna=False)
    values = values.reindex(index=encoders["game"].unique(), columns=encoders["encoder"].unique())
    ranks = values.round(DECIMALS).rank(axis=1).to_numpy(dtype=np.float64)
    if ranks.shape[1] < FEWEST:
        return np.full_like(ranks, np.nan)
    centred = ranks - ranks.mean(axis=1, keepdims=True)  # NaN for the whole game if one encoder's number is missing
    deviation = ranks.std(axis=1, keepdims=True)
    return centred / np.where(deviation > 0, deviation, np.nan)


def _products(places: NDArray[np.float64], told: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's rank correlation in each game, shape (games,)."""
    return (places * told).mean(axis=1)


def _mean(correlations: NDArray[np.float64]) -> float:
    known = correlations[np.isfinite(correlations)]
    return float(known.mean()) if len(known) else float("nan")


def _exchanges(count: int, seed: int) -> NDArray[np.int64]:
    """All orders of the encoders or, where there are too many, some of them, shape (orders, encoders)."""
    if math.factorial(count) <= EXCHANGES:
        return np.array(list(permutations(range(count))))
    random = np.random.default_rng(seed)
    return np.array([range(count), *(random.permutation(count) for _ in range(EXCHANGES - 1))])
