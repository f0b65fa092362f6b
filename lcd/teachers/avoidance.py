"""An expert in chaser that follows ways, and minds enemies."""

from __future__ import annotations

import numpy as np
import torch

from lcd.teachers.encoders.escape import Lookout, Outlook
from lcd.teachers.encoders.floodfill import NEXT
from lcd.teachers.imitation import shown_chances

FAR = 20
"""Steps beyond which it does not matter how far away something is."""

IN_THE_MIDDLE = 0.15
"""Distance from the middle of the way, in cells, up to which it goes straight on. A label map is no finer."""


class Wary:
    """Goes to the nearest orb that can be had before an enemy comes, and else where enemies are late.

    A teacher that needs no training: what it does follows from the label map, through
    `lcd.teachers.encoders.escape.Lookout`.
    """

    def __init__(self) -> None:
        self._look = Lookout()
        chances = np.array([[shown_chances("chaser")[right, up] for up in (-1, 0, 1)] for right in (-1, 0, 1)])
        self._chances = torch.from_numpy(chances).float()

    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Logarithms of the chances of actions, shape (batch, 15): those that do the same are as likely.

        Parameters
        ----------
        observations : torch.Tensor, shape (batch, 64, 64), uint8
            Label maps of chaser.
        """
        ahead: Outlook = self._look(observations)
        aside = -_sign(ahead.right), _sign(ahead.down)
        to_the_middle = self._chances[aside[0] + 1, aside[1] + 1]
        along_ways = torch.stack(
            [self._chances[(right or aside[0]) + 1, (-down or aside[1]) + 1] for down, right in NEXT], dim=1
        )
        chosen = along_ways[torch.arange(len(along_ways)), _best_way(ahead)]
        chances = torch.where(ahead.here[:, None], to_the_middle, chosen)
        return chances.clamp(min=np.exp(-20)).log()


def _sign(places: torch.Tensor) -> torch.Tensor:
    return (places.sign() * (places.abs() > IN_THE_MIDDLE)).long()


def _best_way(ahead: Outlook) -> torch.Tensor:
    """Number of the way to go, shape (batch,): of ways as good the first each time, or it would walk to and fro."""
    time = (ahead.end.clamp(max=FAR) + 2 * ahead.enemy.clamp(max=FAR)).where(ahead.open, -1)
    return torch.where(ahead.nearest.any(dim=1), ahead.nearest.int().argmax(dim=1), time.argmax(dim=1))
