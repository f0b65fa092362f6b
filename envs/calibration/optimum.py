"""What the best and the random policy return in Courier, computed exactly."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.calibration.courier import EPISODE, MOVES, SIZE, Rules, offsets_at
from envs.calibration.dials import Dials


class ExpectedReturns(NamedTuple):
    """Mean return of an episode, over all levels."""

    random: float
    best: float


def expected_returns(dials: Dials) -> ExpectedReturns:
    """Mean returns of the policy that draws its actions evenly, and of the best one.

    Dynamic programming over the steps left, the items fetched and the cell of the next item. Delay and sparsity change
    neither return, perceptual dials change nothing.
    """
    rules = Rules.of(dials)
    return ExpectedReturns(
        *(_expected_return(rules.distance, rules.items, rules.slip, plan=plan) for plan in (False, True))
    )


def best_actions(dials: Dials) -> NDArray[np.bool_]:
    """Which actions are best, by the cell of the next item.

    An episode rarely ends just as a job does, so some steps of it can be wasted for free: a slight discount breaks such
    ties for the sooner.

    Returns
    -------
    numpy.ndarray, shape (5, 8, 8), bool
        At least one action is best for each cell, given as rows and columns below and right of the player.
    """
    rules = Rules.of(dials)
    of_actions = _values(rules.distance, rules.items, rules.slip, plan=True, discount=0.99)[0]
    return np.isclose(of_actions, of_actions.max(axis=0), rtol=0, atol=1e-9)


def _expected_return(distance: int, items: int, slip: float, *, plan: bool) -> float:
    of_actions = _values(distance, items, slip, plan=plan)[0]
    of_cells = of_actions.max(axis=0) if plan else of_actions.mean(axis=0)
    return float(of_cells[tuple(offsets_at(distance).T)].mean())


@cache
def _values(distance: int, items: int, slip: float, *, plan: bool, discount: float = 1.0) -> NDArray[np.float64]:
    """Expected return of an episode by the items fetched, the first action and the cell of the next item.

    Shape (items, 5, 8, 8). After the first action the best policy goes on, or the random one.
    """
    chances = slip / 4 * np.array([0, 1, 1, 1, 1]) + (1 - slip) * np.eye(len(MOVES))  # of moves, by action
    cells = tuple(offsets_at(distance).T)
    values = np.zeros((items, SIZE, SIZE))
    of_actions = np.zeros((items, len(MOVES), SIZE, SIZE))
    for _ in range(EPISODE):
        for fetched in reversed(range(items)):
            done = fetched == items - 1
            ahead = values[fetched].copy()
            ahead[0, 0] = done + values[(fetched + 1) % items][cells].mean()
            moved = np.stack([np.roll(ahead, tuple(move), axis=(0, 1)) for move in MOVES])
            of_actions[fetched] = discount * np.tensordot(chances, moved, axes=1)
        values = of_actions.max(axis=1) if plan else of_actions.mean(axis=1)
    return of_actions
