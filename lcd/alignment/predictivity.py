"""Neural predictivity: how well predictions correlate with recorded responses, and the ceiling that noise sets.

The correlation is taken within each fold of the cross-validation and averaged over folds. That of all folds together
would be below 0 for predictions without any information, as the mean of the training folds is low where that of the
held-out fold is high.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from lcd.alignment.recordings import Recording

Floats = NDArray[np.float64]

Over = Literal["both", "images", "sites"]
OVER: tuple[Over, ...] = ("both", "images", "sites")
"""Units of resampling: images (or clusters of them), sites, or each of the two independently."""

SPLITS = 10
"""Random splits of the repetitions into halves."""

LEAST_RELIABILITY = 0.1
"""Sites whose responses are less reliable are left out of noise-corrected scores, which divide by the ceiling."""

RESAMPLES = 1_000
"""Bootstrap resamples of an interval."""


@dataclass(frozen=True)
class Estimate:
    """A median over sites, with 95 % bootstrap limits.

    Attributes
    ----------
    value, low, high : float
        NaN where it is undefined.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Predictivity:
    """How well a layer predicts a recording.

    Attributes
    ----------
    score
        Correlation of predictions with mean responses.
    ceiling
        Correlation that noise-free predictions would have, see `ceilings`.
    corrected
        Score divided by the ceiling, of reliable sites.
    sites, unreliable
        Number of sites, and of those without a reliable ceiling.
    """

    score: Estimate
    ceiling: Estimate
    corrected: Estimate
    sites: int
    unreliable: int


def spearman_brown(reliability: ArrayLike, longer: float = 2.0) -> Floats:
    """Reliability of a mean over more repetitions, from that over fewer.

    Parameters
    ----------
    reliability : array_like
        Correlation between two means.
    longer : float
        How many times as many repetitions.

    References
    ----------
    Spearman, C. (1910), *British Journal of Psychology* 3, 271; Brown, W. (1910), same volume, 296.
    """
    found = np.asarray(reliability, dtype=np.float64)
    return longer * found / (1 + (longer - 1) * found)


def ceilings(recording: Recording, fold: NDArray[np.int64] | None = None, *, seed: int = 0) -> Floats:
    """Highest correlation of each site's mean response with any prediction, by split halves.

    The correlation r between the means over two halves of the repetitions, averaged over random splits, gives the
    reliability of the mean over all, ρ (`spearman_brown`). Noise-free predictions correlate with that mean by √ρ.

    Parameters
    ----------
    recording : Recording
        With two repetitions or more, or with known ceilings.
    fold : numpy.ndarray, shape (n,), int64, optional
        Fold of each image, within which the correlation is taken; by default there is one.
    seed : int
        Seed of the splits.

    Returns
    -------
    numpy.ndarray, shape (sites,)
        NaN where the reliability is not above 0, or there are no repetitions.

    References
    ----------
    Yamins, D. L. K. et al. (2014), *PNAS* 111, 8619, supporting information.
    """
    if recording.ceilings is not None:
        return recording.ceilings
    folds = np.zeros(len(recording), np.int64) if fold is None else fold
    return _ceilings(np.ones((1, len(recording))), recording, folds, np.arange(len(recording)), seed)[0]


def correlations(predicted: Floats, responses: Floats, fold: NDArray[np.int64]) -> Floats:
    """Correlation of predictions with responses, averaged over folds.

    Parameters
    ----------
    predicted, responses : numpy.ndarray, shape (n, sites)
        Predictions and mean responses.
    fold : numpy.ndarray, shape (n,), int64
        Fold of each image.

    Returns
    -------
    numpy.ndarray, shape (sites,)
        A fold with constant predictions counts as 0, one with constant responses is left out; NaN where all are.
    """
    return _correlations(np.ones((1, len(fold))), predicted, responses, fold, np.arange(len(fold)))[0]


