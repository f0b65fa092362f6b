"""Reading the label maps of grid games cell by cell, and an encoder of privileged features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gymnasium import spaces
from torch import nn

from lcd.agents.encoders.convolutional import Encoder
from lcd.teachers.encoders.egocentric import PLAYER

WINDOW = 3
"""Side of the window in a cell's centre that is read, in pixels: no object of interest is smaller."""


class Cells(nn.Module):
    """Read label maps cell by cell.

    Parameters
    ----------
    pixels
        Height and width of label maps.
    count
        Cells of the level in each direction.
    kinds
        Labels of the objects to look for.
    """

    kinds: torch.Tensor
    pixels: torch.Tensor
    places: torch.Tensor

    def __init__(self, pixels: int, count: int, kinds: Sequence[int]) -> None:
        super().__init__()
        self.count = count
        middles = (torch.arange(count) + 0.5) * pixels / count
        constants = {
            "kinds": torch.tensor(kinds, dtype=torch.uint8)[:, None, None],
            "pixels": (middles[:, None] + torch.arange(WINDOW) - WINDOW // 2).long().flatten(),
            "places": (torch.arange(pixels) + 0.5) * count / pixels,
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def player(self, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The player's position, down and to the right in cells, and its row and column; each of shape (2, batch)."""
        player = (labels == PLAYER).view(torch.uint8)
        occupied = torch.stack([player.amax(dim=2), player.amax(dim=1)]).float()
        place = (occupied @ self.places) / occupied.sum(dim=2).clamp(min=1)
        return place, place.long().clamp(max=self.count - 1)

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        """Which kinds of objects each cell has in its centre, shape (batch, kinds, count, count), bool."""
        middles = labels.index_select(1, self.pixels).index_select(2, self.pixels)[:, None]
        there = (middles == self.kinds).view(-1, len(self.kinds), self.count, WINDOW, self.count, WINDOW)
        for side in (3, 4):
            parts = there.unbind(dim=side)
            there = parts[0] | parts[1] | parts[2]
        return there


class PrivilegedFeatureEncoder(Encoder):
    """Two layers over fixed features that are computed from a label map by planning.

    Parameters
    ----------
    observation_space
        Label maps, shape (height, width).
    extractor
        Module without parameters that maps label maps, shape (batch, height, width), to features, shape (batch, size).
    size
        Number of features of the extractor.
    features_dim
        Number of features of the encoder.
    """

    reads_frames = False

    def __init__(self, observation_space: spaces.Space, extractor: nn.Module, size: int, features_dim: int) -> None:
        super().__init__(observation_space, features_dim)
        self.network = nn.Sequential(
            extractor,
            nn.Linear(size, features_dim),
            nn.ReLU(inplace=True),
            nn.Linear(features_dim, features_dim),
            nn.ReLU(inplace=True),
        )

    def images(self, observations: torch.Tensor) -> torch.Tensor:
        """Label maps as they are."""
        return observations.to(torch.uint8)
