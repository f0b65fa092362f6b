"""Counter-based random numbers: a function of the level and of their purpose alone, for many games at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def uniform(*keys: ArrayLike) -> NDArray[np.float64]:
    """Uniform random numbers below 1, one for each combination of keys, always the same for the same keys.

    Parameters
    ----------
    *keys : array_like of int, of shapes that go together
        What the numbers are for, such as level, time and purpose.

    Returns
    -------
    numpy.ndarray of float64, of the keys' common shape

    Notes
    -----
    The keys pass the mixing function of SplitMix64 (Steele, Lea and Flood, 2014) one after the other.
    """
    with np.errstate(over="ignore"):
        state = np.zeros(np.broadcast_shapes(*(np.shape(key) for key in keys)), np.uint64)
        for key in keys:
            state = _mixed(state + np.asarray(key).astype(np.uint64))
    return (state >> np.uint64(11)) * 2.0**-53


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
