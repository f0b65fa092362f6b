"""Reliability of the positions of games: over seeds, by ranks, and by numbers of seeds and steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from lcd.measurement.demands import Contrast
from lcd.measurement.intervals import (
    Interval,
    cell_samples,
    half_width,
    seed_variances,
    squared_errors,
)
from lcd.measurement.rule import QUANTITIES, classify, least_spreads, rule_intervals, verdict_intervals
from lcd.measurement.scores import PRIMARY, curve_scores
from lcd.studies.taxonomy.positions import PLANE, Cells

Floats = NDArray[np.float64]
Limits = tuple[float, float, float]

SEEDS = (2, 3, 4, 5, 7, 10, 15, 20)
"""Numbers of seeds in the power table."""

MOST_SPLITS = 400
"""Limit of the splits that are averaged over; up to ten seeds there are fewer."""


def intraclass_correlation(table: ArrayLike, level: float = 0.95) -> tuple[Limits, Limits]:
    """Intraclass correlations over games: of one seed's measurement, and of the mean over all seeds.

    ICC(1,1) and ICC(1,k) of a one-way random model, ``(MSB − MSW)/(MSB + (k−1) MSW)`` and ``(MSB − MSW)/MSB``, with
    the limits of the F distribution.

    Parameters
    ----------
    table : array_like, shape (n, k)
        One row a game, one column a seed; at least two of each.
    level : float
        Coverage of the limits.

    Returns
    -------
    single, mean : tuple of float
        Estimate, lower and upper limit; NaN where all scores are the same.

    References
    ----------
    Shrout, P. E. and Fleiss, J. L. (1979), "Intraclass correlations: uses in assessing rater reliability",
    Psychological Bulletin 86. McGraw, K. O. and Wong, S. P. (1996), "Forming inferences about some intraclass
    correlation coefficients", Psychological Methods 1.
    """
    values = np.asarray(table, dtype=np.float64)
    games, seeds = values.shape
    if min(games, seeds) < 2:
        raise ValueError(f"an intraclass correlation needs two games and two seeds, not {games} and {seeds}")
    between = seeds * values.mean(axis=1).var(ddof=1)
    within = values.var(axis=1, ddof=1).mean()
    if within == 0:
        alike = (1.0 if between > 0 else np.nan,) * 3
        return alike, alike
    ratio = between / within
    freedom = games - 1, games * (seeds - 1)
    upper, lower = (stats.f.ppf((1 + level) / 2, *pair) for pair in (freedom, freedom[::-1]))
    ratios = (ratio, ratio / upper, ratio * lower)
    single = tuple(float((f - 1) / (f + seeds - 1)) for f in ratios)
    mean = tuple(float(1 - 1 / f) for f in ratios)
    return single, mean  # type: ignore[return-value]


def split_half(table: ArrayLike, seed: int = 0) -> float:
    """Split-half reliability over seeds, stepped up to all seeds.

    The mean over all ways to halve the seeds (one is left out where their number is odd), or over `MOST_SPLITS` that
    are drawn where there are more, stepped up by Spearman's and Brown's formula ``m r / (1 + (m − 1) r)``, where all
    seeds are m times as many as a half; NaN where halves do not correlate positively, which the formula is not for.

    Parameters
    ----------
    table : array_like, shape (n, k)
        One row a game, one column a seed; at least three games and two seeds.
    seed : int
        Of the draws.

    References
    ----------
    Spearman, C. (1910) and Brown, W. (1910), British Journal of Psychology 3.
    """
    values = np.asarray(table, dtype=np.float64)
    games, seeds = values.shape
    if games < 3 or seeds < 2:
        raise ValueError(f"split halves need three games and two seeds, not {games} and {seeds}")
    splits = [[values[:, half].mean(axis=1) for half in split] for split in _splits(seeds, seed)]
    correlation = float(np.mean([np.corrcoef(*halves)[0, 1] for halves in splits]))
    if correlation <= 0:
        return float("nan")
    times = seeds / (seeds // 2)
    return times * correlation / (1 + (times - 1) * correlation)


def _splits(seeds: int, seed: int) -> list[NDArray[np.intp]]:
    """Ways to halve seeds, each of shape (2, half): all of them, or `MOST_SPLITS` that are drawn."""
    half = seeds // 2
    if comb(seeds, half) * comb(seeds - half, half) // 2 > MOST_SPLITS:
        generator = np.random.default_rng(seed)
        return [generator.permutation(seeds)[: 2 * half].reshape(2, half) for _ in range(MOST_SPLITS)]
    halves = list(combinations(range(seeds), half))
    return [np.array([one, other]) for one, other in combinations(halves, 2) if not set(one) & set(other)]


def reliability_table(cells: Cells, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Reliability of each demand.

    Parameters
    ----------
    cells : Cells
        The scores of at least three games with two seeds or more.
    draws : int
        Draws of seeds behind the stability of ranks.
    seed : int
        Of the draws, and of the halves where there are many.

    Returns
    -------
    pandas.DataFrame
        One row a demand: icc_single and icc_mean (see `intraclass_correlation`) with ``_low`` and ``_high``,
        split_half, and rank_stability: the mean rank correlation of other draws of seeds with the estimate.
    """
    by_seed, drawn = cells.by_seed(), cells.draws(draws, seed)
    rows = []
    for axis, name in enumerate(PLANE):
        table = by_seed[:, :, axis].T
        row: dict[str, float | str] = {"demand": name}
        for measure, limits in zip(("icc_single", "icc_mean"), intraclass_correlation(table), strict=True):
            row |= dict(zip((measure, f"{measure}_low", f"{measure}_high"), limits, strict=True))
        agreement = _rank_correlations(cells.positions()[:, axis], drawn[:, :, axis])
        rows.append(row | {"split_half": split_half(table, seed), "rank_stability": float(agreement.mean())})
    return pd.DataFrame(rows)