def predictivity(
    predicted: Mapping[str, Floats],
    recording: Recording,
    fold: NDArray[np.int64],
    *,
    over: Over = "both",
    seed: int = 0,
) -> dict[str, Predictivity]:
    """Score predictions of a recording from several layers, and correct the scores for noise.

    Limits are percentiles of bootstrap resamples of the images of each fold (or of their clusters), of the sites, or of
    both independently. Resamples of the m clusters of a fold vary as if they were m − 1, so that limits are moved away
    from the estimate by √(m / (m − 1)). Regressions are not fitted anew, so that limits hold for these regressions.

    Noise tells the ceiling from images with two presentations or more. Where some have one, the corrected score is of
    the others only.

    Parameters
    ----------
    predicted : mapping of str to numpy.ndarray, shape (n, sites)
        Results of `lcd.alignment.regression.cross_validated`, by layer.
    recording : Recording
        The recording.
    fold : numpy.ndarray, shape (n,), int64
        Fold of each image, see `lcd.alignment.regression.folds_of`.
    over : {"both", "images", "sites"}
        Unit of resampling.
    seed : int
        Seed of the splits and of the resamples.

    Raises
    ------
    ValueError
        If the shapes differ, or there is no such unit.
    """
    if over not in OVER:
        raise ValueError(f"Unknown unit of resampling {over!r}: choose one of {', '.join(OVER)}.")
    for each in predicted.values():
        if each.shape != (len(recording), recording.sites):
            raise ValueError(
                f"{len(recording)} images and {recording.sites} sites need predictions of that shape, not {each.shape}."
            )
    clusters, sites, mean = recording.clusters, recording.sites, recording.mean
    count = int(clusters.max()) + 1
    repeated = _repeated_only(recording, mean)

    def medians(counts: Floats, chosen: NDArray[np.int64]) -> dict[tuple[str, str], Floats]:
        """Medians over the chosen sites of each resample, by the layer and what they are of."""
        ceiling = _ceilings(counts, recording, fold, clusters, seed)
        found = {("", "ceiling"): ceiling}
        for layer, each in predicted.items():
            score = _correlations(counts, each, mean, fold, clusters)
            of_repeated = score if repeated is None else _correlations(counts, each, repeated, fold, clusters)
            found |= {(layer, "score"): score, (layer, "corrected"): of_repeated / ceiling}
        return {key: _median(np.take_along_axis(values, chosen, axis=1)) for key, values in found.items()}

    whole = {key: values[0] for key, values in medians(np.ones((1, count)), np.arange(sites)[None]).items()}
    strata = [np.unique(clusters[fold == number]) for number in np.unique(fold)] if over != "sites" else []
    units = [*strata, *([np.arange(sites)] if over != "images" else [])]

    def statistic(*drawn: NDArray[np.int64], axis: int) -> Floats:
        of_strata, of_sites = drawn[: len(strata)], drawn[len(strata) :]

        def all_of(number: int) -> NDArray[np.int64]:
            return np.tile(np.arange(number), (len(drawn[0]), 1))

        taken = np.concatenate(of_strata, axis=axis) if of_strata else all_of(count)
        counts = np.stack([np.bincount(each, minlength=count) for each in taken]).astype(np.float64)
        return np.stack([*medians(counts, of_sites[0] if of_sites else all_of(sites)).values()])

    estimates = np.array([*whole.values()])
    limits = _limits(units, statistic, len(estimates), seed)
    wider = _small_sample_factor([len(each) for each in strata])
    low, high = (estimates + wider * (limit - estimates) for limit in limits)
    found = {key: Estimate(*map(float, each)) for key, *each in zip(whole, estimates, low, high, strict=True)}
    known = _ceilings(np.ones((1, count)), recording, fold, clusters, seed)
    unreliable = int(np.isnan(known).sum())
    return {
        layer: Predictivity(found[layer, "score"], found["", "ceiling"], found[layer, "corrected"], sites, unreliable)
        for layer in predicted
    }


def _repeated_only(recording: Recording, mean: Floats) -> Floats | None:
    """Mean responses without those of images whose noise is not known; None where there are none of these."""
    if recording.ceilings is not None:
        return None
    several = (~np.isnan(recording.responses)).any(axis=2).sum(axis=0) > 1
    return None if several.all() or not several.any() else np.where(several[:, None], mean, np.nan)


def _small_sample_factor(counts: list[int]) -> float:
    """Root of the mean of m / (m − 1) over strata of m units; 1 where there is no stratum, or one of a single unit."""
    if min(counts, default=0) < 2:
        return 1.0
    return float(np.sqrt(np.mean([count / (count - 1) for count in counts])))


