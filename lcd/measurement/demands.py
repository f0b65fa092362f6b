"""The demands of a game: perceptual, policy-learning and joint, as contrasts of the four cells.

Four cells are trained: ``a`` with neither solved, ``b`` with perception solved, ``c`` with policy learning solved,
``d`` with both. The perceptual demand is the cost of perception where policy learning is solved; the policy-learning
demand is the cost of policy learning where perception is solved. The rest of the gap, the joint demand, is the cost of
learning both at once. Every quantity here is a linear contrast of the four cells, which is what
:mod:`lcd.measurement.intervals` builds on.

In the terms of experimental design the two demands are simple effects, each at the level of the other factor where it
is solved, and the joint demand is minus the interaction. `docs/method.md` says why calibration ruled out the Shapley
values, which halve the interaction.
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
    """Quantities of one decomposition, in units of the normalised score.

    Attributes
    ----------
    perceptual, policy, joint, gap, headroom, perceptual_gain, policy_gain : numpy.ndarray
        All of the shape to which the four cell scores broadcast. ``perceptual + policy + joint == gap``; the gains are
        the effects of solving one with the other unsolved, ``perceptual + joint`` and ``policy + joint``.
    """

    perceptual: Floats
    policy: Floats
    joint: Floats
    gap: Floats
    headroom: Floats
    perceptual_gain: Floats
    policy_gain: Floats


@dataclass(frozen=True)
class Contrast:
    """Linear contrast of the four cells: ``offset + weights · (a, b, c, d)``.

    Attributes
    ----------
    weights : tuple of float
        One weight a cell, in the order ``(pixels, rl), (semantic, rl), (pixels, imitation), (semantic, imitation)``;
        for two diagnoses those of the first, then those of the second.
    offset : float
        Constant term, in units of the normalised score.
    """

    weights: tuple[float, ...]
    offset: float = 0.0


CONTRASTS: Mapping[str, Contrast] = MappingProxyType(
    {
        "perceptual": Contrast((0.0, 0.0, -1.0, 1.0)),
        "policy": Contrast((0.0, -1.0, 0.0, 1.0)),
        "joint": Contrast((-1.0, 1.0, 1.0, -1.0)),
        "gap": Contrast((-1.0, 0.0, 0.0, 1.0)),
        "headroom": Contrast((0.0, 0.0, 0.0, -1.0), offset=1.0),
        "perceptual_gain": Contrast((-1.0, 1.0, 0.0, 0.0)),
        "policy_gain": Contrast((-1.0, 0.0, 1.0, 0.0)),
    }
)
"""The reported quantities as contrasts of the four cells."""

DIFFERENCE = Contrast((0.0, 1.0, -1.0, 0.0))
"""Perceptual minus policy demand; a and d cancel, so that only b and c decide which is larger."""


def demands_of(a: ArrayLike, b: ArrayLike, c: ArrayLike, d: ArrayLike) -> Demands:
    """Decompose the gap between cells a and d into the demands.

    ``P = d − c``, ``L = d − b``, ``J = b + c − a − d``, ``G = d − a = P + L + J`` and headroom ``1 − d``.

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
    >>> result = demands_of(a=0.1, b=0.5, c=0.2, d=0.7)
    >>> [round(float(value), 3) for value in (result.perceptual, result.policy, result.joint)]
    [0.5, 0.2, -0.1]
    """
    cells: list[Floats] = [np.asarray(cell, dtype=np.float64) for cell in (a, b, c, d)]
    none, view, teacher, both = np.broadcast_arrays(*cells)
    return Demands(
        perceptual=both - teacher,
        policy=both - view,
        joint=view + teacher - none - both,
        gap=both - none,
        headroom=1.0 - both,
        perceptual_gain=view - none,
        policy_gain=teacher - none,
    )
