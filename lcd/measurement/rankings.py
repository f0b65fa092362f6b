"""Rankings of methods: by which choices they change, and which games decide them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from lcd.measurement.intervals import degrees_of_freedom
from lcd.measurement.method_scores import Floats, Groupings, MethodScores, with_single_games

TRIMMED = 0.25
"""Share of the games left out at either end for the interquartile mean."""

AGGREGATES: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType(
    {
        "mean": lambda values: values.mean(axis=-1),
        "median": lambda values: np.median(values, axis=-1),
        "IQM": lambda values: np.asarray(stats.trim_mean(values, TRIMMED, axis=-1)),
    }
)
"""Aggregates over games (the last axis) of means over seeds; IQM is the interquartile mean."""

RANGE, BASELINE, EXTREMES, DEVIATIONS, RANKS, RAW = "range", "baseline", "min-max", "z-score", "rank", "none"
"""Normalisations: shares of the range between given returns; shares of a baseline's return above the lower one; shares
of the range between the worst and the best method; standard deviations from the mean of the methods; share of the
methods that are worse; and returns as they are."""

AND = " and "
"""Between the names of methods that share a place."""

ROUNDING = 1e-12
"""Differences of aggregates below this are ties."""


def normalised(means: Floats, constants: tuple[Floats, Floats] | None, baseline: int | None) -> dict[str, Floats]:
    """Scores by every normalisation that can be had.

    Parameters
    ----------
    means : numpy.ndarray, shape (M, G)
        Returns, none of them missing.
    constants : (numpy.ndarray, numpy.ndarray), each of shape (G,), optional
        Returns that count as 0 and as 1.
    baseline : int, optional
        Number of a method whose return counts as 1, if it is above the one that counts as 0 in every game.

    Returns
    -------
    dict of str to numpy.ndarray, shape (M, G)
        By the names of this module; games in which all methods are equal count as 0 for all where a range is needed.
    """
    least, most = means.min(axis=0), means.max(axis=0)
    spread, deviation = most - least, means.std(axis=0)
    found = {}
    if constants is not None:
        found[RANGE] = (means - constants[0]) / (constants[1] - constants[0])
    zeros = np.zeros(means.shape[1]) if constants is None else constants[0]
    if baseline is not None and (means[baseline] > zeros).all():
        found[BASELINE] = (means - zeros) / (means[baseline] - zeros)
    found[EXTREMES] = (means - least) / np.where(spread > 0, spread, 1.0)
    found[DEVIATIONS] = (means - means.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    found[RANKS] = (stats.rankdata(means, axis=0) - 1) / max(len(means) - 1, 1)
    found[RAW] = means
    return found


def places(values: Floats) -> Floats:
    """Rank of each aggregate, 1 the highest; ties share the mean of their ranks.

    Parameters
    ----------
    values : numpy.ndarray, shape (M,)
    """
    rounded = np.round(values / max(float(np.abs(values).max()), 1.0), 12)
    ranks: Floats = stats.rankdata(-rounded)
    return ranks


def leaders(methods: tuple[str, ...], values: Floats) -> str:
    """Name of the method with the highest aggregate, or the names of those that share it."""
    ranks = places(values)
    return AND.join(name for name, rank in zip(methods, ranks, strict=True) if rank == ranks.min())


def ranking_table(methods: tuple[str, ...], scores: Mapping[str, Floats]) -> pd.DataFrame:
    """Rank methods by every normalisation and aggregate.

    Parameters
    ----------
    methods : tuple of str
        Names of the M methods.
    scores : mapping of str to numpy.ndarray, shape (M, G)
        What `normalised` returned.

    Returns
    -------
    pandas.DataFrame
        One row a (normalisation, aggregate, method): score and rank (1 the highest).
    """
    parts = []
    for normalisation, values in scores.items():
        for aggregate, function in AGGREGATES.items():
            found = function(values)
            columns = {"method": methods, "score": found, "rank": places(found)}
            parts.append(pd.DataFrame({"normalisation": normalisation, "aggregate": aggregate, **columns}))
    return pd.concat(parts, ignore_index=True)


def agreement(first: Floats, second: Floats) -> float:
    """Kendall's rank correlation (tau-b) of two rankings, NaN where one has all methods equal."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(stats.kendalltau(first, second).statistic)


