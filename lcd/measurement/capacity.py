"""Policy information capacity: how much of the return the choice of a policy decides, without training any."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

BINS = 100
"""Bins between the least and the largest return."""


SHUFFLES = 50
"""Times that the returns are dealt out anew to the policies, to know the bias."""


def information_capacity(returns: ArrayLike, bins: int = BINS, seed: int = 0) -> float:
    """Mutual information of policies and returns, ``H(R) − E[H(R | θ)]``, in bits.

    Returns are counted in bins of equal width. From few episodes the information is overestimated, the more the finer
    the returns are, so what remains of it where the same returns are dealt out to the policies at random is
    subtracted: policies that differ in nothing have a capacity near 0, which may be slightly negative. Where policies
    decide the return altogether nothing is overestimated, and the capacity is too low by as much.

    Parameters
    ----------
    returns : array_like, shape (policies, episodes)
        Returns of the episodes of each policy, which is drawn at random.
    bins : int
        Number of bins.
    seed : int
        Of the dealing out.

    Returns
    -------
    float
        0 where all returns are the same.

    Raises
    ------
    ValueError
        If there are fewer than two policies or episodes, or a return is not finite.

    References
    ----------
    Furuta, H. et al. (2021), "Policy Information Capacity: Information-Theoretic Measure for Task Complexity in Deep
    Reinforcement Learning", arXiv:2103.12726.

    Examples
    --------
    >>> round(information_capacity([[0.0] * 50, [1.0] * 50]), 3)
    0.99
    """
    values = np.asarray(returns, np.float64)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(f"The capacity needs two policies and episodes of each, not returns of shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError("A return of a random policy is not finite: correct the game's rewards.")
    least, most = values.min(), values.max()
    if least == most:
        return 0.0
    places = np.minimum(((values - least) / (most - least) * bins).astype(np.int64), bins - 1)
    draw = np.random.default_rng(seed)
    dealt = [draw.permutation(places.ravel()).reshape(places.shape) for _ in range(SHUFFLES)]
    return _information(places, bins) - float(np.mean([_information(each, bins) for each in dealt]))


def _information(places: NDArray[np.int64], bins: int) -> float:
    """Mutual information of the rows and what is in them, in bits, of the counts as they are."""
    counts = np.stack([np.bincount(row, minlength=bins) for row in places])
    return float(stats.entropy(counts.sum(axis=0), base=2) - stats.entropy(counts, base=2, axis=1).mean())
