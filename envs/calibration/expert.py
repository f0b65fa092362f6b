"""The best player of Courier, as a teacher that reads label maps."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from envs.calibration.courier import MAX_ITEMS, SIZE
from envs.calibration.dials import Dials
from envs.calibration.drawing import CELL, FIRST_ITEM_LABEL, MIDDLE
from envs.calibration.optimum import best_actions


class CourierExpert:
    """Goes for the next item by a shortest way, choosing evenly among the actions that are best.

    It acts on nothing but the label map: the next item is the one with the lowest label in sight.

    Parameters
    ----------
    dials
        Of the game.
    """

    def __init__(self, dials: Dials) -> None:
        best = best_actions(dials)
        self._log_probabilities = torch.from_numpy(np.log(best / best.sum(axis=0) + 1e-8)).float().flatten(1).T

    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Logarithms of the action probabilities, shape (batch, actions).

        Parameters
        ----------
        observations : torch.Tensor, shape (batch, 64, 64), uint8
            Label maps.
        """
        cells = observations.cpu().numpy().reshape(-1, SIZE, CELL, SIZE, CELL).max(axis=(2, 4)).reshape(-1, SIZE**2)
        return self._log_probabilities[torch.from_numpy(self._next_item(cells))].to(observations.device)

    @staticmethod
    def _next_item(cells: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Number of the cell with the next item, counted from the player's."""
        items = np.where((cells >= FIRST_ITEM_LABEL) & (cells < FIRST_ITEM_LABEL + MAX_ITEMS), cells, 255)
        rows, columns = np.divmod(items.argmin(axis=1), SIZE)
        return (rows - MIDDLE) % SIZE * SIZE + (columns - MIDDLE) % SIZE
