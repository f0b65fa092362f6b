"""Courier: the rules. Fetch the items in their order, again and again.

The world is a small torus, eight cells by eight, that the camera follows: the player stays in the middle, and all else
moves around it. A job is a chain of items. The first lies beside the player, each of the others beside the one before,
and they count only in their order. A job done earns 1, and the next is laid out. An item waits for three moves of the
player; then it and those behind it are laid out anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lcd.envs.calibration.chance import uniform
from lcd.envs.calibration.dials import Dials

SIZE = 8
"""Cells along each side of the world."""

EPISODE = 64
"""Steps of an episode."""

MOVES = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])
"""Rows and columns by which each action moves the player: stay, up, down, left, right."""

BESIDE = MOVES[1:]
"""Where one item lies as seen from the one before."""

PATIENCE = 3
"""Moves of the player for which an item waits."""

NUM_DECOYS = 3
MAX_ITEMS, MAX_PACE, MAX_DISTRACTORS = 5, 7, 16
MAX_DELAY, MAX_REWARDS_PER_PAYMENT, MAX_SLIP = 12, 8, 0.6

_LAYOUT, _DECOYS, _DISTRACTORS, _WALK, _SLIP = range(5)  # what random numbers are for


@dataclass(frozen=True)
class Rules:
    """What the policy dials amount to.

    Attributes
    ----------
    pace
        Steps that a move takes: the last of as many actions counts.
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
    def of(cls, dials: Dials) -> Rules:
        """The rules that the dials set, in the whole numbers that there are."""
        return cls(
            pace=1 + round((MAX_PACE - 1) * dials.horizon),
            items=1 + round((MAX_ITEMS - 1) * dials.subgoals),
            delay=round(MAX_DELAY * dials.delay),
            rewards_per_payment=1 + round((MAX_REWARDS_PER_PAYMENT - 1) * dials.sparsity),
            slip=MAX_SLIP * dials.slip,
        )

    @property
    def owes(self) -> bool:
        """Whether rewards are paid later than they were earned, so that some are owed when an episode ends."""
        return self.delay > 0 or self.rewards_per_payment > 1


def num_distractors(dials: Dials) -> int:
    """How many things move about to no use."""
    return round(MAX_DISTRACTORS * dials.distractors)


class Courier:
    """Many games of Courier, without a picture.

    Parameters
    ----------
    dials
        Of difficulty.
    levels : numpy.ndarray, shape (n,), int64
        First level of each game. A level decides everything but the player's actions.

    Attributes
    ----------
    levels, time : numpy.ndarray, shape (n,), int64
        Level, and steps made in it.
    items : numpy.ndarray, shape (n, items, 2), int64
        Cells of the job's items, as rows and columns below and right of the player, around the torus.
    fetched : numpy.ndarray, shape (n,), int64
        Number of the job's items that the player has.
    decoys, distractors : numpy.ndarray, shape (n, number, 2), int64
        Cells of things of no use that lie still and that move about.
    travelled : numpy.ndarray, shape (n, 2), int64
        Rows and columns that the player has gone, around the torus.
    terminates : bool
        Whether the last step ends the game, and does not merely cut it off: it does where rewards may be owed. They are
        paid with the last step, so that nothing of them is to be expected behind it.
    """

    def __init__(self, dials: Dials, levels: NDArray[np.int64]) -> None:
        self.rules = Rules.of(dials)
        self.terminates = self.rules.owes
        count = len(levels)
        self.levels = np.array(levels, np.int64)
        self.time, self.fetched, self._layouts, self._waited, self._withheld = (
            np.zeros(count, np.int64) for _ in range(5)
        )
        self.items = np.zeros((count, self.rules.items, 2), np.int64)
        self.decoys = np.zeros((count, NUM_DECOYS, 2), np.int64)
        self.distractors = np.zeros((count, num_distractors(dials), 2), np.int64)
        self.travelled = np.zeros((count, 2), np.int64)
        self._due = np.zeros((count, self.rules.delay + 1), np.int64)  # a column for each step to come
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
        """Lay out around the player what is still to be fetched of the job."""
        numbers = np.arange(self.rules.items)
        drawn = uniform(self.levels[games, None], _LAYOUT, self._layouts[games, None], numbers)
        steps = BESIDE[(len(BESIDE) * drawn).astype(np.int64)]
        steps[numbers < self.fetched[games, None]] = 0
        self.items[games] = steps.cumsum(axis=1) % SIZE
        self._layouts[games] += 1
        self._waited[games] = 0

    def step(self, actions: NDArray[np.integer]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Make one step of every game; an episode that is over is to be begun anew.

        Parameters
        ----------
        actions : numpy.ndarray, shape (n,), below 5

        Returns
        -------
        rewards : numpy.ndarray, shape (n,), float32
            What is owed at the end of an episode is paid with its last step, so no dial but `horizon`, `subgoals` and
            `slip` changes what a policy's episodes return.
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
        """Every distractor takes a step in a random direction."""
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
