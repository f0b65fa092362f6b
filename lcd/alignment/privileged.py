"""Privileged reference maps from a game's own state: agent, goals and hazards. Never human."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lcd.alignment.references import ReferenceMaps
from lcd.envs import ProcgenBatch, ProcgenOptions, class_names
from lcd.envs.procgen.actions import NUM_ACTIONS
from lcd.envs.procgen.games import SCENERY

DEVIATION = 2.0
"""Standard deviation of the blur in pixels, about the precision of a human map."""


def diagnostic_labels(game: str) -> dict[int, str]:
    """Task-relevant labels of a game with their names: all but empty space and scenery."""
    return {
        label: name for label, name in class_names(game).items() if label and name.rstrip(" 0123456789") not in SCENERY
    }


def privileged_maps(labels: NDArray[np.uint8], game: str) -> NDArray[np.float32]:
    """Importance maps from the game's own state.

    Parameters
    ----------
    labels : numpy.ndarray, shape (n, height, width), uint8
        Label maps.
    game : str
        The game.

    Returns
    -------
    numpy.ndarray, shape (n, height, width), float32
        Blurred; every diagnostic class of a map has the same sum, whatever its size.
    """
    found = np.zeros(labels.shape, np.float32)
    for label in diagnostic_labels(game):
        here = labels == label
        count = here.sum(axis=(1, 2), keepdims=True)
        found += here / np.maximum(count, 1)
    return gaussian_filter(found, (0, DEVIATION, DEVIATION))


def collect_references(
    options: ProcgenOptions, count: int, *, num_envs: int = 16, every: int = 8, seed: int = 0
) -> ReferenceMaps:
    """Collect frames of a random agent with privileged maps; frames of one game instance are a cluster.

    Parameters
    ----------
    options : ProcgenOptions
        The game and its levels.
    count : int
        Number of frames.
    num_envs, every : int
        Parallel games, and steps between two collected frames of a game.
    seed : int
        Seed of levels and actions.
    """
    batch = ProcgenBatch(options, num_envs, "both", seed)
    random = np.random.default_rng(seed)
    frames: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.uint8]] = []
    try:
        while len(frames) * num_envs < count:
            for _ in range(every):
                batch.step(random.integers(NUM_ACTIONS, size=num_envs).astype(np.int32))
            observed = batch.observe()
            assert isinstance(observed, dict)
            frames.append(observed["pixels"].copy())
            labels.append(observed["semantic"].copy())
    finally:
        batch.close()
    maps = privileged_maps(np.concatenate(labels)[:count], options.game)
    games = np.tile(np.arange(num_envs), len(frames))[:count]
    return ReferenceMaps(np.concatenate(frames)[:count], maps, "privileged", groups=games)
