"""Ray casting of scenes into frames and label maps."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lcd.alignment.scenes.geometry import observed, observer_axes
from lcd.alignment.scenes.sampling import FIELD_OF_VIEW
from lcd.alignment.scenes.scenes import BALL, FIGURE, LENS_PLACE, LENS_SIZE, Scenes

Singles = NDArray[np.float32]

LABELS = {"ground": 0, "ball": 1, "occluder": 2, "figure": 3}
"""Labels of the label maps."""

COLOURS = np.array(
    [[0.80, 0.72, 0.58], [0.95, 0.15, 0.10], [0.15, 0.30, 0.95], [0.10, 0.80, 0.25], [0.10, 0.10, 0.10]], np.float32
)
"""Red, green and blue of the ground, ball, occluder, figure and lens, from 0 to 1."""

AMBIENT = 0.4
"""Share of the light that comes from everywhere, which shadows keep."""

FADING = 9.0
"""Distance in metres over which the chequers fade to the ground's mean: farther ones are smaller than pixels."""

_AT_ONCE = 16
"""Scenes that are rendered together: what they take fits into the processor's cache."""

_LABEL_OF = np.array([0, 1, 2, 3, 3], dtype=np.uint8)


def render(scenes: Scenes, size: tuple[int, int] = (64, 64)) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render scenes as the observer sees them.

    One ray a pixel. Objects are lit from straight above (Lambert's law with ambient light) and cast shadows on the
    ground, none on each other.

    Parameters
    ----------
    scenes : Scenes
        The scenes.
    size : tuple of int
        Height and width in pixels.

    Returns
    -------
    frames : numpy.ndarray, shape (n, height, width, 3), uint8
    labels : numpy.ndarray, shape (n, height, width), uint8
        What each pixel shows, see `LABELS`; shadows are ground.

    Raises
    ------
    ValueError
        If a side is smaller than 16 pixels.
    """
    if min(size) < 16:
        raise ValueError(f"A picture of {size[0]} x {size[1]} pixels shows no objects: 16 x 16 is the smallest.")
    frames = np.empty((len(scenes), size[0] * size[1], 3), dtype=np.uint8)
    labels = np.empty((len(scenes), size[0] * size[1]), dtype=np.uint8)
    for first in range(0, len(scenes), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        frames[part], labels[part] = _rendered(scenes[part], size)
    return frames.reshape(-1, *size, 3), labels.reshape(-1, *size)


@lru_cache(maxsize=4)
def _rays(size: tuple[int, int]) -> Singles:
    """Unit directions of the pixels' rays in the observer's coordinates, shape (3, pixels)."""
    pixel = 2 * np.tan(FIELD_OF_VIEW / 2) / min(size)
    up, right = ((np.arange(side) - (side - 1) / 2) * pixel for side in size)
    rays = np.stack(np.broadcast_arrays(right[None, :], -up[:, None], 1.0), axis=0).reshape(3, -1)
    return (rays / np.linalg.norm(rays, axis=0)).astype(np.float32)


def _rendered(scenes: Scenes, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rays = _rays(size)
    spheres, radii = _spheres(scenes)
    right, ahead, up = observer_axes(scenes).transpose(2, 0, 1).astype(np.float32)  # the world's axes, observer's words
    rising = up @ rays  # (n, pixels)
    ground = -scenes.eye_height.astype(np.float32)[:, None] / rising  # distance at which a ray meets it
    shade, nearest = _ground(scenes, ground, right @ rays, ahead @ rays), ground.copy()
    shown = np.zeros(ground.shape, dtype=np.uint8)
    heights = (up[:, None] * spheres).sum(axis=2)
    for place in range(spheres.shape[1]):
        along = spheres[:, place] @ rays
        power = (spheres[:, place] ** 2).sum(axis=1) - radii[:, place] ** 2
        inside = along**2 - power[:, None]
        scene, pixel = np.nonzero((inside > 0) & (along > 0))
        met = along[scene, pixel] - np.sqrt(inside[scene, pixel])
        first = met < nearest[scene, pixel]
        scene, pixel, met = scene[first], pixel[first], met[first]
        upwards = (met * rising[scene, pixel] - heights[scene, place]) / radii[scene, place]  # of the unit normal
        nearest[scene, pixel], shown[scene, pixel] = met, place + 1
        shade[scene, pixel] = AMBIENT + (1 - AMBIENT) * np.maximum(upwards, 0)
    frames = (shade[..., None] * (255 * COLOURS[0])).astype(np.uint8)
    scene, pixel = np.nonzero(shown)
    part = shown[scene, pixel]
    brightness = np.concatenate([scenes.brightness, np.ones((len(scenes), 1))], axis=1).astype(np.float32)
    lit = 255 * brightness[scene, part - 1] * shade[scene, pixel]
    frames[scene, pixel] = (lit[:, None] * COLOURS[part]).astype(np.uint8)
    return frames, _LABEL_OF[shown]


def _spheres(scenes: Scenes) -> tuple[Singles, Singles]:
    """Centres in the observer's coordinates, shape (n, 4, 3), and radii, shape (n, 4), of the objects and the lens."""
    centres = observed(scenes)
    towards = centres[:, BALL] - centres[:, FIGURE]
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    lens = centres[:, FIGURE] + LENS_PLACE * scenes.radii[:, [FIGURE]] * towards
    radii = np.concatenate([scenes.radii, LENS_SIZE * scenes.radii[:, [FIGURE]]], axis=1)
    return np.concatenate([centres, lens[:, None]], axis=1).astype(np.float32), radii.astype(np.float32)


def _ground(scenes: Scenes, away: Singles, aside: Singles, forward: Singles) -> Singles:
    """Brightness of the ground where rays meet it: chequers and shadows.

    Parameters
    ----------
    scenes
        The scenes.
    away
        Distance at which each ray meets the ground, shape (n, pixels).
    aside, forward
        Share of each ray's unit direction to the right and forward along the ground, shape (n, pixels).
    """
    across, along = away * aside, away * forward
    level, contrast, side, *shifts = scenes.ground.astype(np.float32).T[..., None]
    squares = np.floor(across / side + shifts[0]) + np.floor(along / side + shifts[1])
    fading = contrast * np.exp(-((away / FADING) ** 2))
    shade = level + fading * (1 - 2 * (squares.astype(np.int32) & 1))
    for place, radii in enumerate(scenes.radii.T):
        x, y = scenes.centres[:, place, :2].astype(np.float32).T[..., None]
        within = (across - x) ** 2 + (along - y) ** 2 < (radii.astype(np.float32) ** 2)[:, None]
        shade[within] *= AMBIENT
    return np.clip(shade, 0, 1)
