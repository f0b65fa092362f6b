"""Policy information capacity: how much of the return the choice of a policy decides, without training any."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 100
"""Bins between the least and the largest return."""


def information_capacity(returns: ArrayLike, bins: int = BINS) -> float:
    """Mutual information of policies and returns, ``H(R) − E[H(R | θ)]``, in bits.

    Returns are counted in bins of equal width. Entropies are estimated with the correction of Miller and Madow for few
    episodes, so that policies that differ in nothing have a capacity near 0; it may be slightly negative.

    Parameters
    ----------
    returns : array_like, shape (policies, episodes)
        Returns of the episodes of each policy, which is drawn at random.
    bins : int
        Number of bins.

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
    Reinforcement Learning", arXiv:2103.12726. Miller, G. (1955), "Note on the bias of information estimates".

    Examples
    --------
    >>> round(information_capacity([[0.0] * 50, [1.0] * 50]), 3)
    1.007
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
    counts = np.stack([np.bincount(row, minlength=bins) for row in places])
    return float(_entropy(counts.sum(axis=0)) - np.mean([_entropy(row) for row in counts]))


def _entropy(counts: NDArray[np.int64]) -> float:
    """Entropy of a distribution from counts, in bits, with the correction of Miller and Madow."""
    found = counts[counts > 0]
    shares = found / found.sum()
    nats = -(shares * np.log(shares)).sum() + (len(found) - 1) / (2 * found.sum())
    return float(nats / np.log(2))
