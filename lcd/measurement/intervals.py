"""Confidence intervals of the demands over seeds.

Every demand is a linear contrast of four independent cell means, so its interval is Welch's: a t interval whose
variance is the sum of the cells' variances over seeds and whose degrees of freedom are Welch's and Satterthwaite's.
Seeds are the units; the spread over seeds already holds the noise of the episodes, and is never taken for smaller.

Why no bootstrap: with few seeds, resampled seeds have too small a variance, and percentiles take no account of their
number. In `docs/interval_coverage.csv` (made by `scripts/interval_coverage.py`: normal, uniform and skewed
seeds, equal and unequal cells) intervals meant to cover 95 % cover

==================================== ============= ============= ============= =============
normal seeds, worst to best setting  2 seeds       3 seeds       5 seeds       10 seeds
==================================== ============= ============= ============= =============
this one                             94.6 to 99.4  93.2 to 98.7  94.0 to 98.0  94.4 to 97.1
Welch alone                          94.4 to 98.5  93.2 to 96.8  94.0 to 96.1  94.4 to 95.5
percentile bootstrap, hierarchical   61.5 to 97.9  76.9 to 98.7  83.6 to 99.5  89.0 to 99.6
small-sample corrected bootstrap     85.3 to 100   91.3 to 100   95.5 to 100   94.6 to 100
bootstrap-t                          99.9 to 100   96.3 to 100   94.5 to 100   94.2 to 100
t with one pooled variance           68.4 to 99.1  68.6 to 99.7  68.1 to 100   69.5 to 100
==================================== ============= ============= ============= =============

The interval is never narrower than the one over episodes alone: two seeds that agree by chance, or because returns are
few whole numbers, are not more precise than their episodes allow. That is why it covers too often, never too seldom,
where seeds differ by less than the noise of their evaluation. The error over episodes holds that of the levels drawn,
which all evaluations of a run share (:func:`lcd.measurement.scores.cell_scores`).

Below ten seeds it stays too narrow where one strongly skewed cell carries most of the spread: it then covers 90 % for
gamma-distributed seeds and 68 to 83 % for runs of which three in ten take off and the others do not. The bootstrap-t
does better there, but at two and three seeds its limits are mostly without bound. Three seeds do not
show whether they agree by chance; a verdict, which must seldom be wrong, therefore uses a lower bound of their spread
(:data:`lcd.measurement.rule.LEAST_SPREAD`).

The interval is over seeds *given the evaluated levels*: where all runs are evaluated on the same levels, another draw
of levels is not part of it.

References
----------
Welch, B. L. (1947), "The generalization of Student's problem when several different population variances are
involved", Biometrika 34. Satterthwaite, F. E. (1946), "An approximate distribution of estimates of variance
components", Biometrics Bulletin 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import ndtri, stdtrit

from lcd.measurement.demands import CONTRASTS, Contrast
from lcd.measurement.scores import CELLS, LEVELS, SCORES

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval, in units of the normalised score.

    Attributes
    ----------
    estimate, low, high : float
        The estimate and the limits; the limits are NaN where nothing tells the noise.
    over : {"seeds", "episodes", "nothing"}
        Source of the variance. "episodes" is the interval of one seed, without the variance over seeds.
    """

    estimate: float
    low: float
    high: float
    over: Literal["seeds", "episodes", "nothing"] = "seeds"

    def __str__(self) -> str:
        """Return the form for a sentence, such as ``0.31 [0.22, 0.40]``."""
        if self.over == "nothing":
            return f"{two_places(self.estimate)} [no interval]"
        return f"{two_places(self.estimate)} [{two_places(self.low)}, {two_places(self.high)}]"


def two_places(score: float) -> str:
    """Return a score with two decimals and without a negative zero."""
    return f"{round(score, 2) + 0.0:.2f}"


