"""Simulation of action sequences in copies of a game's state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lcd.envs.procgen.engine import Engine
from lcd.envs.procgen.options import ProcgenOptions
from lcd.envs.procgen.saved_state import SavedState


@dataclass(frozen=True)
class Outcomes:
    """Results of `n` plans of `horizon` actions.

    Attributes
    ----------
    rewards : numpy.ndarray, shape (n, horizon), float32
        Zero after the episode's end.
    lengths : numpy.ndarray, shape (n,), int
        Steps made within the episode, the last of them included; `horizon` where it did not end.
    ended : numpy.ndarray, shape (n,), bool
        Whether the episode ended within the plan.
    completed : numpy.ndarray, shape (n,), bool
        Whether it ended with its level completed.
    """

    rewards: NDArray[np.float32]
    lengths: NDArray[np.int64]
    ended: NDArray[np.bool_]
    completed: NDArray[np.bool_]


class Simulator:
    """Simulator of plans in copies of one game's state.

    The copies are the true game with its random generators, so that they predict more than a player could: they are for
    making teachers.

    Parameters
    ----------
    options
        As those of the game whose states come.
    num_copies
        Largest number of plans tried at once.
    """

    def __init__(self, options: ProcgenOptions, num_copies: int) -> None:
        self._engine = Engine(options, num_copies, seed=0)
        self.num_copies = num_copies

    def try_plans(self, state: bytes, plans: NDArray[np.integer]) -> Outcomes:
        """Simulate each plan from the same state.

        Parameters
        ----------
        state
            What ``Engine.get_state`` gave.
        plans : numpy.ndarray, shape (n, horizon)
            Actions; n is at most `num_copies`.

        Returns
        -------
        Outcomes
            The copies stay where the plans led; see `states`.

        Raises
        ------
        ValueError
            If there are more plans than copies.
        """
        count, horizon = plans.shape
        if count > self.num_copies:
            raise ValueError(f"{count} plans do not fit into {self.num_copies} copies: give the simulator more.")
        start = _cheap(state)
        for index in range(count):
            self._engine.set_state(index, start)
        rewards = np.zeros((count, horizon), np.float32)
        lengths = np.full(count, horizon)
        ended, completed = np.zeros(count, bool), np.zeros(count, bool)
        actions = np.zeros(self.num_copies, np.int32)
        for time in range(horizon):
            actions[:count] = plans[:, time]
            self._engine.act(actions)
            self._engine.observe()
            rewards[:, time] = np.where(ended, 0, self._engine.rewards[:count])
            ends_now = ~ended & self._engine.firsts[:count].astype(bool)
            lengths[ends_now] = time + 1
            completed |= ends_now & self._engine.level_completes[:count]
            ended |= ends_now
        return Outcomes(rewards, lengths, ended, completed)

    def states(self, count: int) -> list[bytes]:
        """Saved states of the first copies; where a plan ended the episode, of the next one."""
        return [self._engine.get_state(index) for index in range(count)]

    def close(self) -> None:
        """Free the copies."""
        self._engine.close()


_CLOSE_UP = 0.2
"""Units of length across the frame when next to nothing is to be drawn; the games' rules do not depend on it."""


def _cheap(state: bytes) -> bytes:
    """The same state in a cheap rendering that shows little more than the player, faster to set and to step."""
    cheap = SavedState(state)
    cheap.set_option("use_backgrounds", 0)
    cheap.set_option("use_monochrome_assets", 1)
    cheap.set_option("center_agent", 1)
    cheap.visibility = _CLOSE_UP
    cheap.drop_idle_generators()
    return cheap.to_bytes()
