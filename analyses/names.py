"""Labels of points, placed to overlap other points and labels least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

_SIDES = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
_PLACES = [(reach * x, reach * y) for reach in (7, 13) for x, y in _SIDES]  # printer's points right and up

_POINT = 4.0
"""Radius of a point's marker in pixels."""

_WIDTH, _HEIGHT = 0.64, 1.06
"""Of a letter, as shares of the font's size."""


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    low: float
    right: float
    high: float

    def overlap(self, other: Box) -> float:
        """Area of the intersection of two boxes."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.high, other.high) - max(self.low, other.low)
        return max(0.0, width) * max(0.0, height)

    @property
    def area(self) -> float:
        """Its area."""
        return (self.right - self.left) * (self.high - self.low)


def write_names(
    axes: Axes,
    points: NDArray[np.float64],
    names: Sequence[str],
    *,
    size: float,
    crowded: float = np.inf,
    styles: Sequence[dict[str, Any]] | None = None,
) -> None:
    """Write a name beside each point.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Its limits are set.
    points : numpy.ndarray, shape (n, 2)
        In the units of the axes.
    names : sequence of str
        A name for each.
    size : float
        Of the font, in printer's points.
    crowded : float
        Names of which a larger share would lie on others or on points are left out; by default none.
    styles : sequence of dict, optional
        Further properties of each text.
    """
    scale = axes.figure.dpi / 72
    pixels = axes.transData.transform(points).tolist()
    taken = [Box(x - _POINT, y - _POINT, x + _POINT, y + _POINT) for x, y in pixels]
    for number, ((x, y), name) in enumerate(zip(pixels, names, strict=True)):
        width, height = _WIDTH * size * scale * len(name), _HEIGHT * size * scale
        boxes = {place: _beside(x, y, place, width, height, scale) for place in _PLACES}
        covered = {place: sum(box.overlap(other) for other in taken) for place, box in boxes.items()}
        right, up = best = min(_PLACES, key=lambda place: covered[place])
        if covered[best] > crowded * boxes[best].area:
            continue
        taken.append(boxes[best])
        axes.annotate(
            name, tuple(points[number]), best, textcoords="offset points", fontsize=size,
            ha="left" if right > 0 else "right" if right < 0 else "center",
            va="bottom" if up > 0 else "top" if up < 0 else "center",
            **({} if styles is None else styles[number]),
        )  # fmt: skip


def _beside(x: float, y: float, place: tuple[int, int], width: float, height: float, scale: float) -> Box:
    """Box of a label of a given size."""
    left = x + place[0] * scale - (width if place[0] < 0 else width / 2 if place[0] == 0 else 0)
    low = y + place[1] * scale - (height if place[1] < 0 else height / 2 if place[1] == 0 else 0)
    return Box(left, low, left + width, low + height)