def welch_limits(
    means: ArrayLike,
    variances: ArrayLike,
    counts: ArrayLike,
    contrast: Contrast,
    level: float = 0.95,
    *,
    least_spread: ArrayLike = 0.0,
) -> tuple[Floats, Floats]:
    """Return the limits of Welch's interval for a contrast of cell means.

    ``t · √V`` either side of the estimate, with ``V = Σ wᵢ² sᵢ² / nᵢ`` and
    ``ν = V² / Σ[(wᵢ² sᵢ² / nᵢ)² / (nᵢ − 1)]`` (Welch 1947; Satterthwaite 1946).

    Parameters
    ----------
    means, variances : array_like, shape (..., 4)
        Mean and unbiased variance of each cell's score over seeds.
    counts : array_like, shape (4,) or (..., 4)
        Seeds of each cell, at least two where the contrast has a weight.
    contrast : Contrast
        The quantity wanted.
    level : float
        Coverage aimed at.
    least_spread : array_like, shape () or (..., 4)
        Lower bound of each cell's standard deviation over seeds.

    Returns
    -------
    low, high : numpy.ndarray, shape (...)
        The limits, equal where no cell varies.
    """
    weights = np.asarray(contrast.weights)
    used = weights != 0
    weights, count = weights[used], np.asarray(counts, dtype=np.float64)[..., used]
    both = np.array([variances, np.maximum(variances, np.square(least_spread))])
    parts = weights**2 * both[..., used] / count
    # More variance can mean more degrees of freedom and narrower limits: the wider ones of the two count.
    half = (stdtrit(degrees_of_freedom(parts, count), (1 + level) / 2) * np.sqrt(parts.sum(-1))).max(axis=0)
    estimate = contrast.offset + np.asarray(means)[..., used] @ weights
    return estimate - half, estimate + half


