"""What answers could be guessed from without depth: places and sizes of objects in the picture, and the label map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lcd.alignment.scenes.geometry import picture, picture_clearance
from lcd.alignment.scenes.raycasting import LABELS
from lcd.alignment.scenes.scenes import Floats, Scenes

_PLACES = 9
"""Decimal places that are kept: among scenes that look alike rounding errors differ."""


def sizes(scenes: Scenes) -> Floats:
    """Radius of each object in the picture, shape (n, 3)."""
    return np.round(picture(scenes)[..., 2], _PLACES)


def positions(scenes: Scenes) -> Floats:
    """Place of each object in the picture, shape (n, 6)."""
    return np.round(picture(scenes)[..., :2].reshape(len(scenes), 6), _PLACES)


def positions_and_sizes(scenes: Scenes) -> Floats:
    """Both, and the occluder's distance in the picture from the line between figure and ball, shape (n, 10)."""
    between = np.round(picture_clearance(scenes), _PLACES)[:, None]
    return np.concatenate([positions(scenes), sizes(scenes), between], axis=1)


SHORTCUTS: Mapping[str, Callable[[Scenes], Floats]] = MappingProxyType(
    {"size": sizes, "position": positions, "position and size": positions_and_sizes}
)
"""Features of the picture that hold no depth, by name."""


def pooled_label_maps(labels: NDArray[np.uint8], side: int = 16) -> NDArray[np.float32]:
    """Share of each label in the squares of a grid over a label map, as features for a linear probe.

    Parameters
    ----------
    labels : numpy.ndarray, shape (n, height, width), uint8
        Label maps of `lcd.alignment.scenes.render`.
    side : int
        Squares in a row and in a column; rows and columns of pixels beyond a multiple of it are left out.

    Returns
    -------
    numpy.ndarray, shape (n, labels × side × side), float32
    """
    count, height, width = labels.shape
    rows, columns = height // side, width // side
    squares = labels[:, : rows * side, : columns * side].reshape(count, side, rows, side, columns)
    shares = [(squares == label).mean(axis=(2, 4), dtype=np.float32) for label in LABELS.values()]
    return np.stack(shares, axis=1).reshape(count, -1)
