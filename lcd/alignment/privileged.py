"""Privileged reference maps from a game's own state: agent, goals and hazards. Never human."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lcd.alignment.references import ReferenceMaps
from lcd.envs import GameOptions, family_of, make_vec_env
from lcd.envs.family import has_label_maps, random_actions

DEVIATION = 2.0
"""Standard deviation of the blur in pixels, about the precision of a human map."""


def privileged_maps(labels: NDArray[np.uint8], relevant: Collection[int]) -> NDArray[np.float32]:
    """Importance maps from the game's own state.

    Parameters
    ----------
    labels : numpy.ndarray, shape (n, height, width), uint8
        Label maps.
    relevant : collection of int
        Labels of what matters to play, see `lcd.envs.family.GameFamily.relevant_labels`.

    Returns
    -------
    numpy.ndarray, shape (n, height, width), float32
        Blurred; every relevant class of a map has the same sum, whatever its size.
    """
    found = np.zeros(labels.shape, np.float32)
    for label in sorted(relevant):
        here = labels == label
        count = here.sum(axis=(1, 2), keepdims=True)
        found += here / np.maximum(count, 1)
    return gaussian_filter(found, (0, DEVIATION, DEVIATION))


def collect_references(
    options: GameOptions, count: int, *, num_envs: int = 16, every: int = 8, seed: int = 0
) -> ReferenceMaps:
    """Collect frames of a random agent with privileged maps; frames of one game instance are a cluster.

    Parameters
    ----------
    options : GameOptions
        The game and its levels.
    count : int
        Number of frames.
    num_envs, every : int
        Parallel games, and steps between two collected frames of a game.
    seed : int
        Seed of levels and actions.

    Raises
    ------
    ValueError
        If the game has no label maps.
    """
    if not has_label_maps(options):
        raise ValueError(f"Privileged maps are made of label maps, and {options.game} has none.")
    env = make_vec_env(options, num_envs, "both", seed)
    random = np.random.default_rng(seed)
    frames: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.uint8]] = []
    try:
        env.reset()
        while len(frames) * num_envs < count:
            for _ in range(every):
                observed = env.step(random_actions(options, random, num_envs))[0]
            assert isinstance(observed, dict)
            frames.append(observed["pixels"].copy())
            labels.append(observed["semantic"].copy())
    finally:
        env.close()
    maps = privileged_maps(np.concatenate(labels)[:count], family_of(options).relevant_labels(options))
    games = np.tile(np.arange(num_envs), len(frames))[:count]
    return ReferenceMaps(np.concatenate(frames)[:count], maps, "privileged", groups=games)
