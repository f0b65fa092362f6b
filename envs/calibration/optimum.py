"""Exact returns of the optimal and of the random policy in Courier, by dynamic programming."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcd.envs.calibration.courier import BESIDE, EPISODE, MOVES, PATIENCE, SIZE, Rules
from lcd.envs.calibration.difficulty import DifficultyFactors


class ExpectedReturns(NamedTuple):
    """Mean return of an episode, over all levels."""

    random: float
    best: float


def expected_returns(factors: DifficultyFactors) -> ExpectedReturns:
    """Mean returns of the uniformly random policy and of the optimal one.

    Dynamic programming over the steps left, the items fetched, the remaining moves of the next one, and its cell.
    Delay, sparsity and perceptual factors do not change them.
    """
    rules = Rules.of(factors)
    moves = EPISODE // rules.pace
    random, best = (_values(moves, PATIENCE, rules.items, rules.slip, plan=plan)[0, -1] for plan in (False, True))
    return ExpectedReturns(_laid_out(random.mean(axis=0)), _laid_out(best.max(axis=0)))


def best_actions(factors: DifficultyFactors) -> NDArray[np.bool_]:
    """Optimal actions by the cell of the next item, if it waits long enough.

    Episodes rarely end exactly with a job, so that some moves could be wasted without loss: a discount of 0.99 breaks
    such ties in favour of the sooner reward.

    Returns
    -------
    numpy.ndarray, shape (5, 8, 8), bool
        At least one action is best for each cell, given as rows and columns below and right of the player.
    """
    rules = Rules.of(factors)
    of_actions = _values(EPISODE, EPISODE, rules.items, rules.slip, plan=True, discount=0.99)[0, -1]
    return np.isclose(of_actions, of_actions.max(axis=0), rtol=0, atol=1e-9)


def _laid_out(values: NDArray[np.float64]) -> float:
    """Mean value over the cells where an item is placed."""
    return float(values[tuple(BESIDE.T)].mean())


@cache
def _values(
    moves: int, patience: int, items: int, slip: float, *, plan: bool, discount: float = 1.0
) -> NDArray[np.float64]:
    """Expected return of a number of moves, shape (items, patience, 5, 8, 8).

    Axes: items fetched, remaining moves of the next item minus one, first action, cell of the next item. After the
    first action the optimal policy follows if `plan`, else the random one.
    """
    transitions = slip / 4 * np.array([0, 1, 1, 1, 1]) + (1 - slip) * np.eye(len(MOVES))  # of moves, by action
    values = np.zeros((items, patience, SIZE, SIZE))
    of_actions = np.zeros((items, patience, len(MOVES), SIZE, SIZE))
    for _ in range(moves):
        begun = np.array([_laid_out(of_item) for of_item in values[:, -1]])  # when the next has just been placed
        ahead = np.empty_like(values)
        ahead[:, 0] = begun[:, None, None]
        ahead[:, 1:] = values[:, :-1]
        ahead[..., 0, 0] = np.append(begun[1:], 1 + begun[0])[:, None]
        moved = np.stack([np.roll(ahead, tuple(move), axis=(-2, -1)) for move in MOVES], axis=2)
        of_actions = discount * np.einsum("am,ipmrc->iparc", transitions, moved)
        values = of_actions.max(axis=2) if plan else of_actions.mean(axis=2)
    return of_actions