def _limits(units: list[NDArray[np.int64]], statistic: object, values: int, seed: int) -> tuple[Floats, Floats]:
    """Percentile limits of several values; NaN where a sample has a single unit."""
    if min(map(len, units)) < 2:
        return np.full(values, np.nan), np.full(values, np.nan)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # of what is undefined, which has no limits
        interval = stats.bootstrap(
            units,
            statistic,
            n_resamples=RESAMPLES,
            vectorized=True,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return np.asarray(interval.low), np.asarray(interval.high)


def _ceilings(
    counts: Floats, recording: Recording, fold: NDArray[np.int64], clusters: NDArray[np.int64], seed: int
) -> Floats:
    """Ceilings of resamples, shape (resamples, sites), see `ceilings`; counts are as in `_correlations`."""
    shape = (len(counts), recording.sites)
    if recording.ceilings is not None:
        return np.broadcast_to(recording.ceilings, shape)
    presented = (~np.isnan(recording.responses)).any(axis=2).sum(axis=0)
    several = presented[presented > 1]
    if not len(several):
        return np.full(shape, np.nan)
    total = np.zeros(shape)
    for one, other in _halves(recording, seed):
        total += np.nan_to_num(_correlations(counts, one, other, fold, clusters))
    halves = total / SPLITS
    longer = float((several / (several // 2)).mean())
    reliability = np.where(halves > 0, spearman_brown(np.maximum(halves, 0), longer), 0.0)  # else it may pass a pole
    reliable = reliability >= LEAST_RELIABILITY
    return np.where(reliable, np.sqrt(np.where(reliable, reliability, 0.0)), np.nan)


def _halves(recording: Recording, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """Mean responses over two random halves of each image's repetitions, both (n, sites); NaN where there are none."""
    random = np.random.default_rng(seed)
    there = ~np.isnan(recording.responses)
    filled = np.where(there, recording.responses, 0.0)
    presented = there.any(axis=2)
    pairs = presented.sum(axis=0) // 2
    for _ in range(SPLITS):
        drawn = np.where(presented, random.random(presented.shape), np.inf)
        rank = drawn.argsort(axis=0).argsort(axis=0)
        masks = [((rank < 2 * pairs) & (rank % 2 == half))[..., None] & there for half in (0, 1)]
        counts = [mask.sum(axis=0) for mask in masks]
        one, other = (
            np.where(count > 0, (filled * mask).sum(axis=0) / np.maximum(count, 1), np.nan)
            for mask, count in zip(masks, counts, strict=True)
        )
        yield one, other


def _correlations(
    counts: Floats, one: Floats, other: Floats, fold: NDArray[np.int64], clusters: NDArray[np.int64]
) -> Floats:
    """Correlation over the images of each fold, averaged over folds.

    Parameters
    ----------
    counts
        How often each cluster of images is taken, shape (resamples, clusters).
    one, other
        Two values of each image and site, shape (n, sites); NaN where one is unknown.
    fold, clusters
        Fold and cluster of each image, shape (n,).

    Returns
    -------
    numpy.ndarray, shape (resamples, sites)
        A fold in which `one` is constant counts as 0; one in which `other` is constant is left out.
    """
    total, defined = np.zeros((len(counts), one.shape[1])), np.zeros((len(counts), one.shape[1]))
    for number in np.unique(fold):
        here = np.flatnonzero(fold == number)
        weights = counts[:, clusters[here]]
        known = ~(np.isnan(one[here]) | np.isnan(other[here]))
        x, y = (_standardised(each[here], known) for each in (one, other))
        size, of_x, of_y, of_xx, of_yy, of_xy = (
            weights @ each for each in (known.astype(np.float64), x, y, x * x, y * y, x * y)
        )
        size = np.maximum(size, 1e-300)
        both = of_xy - of_x * of_y / size
        spread_x, spread_y = of_xx - of_x**2 / size, of_yy - of_y**2 / size
        varies_x, varies_y = spread_x > _ROUNDING * size, spread_y > _ROUNDING * size
        norm = np.sqrt(np.where(varies_x & varies_y, spread_x * spread_y, 1.0))
        total += np.where(varies_x & varies_y, both / norm, 0.0)
        defined += varies_y
    return np.where(defined > 0, total / np.maximum(defined, 1), np.nan)


_ROUNDING = 1e-10
"""Variance below which standardised values count as constant."""


def _standardised(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Values of mean 0 and variance 1 over the known images, 0 elsewhere: sums of squares then lose no digits."""
    count = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, values, 0.0)
    centred = np.where(known, centred - centred.sum(axis=0) / count, 0.0)
    spread = np.sqrt(np.square(centred).sum(axis=0) / count)
    least = _ROUNDING * np.abs(np.where(known, values, 0.0)).max(axis=0, initial=0.0)
    return np.where(spread > least, centred / np.where(spread > 0, spread, 1.0), 0.0)


def _median(values: Floats) -> Floats:
    """Median of each row over what is defined; NaN where nothing is."""
    masked = np.ma.masked_invalid(values)
    return np.asarray(np.ma.median(masked, axis=1).filled(np.nan), np.float64)
