"""An expert for chaser that collects orbs and avoids enemies."""

from __future__ import annotations

import numpy as np
import torch

from lcd.teachers.encoders.escape import DirectionFeatureExtractor, DirectionFeatures
from lcd.teachers.encoders.floodfill import NEIGHBOURS
from lcd.teachers.imitation import heading_action_probabilities

FAR = 20
"""Steps beyond which distances count as equal."""

CENTRED = 0.15
"""Distance from the corridor's centre line, in cells, up to which it goes straight on: the label map's resolution."""


class EnemyAvoidingExpert:
    """Go to the nearest orb that can be reached before an enemy, and else to where enemies arrive last.

    A teacher that needs no training: it computes its actions from the label map, through
    `lcd.teachers.encoders.escape.DirectionFeatureExtractor`.
    """

    def __init__(self) -> None:
        self._features = DirectionFeatureExtractor()
        of_headings = heading_action_probabilities("chaser")
        probabilities = np.array([[of_headings[right, up] for up in (-1, 0, 1)] for right in (-1, 0, 1)])
        self._probabilities = torch.from_numpy(probabilities).float()

    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the actions, shape (batch, 15): equivalent actions are equally likely.

        Parameters
        ----------
        observations : torch.Tensor, shape (batch, 64, 64), uint8
            Label maps of chaser.
        """
        features: DirectionFeatures = self._features(observations)
        aside = -_sign(features.right), _sign(features.down)
        to_centre = self._probabilities[aside[0] + 1, aside[1] + 1]
        by_direction = torch.stack(
            [self._probabilities[(right or aside[0]) + 1, (-down or aside[1]) + 1] for down, right in NEIGHBOURS], dim=1
        )
        chosen = by_direction[torch.arange(len(by_direction)), _best_direction(features)]
        probabilities = torch.where(features.here[:, None], to_centre, chosen)
        return probabilities.clamp(min=np.exp(-20)).log()


def _sign(offsets: torch.Tensor) -> torch.Tensor:
    return (offsets.sign() * (offsets.abs() > CENTRED)).long()


def _best_direction(features: DirectionFeatures) -> torch.Tensor:
    """Index of the best direction, shape (batch,); ties go to the first one, so that the player does not oscillate."""
    time = (features.end.clamp(max=FAR) + 2 * features.enemy.clamp(max=FAR)).where(features.open, -1)
    return torch.where(features.nearest.any(dim=1), features.nearest.int().argmax(dim=1), time.argmax(dim=1))
