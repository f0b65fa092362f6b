"""The demands of a game: the Shapley decomposition of the gap between no help and perfect help.

Four cells are trained, ``a`` without help, ``b`` with perception solved, ``c`` with policy learning solved, ``d`` with
both. Every quantity here is a linear contrast of the four, which is what :mod:`lcd.intervals` builds on.

References
----------
Shapley, L. S. (1953), "A value for n-person games", Contributions to the Theory of Games II: with two players, a
player's value is its marginal contribution averaged over the two orders of joining. Its use here is this project's own
(measurement model, "The demands").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Demands(NamedTuple):
    """The five quantities of one decomposition, in units of the normalised score.

    Attributes
    ----------
    perceptual, policy, gap, interaction, headroom : numpy.ndarray
        All of the shape to which the four cell scores broadcast; ``perceptual + policy == gap``.
    """

    perceptual: Floats
    policy: Floats
    gap: Floats
    interaction: Floats
    headroom: Floats


@dataclass(frozen=True)
class Contrast:
    """A quantity as ``offset + weights · (a, b, c, d)``.

    Attributes
    ----------
    weights : tuple of float
        One weight a cell, in the order ``(pixels, rl), (semantic, rl), (pixels, imitation), (semantic, imitation)``.
    offset : float
        Constant term, in units of the normalised score.
    """

    weights: tuple[float, float, float, float]
    offset: float = 0.0


CONTRASTS: Mapping[str, Contrast] = MappingProxyType(
    {
        "perceptual": Contrast((-0.5, 0.5, -0.5, 0.5)),
        "policy": Contrast((-0.5, -0.5, 0.5, 0.5)),
        "gap": Contrast((-1.0, 0.0, 0.0, 1.0)),
        "interaction": Contrast((1.0, -1.0, -1.0, 1.0)),
        "headroom": Contrast((0.0, 0.0, 0.0, -1.0), offset=1.0),
    }
)
"""The five reported quantities as contrasts of the four cells."""

DIFFERENCE = Contrast((0.0, 1.0, -1.0, 0.0))
"""Perceptual minus policy demand; a and d cancel, so which is larger rests on b and c alone."""


def shapley_demands(a: ArrayLike, b: ArrayLike, c: ArrayLike, d: ArrayLike) -> Demands:
    """Split the gap between the unhelped and the fully helped learner into its two demands.

    ``P = ½[(b − a) + (d − c)]``, ``L = ½[(c − a) + (d − b)]``, ``G = d − a = P + L``, ``I = d − b − c + a`` and
    headroom ``1 − d`` (measurement model, "The demands").

    Parameters
    ----------
    a, b, c, d : array_like
        Normalised scores of (pixels, rl), (semantic, rl), (pixels, imitation) and (semantic, imitation). Any shapes
        that broadcast together.

    Returns
    -------
    Demands
        Arrays of the broadcast shape, in units of the normalised score.

    Raises
    ------
    ValueError
        If the four shapes do not broadcast.

    Examples
    --------
    >>> result = shapley_demands(a=0.1, b=0.5, c=0.2, d=0.7)
    >>> round(float(result.perceptual), 3), round(float(result.policy), 3)
    (0.45, 0.15)
    """
    cells: list[Floats] = [np.asarray(cell, dtype=np.float64) for cell in (a, b, c, d)]
    none, view, teacher, both = np.broadcast_arrays(*cells)
    return Demands(
        perceptual=((view - none) + (both - teacher)) / 2,
        policy=((teacher - none) + (both - view)) / 2,
        gap=both - none,
        interaction=both - view - teacher + none,
        headroom=1.0 - both,
    )
