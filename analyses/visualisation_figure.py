"""Figure of feature visualisations: a row of images for each network or kind of image, a column for each target."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

SIDE = 1.0
"""Side of an image, in inches."""

MOST_COLUMNS = 12
"""Images of a row; further ones come in another block of rows."""

PAPER = 0.5
"""Grey that shows through where an image is transparent, so that black and white parts are both seen."""


def draw_visualisations(rows: Mapping[str, Mapping[str, NDArray[np.uint8]]], title: str = "") -> Figure:
    """Draw images in rows.

    Parameters
    ----------
    rows : mapping of str to mapping of str to numpy.ndarray, shape (height, width, 3) or (height, width, 4), uint8
        Images by the row's name, then by their own, which is written above unless the row above has the same names; a
        fourth channel is their opacity.
    title : str
        Title.

    Returns
    -------
    matplotlib.figure.Figure
    """
    longest = max((len(row) for row in rows.values()), default=0)
    columns, blocks = max(1, min(longest, MOST_COLUMNS)), max(1, -(-longest // MOST_COLUMNS))
    size = (1.0 + (SIDE + 0.06) * columns, 0.35 + (SIDE + 0.25) * blocks * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(blocks * len(rows), columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    for block in range(blocks):
        above: list[str] = []
        for place, (label, row) in enumerate(rows.items()):
            line = panels[block * len(rows) + place]
            line[0].text(-0.08, 0.5, label, transform=line[0].transAxes, ha="right", va="center", fontsize=8)
            names = list(row)[block * MOST_COLUMNS : (block + 1) * MOST_COLUMNS]
            for panel, name in zip(line, names, strict=False):
                _draw(panel, row[name])
                if names != above:
                    panel.set_title(name, fontsize=6.5, pad=2)
            above = names
    if title:
        figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure


def _draw(panel: Axes, image: NDArray[np.uint8]) -> None:
    colours, opacity = image[..., :3] / 255, image[..., 3:] / 255 if image.shape[-1] == 4 else 1.0
    panel.imshow(colours * opacity + PAPER * (1 - opacity), interpolation="nearest", vmin=0, vmax=1)
