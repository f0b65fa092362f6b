"""Invariance of features to the appearance of a state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_chunked

from lcd.alignment.importance import AT_ONCE
from lcd.envs import GameOptions, make_vec_env
from lcd.envs.family import random_actions

Features = Callable[[torch.Tensor], torch.Tensor]
"""From frames, shape (n, 3, height, width), uint8, to features, shape (n, features)."""


@dataclass(frozen=True)
class Invariance:
    """Invariance of features between two appearances of the same states.

    States that look the same in both appearances are left out.

    Attributes
    ----------
    found : float
        Share of the states whose nearest neighbour, among all states in the first appearance, is the state itself; NaN
        if all states look the same.
    chance : float
        Chance level of `found`.
    ratio : float
        Mean distance between two appearances of a state, divided by that between different states; 0 is perfect. NaN if
        all states have the same features, or look the same.
    states : int
        Number of states whose two appearances differ.
    """

    found: float
    chance: float
    ratio: float
    states: int


def redrawn_frames(
    options: GameOptions,
    appearances: Mapping[str, GameOptions],
    count: int,
    *,
    num_envs: int = 16,
    every: int = 8,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Render the same states in several appearances.

    Parameters
    ----------
    options : GameOptions
        The game in its usual appearance, which is the first one.
    appearances : mapping of str to GameOptions
        The same game in other appearances, by name, see `lcd.envs.family.GameFamily.appearances`.
    count : int
        Number of states.
    num_envs, every, seed : int
        Parallel games, steps between two states of a game, and seed of levels and actions.

    Returns
    -------
    numpy.ndarray, shape (1 + appearances, count, height, width, 3), uint8

    Raises
    ------
    ValueError
        If an appearance changes the game's dynamics.
    """
    envs = [make_vec_env(each, num_envs, "pixels", seed) for each in (options, *appearances.values())]
    random = np.random.default_rng(seed)
    frames: list[NDArray[np.uint8]] = []
    try:
        for env in envs:
            env.reset()
        while len(frames) * num_envs < count:
            for _ in range(every):
                actions = random_actions(options, random, num_envs)
                observed, rewards, ended, _ = zip(*(env.step(actions) for env in envs), strict=True)
                for number, name in enumerate(appearances, start=1):
                    same = np.array_equal(rewards[number], rewards[0]) and np.array_equal(ended[number], ended[0])
                    if not same:
                        raise ValueError(f"The appearance {name} changes the dynamics of {options.game}: leave it out.")
            frames.append(np.stack(observed))
    finally:
        for env in envs:
            env.close()
    return np.concatenate(frames, axis=1)[:, :count]


@torch.no_grad()
def invariance(features: Features, frames: NDArray[np.uint8]) -> list[Invariance]:
    """Compare the features of each appearance with those of the first.

    Parameters
    ----------
    features : callable
        See `Features`.
    frames : numpy.ndarray, shape (appearances, n, height, width, 3), uint8
        Result of `redrawn_frames`.

    Returns
    -------
    list of Invariance
        One for each appearance but the first.
    """
    found = [
        torch.cat([features(part).float().flatten(1) for part in images.split(AT_ONCE)]).numpy()
        for images in (torch.from_numpy(each).permute(0, 3, 1, 2) for each in frames)
    ]
    first = found[0]
    pairs = len(first) * (len(first) - 1)
    away = sum(float(each.sum()) for each in pairwise_distances_chunked(first)) / pairs if pairs else 0.0
    results = []
    for drawn, other in zip(frames[1:], found[1:], strict=True):
        redrawn = (drawn != frames[0]).any(axis=(1, 2, 3))
        if not redrawn.any():
            results.append(Invariance(float("nan"), 1 / len(first), float("nan"), 0))
            continue
        places = np.flatnonzero(redrawn)
        own, nearer, alike = (np.concatenate(each) for each in zip(*_ranks(other[redrawn], first, places), strict=True))
        share = float(np.mean((nearer == 0) / alike))  # ties, as of constant features, count at the chance level
        ratio = float(own.mean() / away) if away > 0 else float("nan")
        results.append(Invariance(share, 1 / len(first), ratio, len(own)))
    return results


def _ranks(
    features: NDArray[np.float32], first: NDArray[np.float32], places: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.floating], NDArray[np.intp], NDArray[np.intp]]]:
    """Distance of each row to its own among `first`, and how many of those are nearer, or as near, a part at a time."""
    start = 0
    for distances in pairwise_distances_chunked(features, first):
        own = distances[np.arange(len(distances)), places[start : start + len(distances)]]
        yield own, (distances < own[:, None]).sum(axis=1), (distances <= own[:, None]).sum(axis=1)
        start += len(distances)
