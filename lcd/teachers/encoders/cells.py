"""What the label map of a game on a grid shows in each of its cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gymnasium import spaces
from torch import nn

from lcd.agents.encoders.convolutional import Encoder
from lcd.teachers.encoders.egocentric import PLAYER

WINDOW = 3
"""Pixels in the middle of a cell, each way, that say what is there: the smallest thing to find there is no wider."""


class Cells(nn.Module):
    """Reads label maps cell by cell.

    Parameters
    ----------
    pixels
        Height and width of label maps.
    count
        Cells of the level in each direction.
    kinds
        Labels of the things to look for.
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
        """Where the player is, down and to the right in cells, and its row and column; each of shape (2, batch)."""
        player = (labels == PLAYER).view(torch.uint8)
        seen = torch.stack([player.amax(dim=2), player.amax(dim=1)]).float()
        place = (seen @ self.places) / seen.sum(dim=2).clamp(min=1)
        return place, place.long().clamp(max=self.count - 1)

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        """Which kinds of things each cell shows in its middle, shape (batch, kinds, count, count), bool."""
        middles = labels.index_select(1, self.pixels).index_select(2, self.pixels)[:, None]
        there = (middles == self.kinds).view(-1, len(self.kinds), self.count, WINDOW, self.count, WINDOW)
        for side in (3, 4):
            parts = there.unbind(dim=side)
            there = parts[0] | parts[1] | parts[2]
        return there


class ToldEncoder(Encoder):
    """Two layers over numbers that something tells from a label map, without learning.

    Parameters
    ----------
    observation_space
        Label maps, shape (height, width).
    told
        Gives numbers of shape (batch, size) for label maps of shape (batch, height, width).
    size
        How many.
    features_dim
        Number of features.
    """

    reads_frames = False

    def __init__(self, observation_space: spaces.Space, told: nn.Module, size: int, features_dim: int) -> None:
        super().__init__(observation_space, features_dim)
        self.network = nn.Sequential(
            told,
            nn.Linear(size, features_dim),
            nn.ReLU(inplace=True),
            nn.Linear(features_dim, features_dim),
            nn.ReLU(inplace=True),
        )

    def images(self, observations: torch.Tensor) -> torch.Tensor:
        """Label maps as they are."""
        return observations.to(torch.uint8)
