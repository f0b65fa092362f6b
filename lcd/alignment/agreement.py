"""Agreement of importance maps with a reference, and its ceiling: the agreement among the people behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Measure = Callable[[Floats, Floats], float]

IMPORTANT = 10.0
"""Percentage of the pixels that count as important for Dice and IoU."""

CLICKME_CEILING = 0.65753
"""Mean Spearman correlation between people's maps in ClickMe, by which the published scores are divided."""


def spearman(one: Floats, other: Floats) -> float:
    """Spearman's rank correlation over the pixels of two maps; NaN if one of them is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(stats.spearmanr(one, other, axis=None).statistic)


def dice(one: Floats, other: Floats) -> float:
    """Dice's coefficient of the most important tenths of two maps; NaN if one of them is constant."""
    both, either, size = _overlap(one, other)
    return 2 * both / size if either else float("nan")


def iou(one: Floats, other: Floats) -> float:
    """Intersection over union of the most important tenths of two maps; NaN if one of them is constant."""
    both, either, _ = _overlap(one, other)
    return both / either if either else float("nan")


def _overlap(one: Floats, other: Floats) -> tuple[int, int, int]:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0, 0, 0
    first, second = _important(one), _important(other)
    return int((first & second).sum()), int((first | second).sum()), int(first.sum() + second.sum())


def _important(map_: Floats) -> NDArray[np.bool_]:
    """The most important tenth of the pixels, or all with the highest value where these are more."""
    threshold = np.percentile(map_, 100 - IMPORTANT)
    return map_ > threshold if threshold < map_.max() else map_ == threshold


MEASURES: Mapping[str, Measure] = MappingProxyType({"spearman": spearman, "dice": dice, "iou": iou})
"""Measures of agreement between two maps of one shape, by name; 1 for equal maps."""


@dataclass(frozen=True)
class Agreement:
    """Mean agreement over images.

    Attributes
    ----------
    mean, low, high : float
        Mean over the images where it is defined, with 95 % t limits over groups of images; NaN where there are too few.
    images, undefined : int
        Number of images, and of those with a constant map, for which it is undefined.
    """

    mean: float
    low: float
    high: float
    images: int
    undefined: int

    @classmethod
    def of(cls, values: ArrayLike, groups: ArrayLike | None = None) -> Agreement:
        """Summarise the agreement of each image.

        Parameters
        ----------
        values : array_like, shape (n,)
            NaN where it is undefined.
        groups : array_like, shape (n,), optional
            Images with the same number form a cluster of dependent observations; by default all are independent. The
            standard error is cluster-robust (Liang and Zeger, 1986, *Biometrika* 73).
        """
        every = np.asarray(values, dtype=np.float64)
        defined = ~np.isnan(every)
        known = every[defined]
        mean = float(known.mean()) if len(known) else float("nan")
        numbers = np.arange(len(every)) if groups is None else np.asarray(groups)
        _, place = np.unique(numbers[defined], return_inverse=True)
        deviations = np.bincount(place, known - mean)
        count, half = len(deviations), float("nan")
        if count > 1:
            error = np.sqrt(count / (count - 1) * np.square(deviations).sum()) / len(known)
            half = float(stats.t.ppf(0.975, count - 1) * error)
        return cls(mean, mean - half, mean + half, len(every), len(every) - len(known))


def agreement(maps: ArrayLike, references: ArrayLike, measure: str = "spearman") -> Floats:
    """Agreement of each map with its reference.

    Parameters
    ----------
    maps, references : array_like, shape (n, height, width)
    measure : str
        One of `MEASURES`.

    Returns
    -------
    numpy.ndarray, shape (n,)
        NaN where a map is constant.

    Raises
    ------
    ValueError
        If the shapes differ, a value is not finite, or there is no such measure.
    """
    one, other = (np.asarray(array, dtype=np.float64) for array in (maps, references))
    if one.shape != other.shape or one.ndim != 3:
        raise ValueError(f"Maps of shape {one.shape} cannot be compared with references of shape {other.shape}.")
    for name, array in (("map", one), ("reference", other)):
        if not np.isfinite(array).all():
            raise ValueError(f"A {name} holds a value that is not finite: leave its image out.")
    if measure not in MEASURES:
        raise ValueError(f"Unknown measure {measure!r}: choose one of {', '.join(MEASURES)}.")
    return np.array([MEASURES[measure](a, b) for a, b in zip(one, other, strict=True)])


def ceiling(sources: ArrayLike, measure: str = "spearman", *, splits: int = 20, seed: int = 0) -> Floats:
    """Split-half agreement among the people, or other sources, behind a reference.

    Sources are split into random halves; the agreement of the halves' mean maps is averaged over splits. Half as many
    sources agree less than all would, so the ceiling is rather too low than too high.

    Parameters
    ----------
    sources : array_like, shape (n, sources, height, width)
        The map of each source for each image, at least two.
    measure : str
        One of `MEASURES`.
    splits, seed : int
        Number of splits, and their seed.

    Returns
    -------
    numpy.ndarray, shape (n,)
        Over the splits whose halves both have a map that is not constant; NaN where none has.
    """
    maps = np.asarray(sources, dtype=np.float64)
    if maps.ndim != 4 or maps.shape[1] < 2:
        raise ValueError(f"A ceiling needs the maps of two sources or more for each image, not shape {maps.shape}.")
    random = np.random.default_rng(seed)
    found = []
    for _ in range(splits):
        order = random.permutation(maps.shape[1])
        half = len(order) // 2
        halves = (maps[:, order[:half]].mean(axis=1), maps[:, order[half : 2 * half]].mean(axis=1))
        found.append(agreement(*halves, measure))
    known = np.isfinite(found)
    return np.where(known, found, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)


def agreement_table(
    maps: Mapping[str, ArrayLike],
    references: ArrayLike,
    ceilings: Mapping[str, float] | None = None,
    groups: ArrayLike | None = None,
) -> pd.DataFrame:
    """Agreement of several attribution methods with one reference.

    Parameters
    ----------
    maps : mapping of str to array_like, shape (n, height, width)
        Maps by the name of the method.
    references : array_like, shape (n, height, width)
    ceilings : mapping of str to float, optional
        Agreement among the sources of the reference, by measure.
    groups : array_like, shape (n,), optional
        Clusters of dependent images, see `Agreement.of`.

    Returns
    -------
    pandas.DataFrame
        One row a (method, measure): mean, low, high (95 %), images, undefined, and share, the mean divided by the
        ceiling (NaN without a ceiling above 0).
    """
    rows = []
    for method, found in maps.items():
        for measure in MEASURES:
            summary = Agreement.of(agreement(found, references, measure), groups)
            highest = (ceilings or {}).get(measure, 0.0)
            share = summary.mean / highest if highest > 0 else float("nan")
            rows.append(
                (method, measure, summary.mean, summary.low, summary.high, summary.images, summary.undefined, share)
            )
    columns = ["method", "measure", "mean", "low", "high", "images", "undefined", "share"]
    return pd.DataFrame(rows, columns=columns)