def choice_table(rankings: pd.DataFrame, reference: pd.Series[float]) -> pd.DataFrame:
    """Agreement of the ranking by each choice with a reference.

    Parameters
    ----------
    rankings : pandas.DataFrame
        What `ranking_table` returned.
    reference : pandas.Series
        Rank of each method that the others are compared with, by the method's name.

    Returns
    -------
    pandas.DataFrame
        One row a (normalisation, aggregate): tau (Kendall's), changed (share of the pairs of methods in another order
        or tied in one), first (the method ranked highest, or those that share the place), mover (the one whose rank
        changes most, None where none does), its rank by the reference and by this choice.
    """
    groups = {key: rows.set_index("method") for key, rows in rankings.groupby(["normalisation", "aggregate"])}
    order = dict.fromkeys(zip(rankings["normalisation"], rankings["aggregate"], strict=True))
    rows = []
    for key in order:
        ranks = groups[key]["rank"].loc[reference.index]
        moved = (ranks - reference).abs()
        mover = moved.idxmax() if moved.max() > 0 else None
        rows.append(
            {
                "normalisation": key[0],
                "aggregate": key[1],
                "tau": agreement(reference.to_numpy(), ranks.to_numpy()),
                "changed": _changed(reference.to_numpy(), ranks.to_numpy()),
                "first": AND.join(ranks.index[ranks == ranks.min()]),
                "mover": mover,
                "rank_by_reference": np.nan if mover is None else reference[mover],
                "rank": np.nan if mover is None else ranks[mover],
            }
        )
    return pd.DataFrame(rows)


def _changed(first: Floats, second: Floats) -> float:
    upper = np.triu_indices(len(first), 1)
    signs = [np.sign(ranks[:, None] - ranks[None])[upper] for ranks in (first, second)]
    return float(np.mean(signs[0] != signs[1]))


