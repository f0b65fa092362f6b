"""Rules of Tracker: stay on one of several moving objects whose position, colour and shape all change.

After the FeatureTracker challenge (Linsley et al., 2024, arXiv:2410.02094): no feature of a
single frame identifies the target, only its continuity over time. The cursor starts on the target and can keep up
with it; each step that ends on the target earns an equal share of 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lcd.envs.calibration.counter_random import uniform

SIDE = 64
EPISODE = 128
"""Steps of an episode."""

STRIDE = 2
MOVES = STRIDE * np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])
"""Rows and columns in pixels by which each action moves the cursor: stay, up, down, left, right."""

REACH = 5.0
"""Largest distance of the cursor from the target's centre, in pixels, at which it counts as on it."""

SWAY = 24
"""Largest distance of an object from the frame's centre along an axis, in pixels."""

_SLOW, _FAST = 0.012, 0.04
"""Range of angular speeds, in radians a step: objects are always slower than the cursor."""

QUANTITIES = ("row", "column", "hue", "exponent", "turn", "height", "width")
"""Quantities that follow smooth trajectories: an object's position, and inputs of its rendering."""

_NUM_WAVES = 2


class Tracker:
    """A batch of games of Tracker, without rendering.

    Parameters
    ----------
    distractors
        Number of moving objects beside the target.
    levels : numpy.ndarray, shape (n,), int64
        First level of each game. A level determines everything but the player's actions.

    Attributes
    ----------
    levels, time : numpy.ndarray, shape (n,), int64
        Level, and steps made in it.
    cursor : numpy.ndarray, shape (n, 2), int64
        Row and column of its middle.
    terminates : bool
        False: rewards are paid in the step that earns them, and the last step truncates the episode.
    """

    terminates = False

    def __init__(self, distractors: int, levels: NDArray[np.int64]) -> None:
        self.things = 1 + distractors
        self.levels = np.array(levels, np.int64)
        self.time = np.zeros(len(levels), np.int64)
        self.cursor = np.zeros((len(levels), 2), np.int64)
        shape = (len(levels), len(QUANTITIES), self.things, _NUM_WAVES)
        self._speeds, self._phases = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.begin(np.arange(len(levels)), self.levels)

    def trajectory(self, quantity: str, games: NDArray[np.int64], share: float = 1.0) -> NDArray[np.float32]:
        """Present value of a quantity of every object, between −1 and 1: the mean of a few sine waves.

        Parameters
        ----------
        quantity
            One of `QUANTITIES`.
        games : numpy.ndarray, shape (n,)
            Which games.
        share
            Speed of the change, from 0 (none) to 1.

        Returns
        -------
        numpy.ndarray, shape (n, things)
            The target's first.
        """
        number = QUANTITIES.index(quantity)
        time = (share * self.time[games, None, None]).astype(np.float32)
        return np.sin(self._phases[games, number] + self._speeds[games, number] * time).mean(axis=-1)

    def places(self, games: NDArray[np.int64]) -> NDArray[np.float32]:
        """Centres of all objects in some games, as rows and columns, the target first, shape (n, things, 2)."""
        trajectories = [self.trajectory(axis, games) for axis in ("row", "column")]
        return SIDE / 2 + SWAY * np.stack(trajectories, axis=-1)

    def begin(self, games: NDArray[np.int64], levels: NDArray[np.int64]) -> None:
        """Begin an episode in some of the games."""
        self.levels[games] = levels
        self.time[games] = 0
        keys = (levels[:, None, None, None], *np.ogrid[tuple(slice(size) for size in self._phases.shape[1:])])
        self._speeds[games] = _SLOW + (_FAST - _SLOW) * uniform(*keys, 0)
        self._phases[games] = 2 * np.pi * uniform(*keys, 1)
        self.cursor[games] = np.rint(self.places(games)[:, 0])

    def let_pass(self, steps: NDArray[np.int64]) -> None:
        """Let time pass in every game, with the cursor on its target.

        Parameters
        ----------
        steps : numpy.ndarray, shape (n,), int64
            Of each game, fewer than its episode has left.
        """
        self.time += steps
        self.cursor[:] = np.rint(self.places(np.arange(len(self.levels)))[:, 0])

    def step(self, actions: NDArray[np.integer]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Advance every game by one step; finished episodes must be restarted with `begin`.

        Parameters
        ----------
        actions : numpy.ndarray, shape (n,), below 5

        Returns
        -------
        rewards : numpy.ndarray, shape (n,), float32
        over : numpy.ndarray, shape (n,), bool
            Whether the episode is over.
        """
        self.cursor = np.clip(self.cursor + MOVES[np.asarray(actions)], 0, SIDE - 1)
        self.time += 1
        targets = self.places(np.arange(len(self.levels)))[:, 0]
        on_target = np.hypot(*(targets - self.cursor).T) <= REACH
        return (on_target / EPISODE).astype(np.float32), self.time == EPISODE