def _rank_correlations(values: Floats, others: Floats) -> Floats:
    """Spearman's correlation of values, shape (n,), with each row of others, shape (m, n); NaN where all are equal."""
    own, ranks = (stats.zscore(stats.rankdata(each, axis=-1), axis=-1) for each in (values, others))
    return (own * ranks).mean(axis=-1)


def rank_table(cells: Cells, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Rank of every game by each demand, 1 for the largest.

    Returns
    -------
    pandas.DataFrame
        One row a (game, demand): rank, and low and high, limits of 95 % of other draws of seeds.
    """
    drawn = cells.draws(draws, seed)
    rows = []
    for axis, name in enumerate(PLANE):
        ranks = stats.rankdata(-drawn[:, :, axis], axis=1)
        own = stats.rankdata(-cells.positions()[:, axis])
        low, high = np.quantile(ranks, (0.025, 0.975), axis=0)
        rows += [(game, name, *row) for game, row in zip(cells.games, np.stack([own, low, high], 1), strict=True)]
    return pd.DataFrame(rows, columns=["game", "demand", "rank", "low", "high"])


def seeds_table(scores: pd.DataFrame, counts: Sequence[int] = SEEDS) -> pd.DataFrame:
    """Share of verdicts that other numbers of seeds would decide, at the present estimates, spreads and noise.

    Parameters
    ----------
    scores : pandas.DataFrame
        One row a (game, view, learning, seed, levels).
    counts : sequence of int
        Numbers of seeds.

    Returns
    -------
    pandas.DataFrame
        One row a number of seeds: decided (share of the games with a verdict), half_width (median half-width of the
        intervals of both demands), and icc_perceptual and icc_policy (expected reliability of the mean over so many
        seeds, by Spearman's and Brown's formula).
    """
    games = [cell_samples(rows, *PRIMARY) for _, rows in scores.groupby("game", sort=False)]
    cells = Cells.of(scores)
    singles = [intraclass_correlation(cells.by_seed()[:, :, axis].T)[0][0] for axis in range(2)]
    rows = []
    for count, decided in zip(counts, decided_shares(scores, counts), strict=True):
        shown = [_intervals_at(*game, count) for game in games]
        widths = [(of_game[name].high - of_game[name].low) / 2 for of_game in shown for name in PLANE]
        expected = [count * max(icc, 0.0) / (1 + (count - 1) * max(icc, 0.0)) for icc in singles]
        rows.append((count, decided, float(np.median(widths)), *expected))
    return pd.DataFrame(rows, columns=["seeds", "decided", "half_width", "icc_perceptual", "icc_policy"])


def decided_shares(scores: pd.DataFrame, counts: Sequence[int]) -> list[float]:
    """Share of the games that each number of seeds would decide, at the present estimates, spreads and noise.

    Parameters
    ----------
    scores : pandas.DataFrame
        One row a (game, view, learning, seed, levels).
    counts : sequence of int
        Numbers of seeds.
    """
    games = [cell_samples(rows, *PRIMARY) for _, rows in scores.groupby("game", sort=False)]
    spreads = [least_spreads([cell.mean() for cell in samples]) for samples, _ in games]
    shares = []
    for count in counts:
        decided = []
        for (samples, errors), spread in zip(games, spreads, strict=True):
            careful = _intervals_at(samples, errors, count, spread)
            decided.append(classify(verdict_intervals(_intervals_at(samples, errors, count), careful)))
        shares.append(float(np.mean([verdict != "inconclusive" for verdict in decided])))
    return shares


def _intervals_at(
    samples: Sequence[Floats], errors: Sequence[Floats], count: int, least_spread: ArrayLike = 0.0
) -> dict[str, Interval]:
    means = np.array([cell.mean() for cell in samples])
    variances, squared = seed_variances(samples), squared_errors(errors)

    def at(contrast: Contrast) -> Interval:
        estimate = float(contrast.offset + means @ np.array(contrast.weights))
        half = float(half_width(variances, squared, [count] * len(means), contrast, least_spread=least_spread))
        return Interval(estimate, estimate - half, estimate + half)

    return {name: at(contrast) for name, contrast in QUANTITIES.items()}


def common_steps(curves: pd.DataFrame) -> list[int]:
    """Steps at which all games were evaluated, but 0."""
    return sorted(set.intersection(*(set(rows["step"]) for _, rows in curves.groupby("game"))) - {0})


def steps_table(curves: pd.DataFrame) -> pd.DataFrame:
    """Verdicts and ranks at smaller budgets: the same curves, cut at each evaluation, by the spread over seeds alone.

    Parameters
    ----------
    curves : pandas.DataFrame
        One row an evaluation, see `lcd.measurement.scores.learning_curves`; the games share their steps.

    Returns
    -------
    pandas.DataFrame
        One row a budget: steps, decided (share of the games with a verdict), perceptual and policy (rank correlation
        over games of the demand with that of the whole budget).
    """
    steps = common_steps(curves)
    of_budgets = {budget: curve_scores(curves[curves["step"] <= budget], budget) for budget in steps}
    whole = Cells.of(of_budgets[steps[-1]]).positions()
    rows = []
    for budget, scores in of_budgets.items():
        decided = []
        for _, of_game in scores.groupby("game", sort=False):
            decided.append(classify(rule_intervals(*cell_samples(of_game, *PRIMARY))) != "inconclusive")
        places = Cells.of(scores).positions()
        agreement = [float(stats.spearmanr(places[:, axis], whole[:, axis]).statistic) for axis in range(2)]
        rows.append((budget, float(np.mean(decided)), *agreement))
    return pd.DataFrame(rows, columns=["steps", "decided", *PLANE])
