"""What a batch of games is: its steps, its observations, and checks of what it is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lcd.io.limits import MOST_GAMES_AT_ONCE, whole_number

Observation = np.ndarray | dict[str, np.ndarray]


def one_of(observation: Observation, index: int) -> Observation:
    """Observation of a single game of a batch."""
    if isinstance(observation, dict):
        return {name: view[index] for name, view in observation.items()}
    return observation[index]


def checked_num_envs(num_envs: int) -> int:
    """Check the number of games of a batch.

    Raises
    ------
    ValueError
        If there is none.
    """
    return whole_number("num_envs", num_envs, 1, MOST_GAMES_AT_ONCE)


def checked_actions(actions: np.ndarray, num_envs: int, number: int) -> np.ndarray:
    """Check the actions of a batch, and return them with shape (num_envs,), int32.

    Raises
    ------
    ValueError
        If they are not one valid whole number for each game.
    """
    actions = np.asarray(actions)
    whole = actions.shape == (num_envs,) and actions.dtype.kind in "iu"
    if not whole or actions.min() < 0 or actions.max() >= number:
        raise ValueError(f"The actions of {num_envs} games are as many numbers from 0 to {number - 1}, not {actions}.")
    return actions.astype(np.int32)


@dataclass(frozen=True)
class Step:
    """Result of one step of a batch of `n` games.

    Attributes
    ----------
    observations
        Present observations: where an episode ended, the first observation of the next one.
    rewards : numpy.ndarray, shape (n,), float32
    terminated, truncated : numpy.ndarray, shape (n,), bool
        Whether the game ended the episode, or the limit of its length cut it off.
    level_seeds, previous_level_seeds : numpy.ndarray, shape (n,), int
        Level of the observation, and level in which the step was made.
    level_completes : numpy.ndarray, shape (n,), bool
        Whether the step completed its level.
    final_observations
        From the index of a game to the last observation of the episode that ended, where there is one. Procgen draws
        only after it has laid out the next level, so the last frame of an episode that the game itself ended does not
        exist, nor any of generated assets, whose games Procgen cannot save.
    """

    observations: Observation
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    level_seeds: np.ndarray
    previous_level_seeds: np.ndarray
    level_completes: np.ndarray
    final_observations: dict[int, Observation] = field(default_factory=dict)


class Batch(Protocol):
    """Games that step together, each going on to its next level in the step that ends an episode."""

    @property
    def level_seeds(self) -> np.ndarray:
        """Level that each game is in, shape (n,)."""
        ...

    def observe(self) -> Observation:
        """Present observations, as new arrays with the games along the first axis."""
        ...

    def step(self, actions: np.ndarray) -> Step:
        """Advance every game by one action."""
        ...

    def restart(self) -> None:
        """End every episode and begin the next."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Everything that decides how the games go on: arrays and numbers by name."""
        ...

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot of a batch of the same games."""
        ...

    def close(self) -> None:
        """Free the games."""
        ...


@runtime_checkable
class PartedBatch(Protocol):
    """Games of which some can go on without the others; a `Batch` as well."""

    def part(self, games: np.ndarray) -> Batch | None:
        """These games alone, which go on from their present states; None where their states cannot be saved.

        Parameters
        ----------
        games : numpy.ndarray, shape (n,), whole numbers
            Indices of games of this batch, in rising order.
        """
        ...


@runtime_checkable
class LevelBatch(Protocol):
    """Games that can be told which level they play next; a `Batch` as well."""

    def set_next_levels(self, games: np.ndarray, levels: np.ndarray) -> None:
        """Choose the level that some games play after their present episode, and until another is chosen.

        Parameters
        ----------
        games, levels : numpy.ndarray, shape (n,), whole numbers
            Indices of games of this batch, and a level of theirs for each.
        """
        ...
