"""Rules of Courier: fetch the items in order, repeatedly.

The world is a torus of eight by eight cells. The camera follows the player, who stays in the centre. A job is a chain
of items: the first lies beside the player, each of the others beside the one before, and they must be fetched in order.
A finished job pays 1, and the next one is placed. An item stays for three moves of the player; then it and those behind
it are placed again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lcd.envs.calibration.counter_random import uniform
from lcd.envs.calibration.difficulty import DifficultyFactors

SIZE = 8
"""Cells along each side of the world."""

EPISODE = 64
"""Steps of an episode."""

MOVES = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])
"""Rows and columns by which each action moves the player: stay, up, down, left, right."""

BESIDE = MOVES[1:]
"""Offsets from an item to the next one."""

PATIENCE = 3
"""Moves of the player for which an item stays."""

NUM_DECOYS = 3
MAX_ITEMS, MAX_PACE, MAX_DISTRACTORS = 5, 7, 16
MAX_DELAY, MAX_REWARDS_PER_PAYMENT, MAX_SLIP = 12, 8, 0.6

_LAYOUT, _DECOYS, _DISTRACTORS, _WALK, _SLIP = range(5)  # purposes of random numbers


@dataclass(frozen=True)
class Rules:
    """The rules that result from the policy factors.

    Attributes
    ----------
    pace
        Steps of a move, of whose actions the last one counts.
    items
        Items of a job.
    delay
        Steps from earning a reward to its payment.
    rewards_per_payment
        Number of rewards that are paid together.
    slip
        Probability that a move goes in a random direction.
    """

    pace: int
    items: int
    delay: int
    rewards_per_payment: int
    slip: float

    @classmethod
    def of(cls, factors: DifficultyFactors) -> Rules:
        """Round the factors to the rules' whole numbers."""
        return cls(
            pace=1 + round((MAX_PACE - 1) * factors.horizon),
            items=1 + round((MAX_ITEMS - 1) * factors.subgoals),
            delay=round(MAX_DELAY * factors.delay),
            rewards_per_payment=1 + round((MAX_REWARDS_PER_PAYMENT - 1) * factors.sparsity),
            slip=MAX_SLIP * factors.slip,
        )

    @property
    def owes(self) -> bool:
        """Whether rewards may still be unpaid when an episode ends."""
        return self.delay > 0 or self.rewards_per_payment > 1


def num_distractors(factors: DifficultyFactors) -> int:
    """Number of moving distractors."""
    return round(MAX_DISTRACTORS * factors.distractors)


