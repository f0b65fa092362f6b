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

    Dynamic programming over the steps left, the items fetched, how long the next one waits yet, and its cell. Delay and
    sparsity change neither return, perceptual dials change nothing.
    """
    rules = Rules.of(dials)
    of_actions = [
        _values(rules.distance, rules.patience, rules.items, rules.slip, plan=plan)[0, -1] for plan in (False, True)
    ]
    of_cells = of_actions[0].mean(axis=0), of_actions[1].max(axis=0)
    return ExpectedReturns(*(float(values[_laid_out(rules.distance)].mean()) for values in of_cells))


def best_actions(dials: Dials) -> NDArray[np.bool_]:
    """Which actions are best, by the cell of the next item, if it waits long enough.

    An episode rarely ends just as a job does, so some steps of it can be wasted for free: a slight discount breaks such
    ties for the sooner.

    Returns
    -------
    numpy.ndarray, shape (5, 8, 8), bool
        At least one action is best for each cell, given as rows and columns below and right of the player.
    """
    rules = Rules.of(dials)
    of_actions = _values(rules.distance, EPISODE, rules.items, rules.slip, plan=True, discount=0.99)[0, -1]
    return np.isclose(of_actions, of_actions.max(axis=0), rtol=0, atol=1e-9)


def _laid_out(distance: int) -> tuple[NDArray[np.int64], ...]:
    """Rows and columns of the cells where an item can be laid out."""
    return tuple(offsets_at(distance).T)


@cache
def _values(
    distance: int, patience: int, items: int, slip: float, *, plan: bool, discount: float = 1.0
) -> NDArray[np.float64]:
    """Expected return of an episode, shape (items, patience, 5, 8, 8).

    By the items fetched, the steps but one for which the next one waits yet, the first action and the cell of the next
    item. After the first action the best policy goes on, or the random one.
    """
    chances = slip / 4 * np.array([0, 1, 1, 1, 1]) + (1 - slip) * np.eye(len(MOVES))  # of moves, by action
    rows, columns = _laid_out(distance)
    values = np.zeros((items, patience, SIZE, SIZE))
    of_actions = np.zeros((items, patience, len(MOVES), SIZE, SIZE))
    for _ in range(EPISODE):
        begun = values[:, -1, rows, columns].mean(axis=-1)  # by the items fetched, when the next has just been laid out
        ahead = np.empty_like(values)
        ahead[:, 0] = begun[:, None, None]
        ahead[:, 1:] = values[:, :-1]
        ahead[..., 0, 0] = np.append(begun[1:], 1 + begun[0])[:, None]
        moved = np.stack([np.roll(ahead, tuple(move), axis=(-2, -1)) for move in MOVES], axis=2)
        of_actions = discount * np.einsum("am,ipmrc->iparc", chances, moved)
        values = of_actions.max(axis=2) if plan else of_actions.mean(axis=2)
    return of_actions
