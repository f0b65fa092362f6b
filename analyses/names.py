"""Labels of points that avoid each other and the points, by textalloc.

Textalloc places them one after the other, so that figures are reproducible; adjustText moves them until its time is up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import textalloc
from matplotlib.axes import Axes
from matplotlib.text import Text
from numpy.typing import NDArray


def write_names(
    axes: Axes,
    points: NDArray[np.float64],
    names: Sequence[str],
    *,
    size: float,
    all_names: bool = True,
    styles: Sequence[dict[str, Any]] | None = None,
) -> None:
    """Write a name near each point, with a line from one to the other.

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
    all_names : bool
        Whether names without room are written over others; else they are left out.
    styles : sequence of dict, optional
        Further properties of each text.
    """
    x, y = points.T
    texts = textalloc.allocate(
        axes, x, y, list(names), x_scatter=x, y_scatter=y, textsize=size, max_distance=0.1, margin=0.006,
        linecolor="0.4", linewidth=0.5, draw_all=all_names,
    )[2]  # fmt: skip
    for text, style in zip(texts, styles or (), strict=False):
        if isinstance(text, Text):  # not left out
            text.set(**style)