class Courier:
    """A batch of games of Courier, without rendering.

    Parameters
    ----------
    factors
        Their difficulty.
    levels : numpy.ndarray, shape (n,), int64
        First level of each game. A level determines everything but the player's actions.

    Attributes
    ----------
    levels, time : numpy.ndarray, shape (n,), int64
        Level, and steps made in it.
    items : numpy.ndarray, shape (n, items, 2), int64
        Cells of the job's items, as rows and columns below and right of the player, around the torus.
    fetched : numpy.ndarray, shape (n,), int64
        Number of the job's items that the player has.
    decoys, distractors : numpy.ndarray, shape (n, number, 2), int64
        Cells of decoys, which stay where they are, and of distractors, which move.
    travelled : numpy.ndarray, shape (n, 2), int64
        Rows and columns that the player has moved, around the torus.
    terminates : bool
        Whether the last step of an episode is terminal rather than a truncation. It is where rewards may be unpaid:
        they are all paid with the last step, so that a learner must not bootstrap beyond it.
    """

    def __init__(self, factors: DifficultyFactors, levels: NDArray[np.int64]) -> None:
        self.rules = Rules.of(factors)
        self.terminates = self.rules.owes
        count = len(levels)
        self.levels = np.array(levels, np.int64)
        self.time, self.fetched, self._layouts, self._waited, self._withheld = (
            np.zeros(count, np.int64) for _ in range(5)
        )
        self.items = np.zeros((count, self.rules.items, 2), np.int64)
        self.decoys = np.zeros((count, NUM_DECOYS, 2), np.int64)
        self.distractors = np.zeros((count, num_distractors(factors), 2), np.int64)
        self.travelled = np.zeros((count, 2), np.int64)
        self._due = np.zeros((count, self.rules.delay + 1), np.int64)  # one column for each of the next steps
        self.begin(np.arange(count), self.levels)

    def begin(self, games: NDArray[np.int64], levels: NDArray[np.int64]) -> None:
        """Begin an episode in some of the games."""
        self.levels[games] = levels
        for counts in (self.time, self.fetched, self._layouts, self._withheld, self.travelled, self._due):
            counts[games] = 0
        for things, purpose in ((self.decoys, _DECOYS), (self.distractors, _DISTRACTORS)):
            numbers = np.arange(things.shape[1] * 2).reshape(1, -1, 2)
            things[games] = SIZE * uniform(levels[:, None, None], purpose, numbers)
        self._lay_out(games)

    def _lay_out(self, games: NDArray[np.int64]) -> None:
        """Place the remaining items of the job around the player."""
        numbers = np.arange(self.rules.items)
        drawn = uniform(self.levels[games, None], _LAYOUT, self._layouts[games, None], numbers)
        steps = BESIDE[(len(BESIDE) * drawn).astype(np.int64)]
        steps[numbers < self.fetched[games, None]] = 0
        self.items[games] = steps.cumsum(axis=1) % SIZE
        self._layouts[games] += 1
        self._waited[games] = 0

    def step(self, actions: NDArray[np.integer]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Advance every game by one step; finished episodes must be restarted with `begin`.

        Parameters
        ----------
        actions : numpy.ndarray, shape (n,), below 5

        Returns
        -------
        rewards : numpy.ndarray, shape (n,), float32
            Unpaid rewards are paid with the last step of an episode, so that only `horizon`, `subgoals` and `slip`
            change a policy's return.
        over : numpy.ndarray, shape (n,), bool
            Whether the episode is over.
        """
        games = np.arange(len(self.levels))
        moving = (self.time + 1) % self.rules.pace == 0
        moves = MOVES[np.where(moving, self._slipped(np.asarray(actions)), 0)]
        self.travelled = (self.travelled + moves) % SIZE
        for things in (self.items, self.decoys, self.distractors):
            np.mod(things - moves[:, None], SIZE, out=things)
        if self.distractors.shape[1]:
            self._wander()
        at_item = (self.items[games, self.fetched] == 0).all(axis=1)
        self.fetched += at_item
        self._waited = np.where(at_item, 0, self._waited + moving)
        done = self.fetched == self.rules.items
        self.fetched[done] = 0
        self.time += 1
        over = self.time == EPISODE
        stale = done | (self._waited == PATIENCE)
        if stale.any():
            self._lay_out(np.flatnonzero(stale))
        return self._paid(done, over), over

    def _slipped(self, actions: NDArray[np.integer]) -> NDArray[np.integer]:
        if not self.rules.slip:
            return actions
        slips = uniform(self.levels, _SLIP, self.time) < self.rules.slip
        directions = 1 + (4 * uniform(self.levels, _SLIP, self.time, 1)).astype(np.int64)
        return np.where(slips, directions, actions)

    def _wander(self) -> None:
        """Move every distractor one step in a random direction."""
        numbers = np.arange(self.distractors.shape[1])
        drawn = uniform(self.levels[:, None], _WALK, self.time[:, None], numbers)
        np.mod(self.distractors + MOVES[1 + (4 * drawn).astype(np.int64)], SIZE, out=self.distractors)

    def _paid(self, done: NDArray[np.bool_], over: NDArray[np.bool_]) -> NDArray[np.float32]:
        self._withheld += done
        payday = self._withheld == self.rules.rewards_per_payment
        self._due[:, -1] += np.where(payday, self._withheld, 0)
        self._withheld[payday] = 0
        rewards = np.where(over, self._due.sum(axis=1) + self._withheld, self._due[:, 0])
        self._due[:, :-1] = self._due[:, 1:]
        self._due[:, -1] = 0
        return rewards.astype(np.float32)