def mean_limits(values: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean of independent observations and its limits by Student's t.

    Parameters
    ----------
    values : array_like, shape (observations,)
        At least one observation.
    level : float
        Coverage aimed at.

    Returns
    -------
    mean, low, high : float
        The limits are NaN for a single observation.
    """
    known = np.asarray(values, dtype=np.float64)
    mean, half = float(known.mean()), float("nan")
    if len(known) > 1:
        half = float(stdtrit(len(known) - 1, (1 + level) / 2) * stats.sem(known))
    return mean, mean - half, mean + half


def degrees_of_freedom(parts: Floats, counts: ArrayLike) -> Floats:
    """Return Satterthwaite's degrees of freedom of a sum of means.

    Parameters
    ----------
    parts : numpy.ndarray, shape (..., means)
        Variance that each mean adds to the sum's.
    counts : array_like, shape (means,) or (..., means)
        Seeds behind each mean.

    Returns
    -------
    numpy.ndarray, shape (...)
        1 where nothing varies.
    """
    total = parts.sum(-1)
    shares = parts / np.where(total > 0, total, 1.0)[..., None]
    return 1 / np.where(total > 0, (shares**2 / (np.asarray(counts, dtype=np.float64) - 1)).sum(-1), 1.0)


def seed_variances(samples: Sequence[Floats]) -> Floats:
    """Return the unbiased variance of each cell's score over seeds.

    Parameters
    ----------
    samples : sequence of numpy.ndarray, each of shape (seeds,)
        The scores of a cell's seeds.

    Returns
    -------
    numpy.ndarray, shape (cells,)
        NaN for a cell of fewer than two seeds.
    """
    return np.array([np.var(cell, ddof=1) if len(cell) > 1 else np.nan for cell in samples])


def episode_limit(squared: Floats, counts: ArrayLike, contrast: Contrast, level: float = 0.95) -> Floats:
    """Return the half-width of a contrast's interval from the noise of the evaluated episodes alone.

    Parameters
    ----------
    squared : numpy.ndarray, shape (4,)
        What :func:`squared_errors` returned.
    counts : array_like, shape (4,) or (..., 4)
        Seeds of each cell, at least one where the contrast has a weight.
    contrast : Contrast
        The quantity wanted.
    level : float
        Coverage aimed at.

    Returns
    -------
    numpy.ndarray, shape (...)
        NaN where the noise is unknown.
    """
    weights = np.asarray(contrast.weights)
    used = weights != 0
    noise = weights[used] ** 2 * squared[used] / np.asarray(counts, dtype=np.float64)[..., used]
    limit: Floats = ndtri((1 + level) / 2) * np.sqrt(noise.sum(-1))
    return limit


def half_width(
    variances: Floats,
    squared: Floats,
    counts: ArrayLike,
    contrast: Contrast,
    level: float = 0.95,
    *,
    least_spread: ArrayLike = 0.0,
) -> Floats:
    """Return the half-width of a contrast's interval: Welch's, and at least that of the episodes alone.

    Parameters
    ----------
    variances, counts, contrast, level, least_spread
        As in :func:`welch_limits`.
    squared : numpy.ndarray, shape (4,)
        What :func:`squared_errors` returned.

    Returns
    -------
    numpy.ndarray, shape (...)
        In units of the normalised score.
    """
    centred = Contrast(contrast.weights)
    _, half = welch_limits(np.zeros_like(variances), variances, counts, centred, level, least_spread=least_spread)
    # fmax: with one episode an evaluation the noise is unknown, and the spread over seeds stands alone.
    return np.fmax(half, episode_limit(squared, counts, contrast, level))


def squared_errors(errors: Sequence[Floats]) -> Floats:
    """Return the mean squared error over episodes of one seed's score in each cell.

    Parameters
    ----------
    errors : sequence of numpy.ndarray, each of shape (seeds,)
        The standard errors over episodes of a cell's seeds.

    Returns
    -------
    numpy.ndarray, shape (cells,)
        NaN where it is unknown.
    """
    return np.array([np.mean(error**2) if len(error) else np.nan for error in errors])


def contrast_interval(
    samples: Sequence[Floats],
    errors: Sequence[Floats],
    contrast: Contrast,
    level: float = 0.95,
    *,
    least_spread: ArrayLike = 0.0,
) -> Interval:
    """Estimate a contrast of cells with its interval.

    Parameters
    ----------
    samples, errors : sequence of numpy.ndarray, one a weight, each of shape (seeds,)
        The scores of each cell's seeds, and their standard errors over episodes (NaN where unknown).
    contrast : Contrast
        The quantity wanted.
    level : float
        Coverage aimed at.
    least_spread : array_like, shape () or (..., 4)
        Lower bound of each cell's standard deviation over seeds.

    Returns
    -------
    Interval
        Over seeds if every cell with a weight has two seeds or more; otherwise over episodes alone, or without limits
        if a single seed's episodes tell no error either.

    Raises
    ------
    ValueError
        If a cell that is needed has no seed.
    """
    weights = np.asarray(contrast.weights)
    counts = np.array([len(cell) for cell in samples])
    used = weights != 0
    if np.any(counts[used] == 0):
        raise ValueError(f"the cells have {counts.tolist()} seeds; each one with a weight needs at least one")
    means = np.array([np.mean(cell) if len(cell) else 0.0 for cell in samples])
    estimate = float(contrast.offset + weights @ means)
    squared = squared_errors(errors)
    if np.all(counts[used] > 1):
        half = float(half_width(seed_variances(samples), squared, counts, contrast, level, least_spread=least_spread))
        return Interval(estimate, estimate - half, estimate + half)
    within = float(episode_limit(squared, counts, contrast, level))
    return Interval(estimate, estimate - within, estimate + within, "episodes" if np.isfinite(within) else "nothing")


Sample = tuple[Floats, Floats]
"""The scores of a cell's seeds, shape (seeds,), and their standard errors over episodes (NaN where unknown)."""


def mean_interval(sample: Sample) -> Interval:
    """Estimate the mean score of a cell, as `contrast_interval` does."""
    scores, errors = sample
    return contrast_interval([scores], [errors], Contrast((1.0,)))


def difference_interval(sample: Sample, other: Sample) -> Interval:
    """Estimate by how much the mean score of a cell exceeds that of another, as `contrast_interval` does."""
    samples, errors = zip(sample, other, strict=True)
    return contrast_interval(samples, errors, Contrast((1.0, -1.0)))


def contrast_intervals(samples: Sequence[Floats], errors: Sequence[Floats]) -> dict[str, Interval]:
    """Estimate every quantity in `lcd.measurement.demands.CONTRASTS`, by name, each as `contrast_interval` does."""
    return {quantity: contrast_interval(samples, errors, contrast) for quantity, contrast in CONTRASTS.items()}


def fieller_limits(top: float, bottom: float, covariance: NDArray[np.float64], quantile: float) -> tuple[float, float]:
    """Return the limits of a ratio of two estimates: all ratios at which ``top − ratio · bottom`` is not significant.

    Parameters
    ----------
    top, bottom : float
        The estimates.
    covariance : numpy.ndarray, shape (2, 2)
        Of their errors.
    quantile : float
        Of the t distribution, for one side.

    Returns
    -------
    low, high : float
        Infinite where the denominator is not significantly different from 0.

    References
    ----------
    Fieller, E. C. (1954), "Some problems in interval estimation", Journal of the Royal Statistical Society B 16.
    """
    (of_top, mixed), (_, of_bottom) = covariance * quantile**2
    squared, cross, constant = bottom**2 - of_bottom, top * bottom - mixed, top**2 - of_top
    if squared <= 0:
        return -float("inf"), float("inf")
    root = float(np.sqrt(max(cross**2 - squared * constant, 0.0)))
    return (cross - root) / squared, (cross + root) / squared


def cell_samples(scores: pd.DataFrame, levels: str, score: str) -> tuple[list[Floats], list[Floats]]:
    """Return the scores of the cells a, b, c, d and their errors over episodes, each an array over seeds.

    Parameters
    ----------
    scores : pandas.DataFrame
        What :func:`lcd.measurement.scores.cell_scores` returned for one game; or
        :func:`lcd.measurement.scores.curve_scores`, which knows no episodes: the errors are then NaN.
    levels : {"unseen", "training"}
        Levels of the score family.
    score : {"area", "log_area", "final"}
        Score of the family.
    """
    rows = scores[scores["levels"] == levels].sort_values("seed")
    cells = [rows[(rows["view"] == view) & (rows["learning"] == learning)] for view, learning in CELLS.values()]
    samples = [cell[score].to_numpy(dtype=np.float64) for cell in cells]
    errors = [cell.get(f"{score}_error", cell[score] * np.nan).to_numpy(dtype=np.float64) for cell in cells]
    return samples, errors


def demand_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Estimate all quantities on every score family.

    Parameters
    ----------
    scores : pandas.DataFrame
        What :func:`lcd.measurement.scores.cell_scores` returned for one game.

    Returns
    -------
    pandas.DataFrame
        One row a (quantity, levels, score): estimate, low, high (95 %) in units of the normalised score, and over (see
        :class:`Interval`).
    """
    rows = []
    for levels in LEVELS:
        for score in SCORES:
            samples, errors = cell_samples(scores, levels, score)
            for quantity, found in contrast_intervals(samples, errors).items():
                rows.append((quantity, levels, score, found.estimate, found.low, found.high, found.over))
    return pd.DataFrame(rows, columns=["quantity", "levels", "score", "estimate", "low", "high", "over"])


def seeds_needed(
    variances: Floats,
    squared: Floats,
    contrast: Contrast,
    distance: float,
    *,
    more_than: int,
    at_most: int,
    least_spread: ArrayLike = 0.0,
) -> int | None:
    """Return the smallest number of seeds a cell at which the half-width of the interval is at most `distance`.

    The present estimate, spread and noise of episodes are taken as true, so that the real number may be half or double.

    Parameters
    ----------
    variances : numpy.ndarray, shape (4,)
        Variance of one seed's score in each cell.
    squared : numpy.ndarray, shape (4,)
        What :func:`squared_errors` returned.
    contrast : Contrast
        The quantity wanted.
    distance : float
        Half-width wanted, in units of the normalised score.
    more_than, at_most : int
        The numbers of seeds that are tried.
    least_spread : array_like, shape () or (..., 4)
        Lower bound of each cell's standard deviation over seeds.

    Returns
    -------
    int or None
        None if `at_most` seeds do not do.
    """
    counts = np.arange(max(more_than + 1, 2), at_most + 1)
    shape = (len(counts), 4)
    spread, seeds = np.broadcast_to(variances, shape), counts[:, None] * np.ones(4)
    enough = counts[half_width(spread, squared, seeds, contrast, least_spread=least_spread) <= distance]
    return int(enough[0]) if len(enough) else None
