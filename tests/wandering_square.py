"""Frames of which it is known what can be learned from them."""

from __future__ import annotations

import numpy as np

from lcd.pretraining.frames import GameFrames


def wandering_square(size, *, steps=128, seed=0, obedient=True, anywhere=True, side=64):
    """A square on grey that an action moves by its size right, left, down or up, or that jumps; edges wrap around.

    At first it lies anywhere, or on a raster of its size.
    """
    random = np.random.default_rng(seed)
    games, raster = 16, 1 if anywhere else size
    actions = random.integers(4, size=(steps, games))
    corners = random.integers(side // raster, size=(steps + 1, games, 2)) * raster
    if obedient:
        corners[1:] = size * np.array([[0, 1], [0, -1], [1, 0], [-1, 0]])[actions]
        corners = corners.cumsum(axis=0) % side
    rows, columns = ((np.arange(side) - corners[..., axis, None]) % side < size for axis in (0, 1))
    there = rows[..., :, None] & columns[..., None, :]
    frames = np.where(there[..., None], np.uint8(250), np.uint8(60)).repeat(3, axis=-1)
    return GameFrames(frames, np.where(there, 5, 0).astype(np.uint8), actions, np.ones((steps, games), np.bool_))
