"""False colours for label maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NUM_COLOURS = 64
_STEP = 29  # between the codes of neighbouring labels, as Procgen's color_for_type has it


def colour_of_code(code: int) -> tuple[int, int, int]:
    """Red, green and blue of a number, taken modulo `NUM_COLOURS`: four levels of each."""
    code %= NUM_COLOURS
    return 64 * (code // 16 + 1) - 1, 64 * (code // 4 % 4 + 1) - 1, 64 * (code % 4 + 1) - 1


_PALETTE = np.array([(0, 0, 0), *(colour_of_code(_STEP * label) for label in range(1, 256))], np.uint8)


def paint(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """False colours for label maps: black for label 0, and Procgen's own monochrome colours for others.

    Parameters
    ----------
    labels : numpy.ndarray, shape (..., height, width), uint8

    Returns
    -------
    numpy.ndarray, shape (..., height, width, 3), uint8
    """
    return _PALETTE[labels]
