"""Optimal policies of the calibration games, as teachers that act on label maps."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from lcd.envs.calibration.courier import MAX_ITEMS, SIZE
from lcd.envs.calibration.courier_drawing import CELL, FIRST_ITEM_LABEL, MIDDLE
from lcd.envs.calibration.difficulty import DifficultyFactors
from lcd.envs.calibration.optimum import best_actions
from lcd.envs.calibration.tracker import MOVES, STRIDE
from lcd.envs.calibration.tracker_drawing import CURSOR_LABEL, TARGET_LABEL


class CourierExpert:
    """Go to the next item by a shortest path, uniformly among the optimal actions.

    It acts on the label map alone: the next item is the one with the lowest label.

    Parameters
    ----------
    factors
        Of the game.
    """

    def __init__(self, factors: DifficultyFactors) -> None:
        best = best_actions(factors)
        self._log_probabilities = torch.from_numpy(np.log(best / best.sum(axis=0) + 1e-8)).float().flatten(1).T

    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the actions, shape (batch, actions).

        Parameters
        ----------
        observations : torch.Tensor, shape (batch, 64, 64), uint8
            Label maps.
        """
        cells = observations.cpu().numpy().reshape(-1, SIZE, CELL, SIZE, CELL).max(axis=(2, 4)).reshape(-1, SIZE**2)
        return self._log_probabilities[torch.from_numpy(self._next_item(cells))].to(observations.device)

    @staticmethod
    def _next_item(cells: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Index of the cell with the next item, relative to the player's."""
        items = np.where((cells >= FIRST_ITEM_LABEL) & (cells < FIRST_ITEM_LABEL + MAX_ITEMS), cells, 255)
        rows, columns = np.divmod(items.argmin(axis=1), SIZE)
        return (rows - MIDDLE) % SIZE * SIZE + (columns - MIDDLE) % SIZE


class TrackerExpert:
    """Move towards the centre of the target, along the axis of the larger distance.

    It acts on the label map alone. The cursor is faster than the target, so that it returns 1, the maximum.
    """

    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the actions, shape (batch, actions).

        Parameters
        ----------
        observations : torch.Tensor, shape (batch, 64, 64), uint8
            Label maps.
        """
        labels = observations.cpu().numpy()
        way = _middles(labels == TARGET_LABEL) - _middles(labels == CURSOR_LABEL)
        axis = np.abs(way).argmax(axis=1)
        farthest = np.take_along_axis(way, axis[:, None], axis=1)[:, 0]
        actions = np.where(np.abs(farthest) < STRIDE / 2, 0, 1 + 2 * axis + (farthest > 0))
        probabilities = np.full((len(labels), len(MOVES)), 1e-8)
        probabilities[np.arange(len(labels)), actions] = 1
        return torch.from_numpy(np.log(probabilities)).float().to(observations.device)


def _middles(where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Centres of the bounding boxes of marked pixels, as rows and columns, shape (n, 2)."""
    sides = []
    for other in (2, 1):
        marked = where.any(axis=other)
        sides.append((marked.argmax(axis=1) + marked.shape[1] - 1 - marked[:, ::-1].argmax(axis=1)) / 2)
    return np.stack(sides, axis=1)
