"""Predictive validity: whether alignment measures of encoders predict the scores of agents that use them."""

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
"""Smallest number of encoders for a rank correlation, and of games for limits."""

PERMUTATIONS = 5040
"""Largest number of permutations of the encoders."""

_ROUNDING = 1e-9

DECIMALS = 5
"""Decimals to which values are rounded before ranking: values that a table shows alike are ties."""

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
"""Predictors: aspect, measure and method of a row of `align`; without a method the mean over methods."""


def alignment_measures(aligned: pd.DataFrame) -> dict[str, float]:
    """Each of `MEASURES`, from the concatenated tables of `lcd.alignment.measuring.align` and `invariance_table`."""
    rows = aligned.set_index(["aspect", "measure", "method"]).sort_index()["mean"]
    return {name: _mean(np.atleast_1d(np.asarray(rows.loc[row], dtype=np.float64))) for name, row in MEASURES.items()}


def rank_correlations(encoders: pd.DataFrame, measures: Sequence[str], outcome: str = "score") -> pd.DataFrame:
    """Rank correlation of each measure with the outcome over the encoders of a game.

    Where there is a perceptual demand, the share of it that an encoder recovers rises with its score: within a game,
    ranks of scores are ranks of shares.

    Parameters
    ----------
    encoders : pandas.DataFrame
        One row a (game, encoder): game, encoder, the outcome and the measures.
    measures : sequence of str
        Columns of the predictors.
    outcome : str
        Column of the outcome.

    Returns
    -------
    pandas.DataFrame
        One row a (measure, game): spearman, Spearman's rank correlation over the game's encoders, NaN where all have
        the same outcome or the same measure, one of the two is missing, or there are fewer than `FEWEST` encoders.
    """
    games = encoders["game"].unique()
    outcomes = _ranks(encoders, outcome)
    rows = [
        (measure, game, correlation)
        for measure in measures
        for game, correlation in zip(games, _correlations(_ranks(encoders, measure), outcomes), strict=True)
    ]
    return pd.DataFrame(rows, columns=["measure", "game", "spearman"])


def predictive_validity(
    encoders: pd.DataFrame, measures: Sequence[str], outcome: str = "score", *, seed: int = 0
) -> pd.DataFrame:
    """Mean rank correlation of each measure with the outcome over games, with its uncertainty.

    Parameters
    ----------
    encoders, measures, outcome
        See `rank_correlations`.
    seed : int
        Seed of the permutations, where there are too many to enumerate.

    Returns
    -------
    pandas.DataFrame
        One row a measure. spearman and games: the mean over the games where it is defined, and their number. low and
        high: simultaneous 95 % limits (Student's t over games, Bonferroni over measures), which generalise to other
        games with these encoders, test against no correlation, and are too narrow near 1. least and most: the range of
        the mean when one encoder is left out, 0 where nothing can be ranked then. p: the maxT permutation p-value over
        all measures (Westfall and Young), encoders permuted alike in all games, which generalises to other encoders.
        p_least and p_most: the range of p when one encoder is left out, NaN where nothing can be ranked then.
    """
    complete = _Permuted(encoders, measures, outcome, seed)
    without = [
        _Permuted(encoders[encoders["encoder"] != left], measures, outcome, seed)
        for left in encoders["encoder"].unique()
    ]
    rows = []
    for number, measure in enumerate(measures):
        correlations = complete.correlations[number]
        known, mean = correlations[np.isfinite(correlations)], _mean(correlations)
        half = np.nan
        if len(known) >= FEWEST:
            half = float(stats.t.ppf(1 - 0.025 / len(measures), len(known) - 1) * stats.sem(known))
        means = [np.nan_to_num(_mean(part.correlations[number])) for part in without]
        values = [p for part in without if np.isfinite(p := part.p_value(number))] or [np.nan]
        limits = (mean - half, mean + half, min(means), max(means))
        rows.append((measure, mean, len(known), *limits, complete.p_value(number), min(values), max(values)))
    columns = ["measure", "spearman", "games", "low", "high", "least", "most", "p", "p_least", "p_most"]
    return pd.DataFrame(rows, columns=columns)


class _Permuted:
    """Correlations of each measure in each game, and the permutation distribution of the largest mean."""

    def __init__(self, encoders: pd.DataFrame, measures: Sequence[str], outcome: str, seed: int) -> None:
        outcomes = _ranks(encoders, outcome)
        orders = _permutations(outcomes.shape[1], seed)
        self.correlations = []
        self._largest = np.zeros(len(orders))  # over all measures
        for measure in measures:
            ranks = _ranks(encoders, measure)
            self.correlations.append(_correlations(ranks, outcomes))
            permuted = (ranks[:, orders] * outcomes[:, None]).mean(axis=2)  # shape (games, permutations)
            known = permuted[np.isfinite(permuted).all(axis=1)]
            if len(known):
                self._largest = np.maximum(self._largest, np.abs(known.mean(axis=0)))

    def p_value(self, number: int) -> float:
        """Share of the permutations whose largest absolute mean correlation reaches that of a measure."""
        mean = _mean(self.correlations[number])
        return float(np.mean(self._largest >= abs(mean) - _ROUNDING)) if np.isfinite(mean) else float("nan")


def _ranks(encoders: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Standardised ranks of a column among the encoders of each game, shape (games, encoders); NaN where undefined."""
    values = encoders.pivot_table(index="game", columns="encoder", values=column, sort=False, dropna=False)
    values = values.reindex(index=encoders["game"].unique(), columns=encoders["encoder"].unique())
    ranks = values.round(DECIMALS).rank(axis=1).to_numpy(dtype=np.float64)
    if ranks.shape[1] < FEWEST:
        return np.full_like(ranks, np.nan)
    centred = ranks - ranks.mean(axis=1, keepdims=True)  # NaN for the whole game if one encoder's value is missing
    deviation = ranks.std(axis=1, keepdims=True)
    return centred / np.where(deviation > 0, deviation, np.nan)


def _correlations(ranks: NDArray[np.float64], outcomes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's rank correlation in each game, shape (games,)."""
    return (ranks * outcomes).mean(axis=1)


def _mean(correlations: NDArray[np.float64]) -> float:
    known = correlations[np.isfinite(correlations)]
    return float(known.mean()) if len(known) else float("nan")


def _permutations(count: int, seed: int) -> NDArray[np.int64]:
    """All permutations of the encoders or a random sample of them, shape (permutations, encoders)."""
    if math.factorial(count) <= PERMUTATIONS:
        return np.array(list(permutations(range(count))))
    random = np.random.default_rng(seed)
    return np.array([range(count), *(random.permutation(count) for _ in range(PERMUTATIONS - 1))])