def influence_tables(
    scores: MethodScores, groupings: Groupings, *, error_rate: float = 0.05
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Influence of each game and each group of games on the ranking by the mean, and the pairs that each decides.

    The share of a group is the covariance over methods of its part of the mean with the mean, divided by the variance
    of the mean: the shares of all games add up to 1. A group decides a pair of methods if the lead of the better one is
    significant over seeds (Welch's test, two-sided as the better one is chosen by the same scores, corrected by
    Benjamini and Hochberg over all pairs) and the other one leads, or draws level, without the group.

    Parameters
    ----------
    scores : MethodScores
        Complete scores on a scale that is comparable between games.
    groupings : mapping
        Groups of games. Single games are added as a grouping of their own.
    error_rate : float
        False-discovery rate of the leads.

    Returns
    -------
    influence : pandas.DataFrame
        One row a (grouping, group): games (their number), share, tau (Kendall's, of the ranking without the group with
        that by all games), first (the method ranked highest by all games, or those that share the place),
        first_without, reversed (share of the pairs that the group reverses) and decided (number of the pairs that it
        decides; NaN where the errors are unknown).
    decided : pandas.DataFrame
        One row a (better, worse, grouping, group) of the decided pairs: lead with q, and lead_without.
    """
    means = scores.means.mean(axis=1)
    upper = np.triu_indices(len(means), 1)
    swap = means[upper[0]] < means[upper[1]]
    better, worse = np.where(swap, upper[1], upper[0]), np.where(swap, upper[0], upper[1])
    lead = means[better] - means[worse]
    q = _lead_q(scores, better, worse, lead)
    significant = q <= error_rate
    rows, pairs = [], []
    for grouping, groups in with_single_games(groupings, scores.games).items():
        for group, members in groups.items():
            inside = np.isin(scores.games, members)
            without = scores.means[:, ~inside].mean(axis=1)
            lead_without = without[better] - without[worse]
            reversed_pairs = (lead > ROUNDING) & (lead_without < ROUNDING)
            decided = np.flatnonzero(reversed_pairs & significant)
            part = scores.means[:, inside].sum(axis=1) / len(scores.games)
            variance = means.var()
            rows.append(
                {
                    "grouping": grouping,
                    "group": group,
                    "games": int(inside.sum()),
                    "share": float(np.mean((part - part.mean()) * (means - means.mean())) / variance)
                    if variance > 0
                    else np.nan,
                    "tau": agreement(places(means), places(without)),
                    "first": leaders(scores.methods, means),
                    "first_without": leaders(scores.methods, without),
                    "reversed": float(reversed_pairs.mean()),
                    "decided": len(decided) if np.isfinite(q).any() else np.nan,
                }
            )
            pairs += [
                {
                    "better": scores.methods[better[pair]],
                    "worse": scores.methods[worse[pair]],
                    "grouping": grouping,
                    "group": group,
                    "lead": lead[pair],
                    "q": q[pair],
                    "lead_without": lead_without[pair],
                }
                for pair in decided
            ]
    columns = ["better", "worse", "grouping", "group", "lead", "q", "lead_without"]
    return pd.DataFrame(rows), pd.DataFrame(pairs, columns=columns)


def _lead_q(scores: MethodScores, better: NDArray[np.intp], worse: NDArray[np.intp], lead: Floats) -> Floats:
    """Corrected p-value of each lead, NaN where its error over seeds is unknown."""
    squared, freedom = scores.pair_errors(better, worse)
    parts = squared / len(scores.games) ** 2
    known = np.isfinite(parts).all(axis=1) & np.isfinite(freedom).all(axis=1) & (parts.sum(axis=1) > 0)
    q = np.full(len(lead), np.nan)
    if known.any():
        satterthwaite = degrees_of_freedom(parts[known], freedom[known] + 1)
        p = 2 * stats.t.sf(lead[known] / np.sqrt(parts[known].sum(axis=1)), satterthwaite)  # the better one is chosen
        q[known] = stats.false_discovery_control(p)
    return q


def repeatability(scores: MethodScores, *, draws: int = 200, seed: int = 0) -> tuple[float, float, float]:
    """Agreement of the ranking by the mean with itself under other seeds.

    Two sets of means are drawn around true ones, with the errors of those that were measured, and their rankings are
    compared. The true ones are drawn, too, from what the measured ones tell of them (empirical Bayes, normal): those
    scatter by their errors as well, so that draws around them would agree too well.

    Parameters
    ----------
    scores : MethodScores
        Complete scores on a comparable scale.
    draws, seed : int
        Number of pairs of rankings, and seed of the draws.

    Returns
    -------
    mean, low, high : float
        Mean of Kendall's correlation over the draws and its 5th and 95th percentile; NaN where an error is unknown.
    """
    errors = np.sqrt(scores.squared_errors.sum(axis=1)) / len(scores.games)
    if not np.isfinite(errors).all():
        return (float("nan"),) * 3
    random = np.random.default_rng(seed)
    means, squares = scores.means.mean(axis=1), errors**2
    between = max(means.var(ddof=1) - squares.mean(), 0.0)
    told = np.divide(between, between + squares, out=np.ones_like(squares), where=between + squares > 0)
    middle = means.mean() + told * (means - means.mean())
    true = middle + np.sqrt(told) * errors * random.standard_normal((draws, 1, len(errors)))
    drawn = true + errors * random.standard_normal((draws, 2, len(errors)))
    found = [agreement(places(one), places(other)) for one, other in drawn]
    return float(np.mean(found)), float(np.quantile(found, 0.05)), float(np.quantile(found, 0.95))
