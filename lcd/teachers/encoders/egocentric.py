"""Egocentric encoders of label maps: the map is shifted so that the player is in the centre."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from lcd.agents.encoders.convolutional import CHANNELS, SizedEncoder, StridedConv2d
from lcd.agents.encoders.registry import register_encoder

PLAYER, OUTSIDE = 1, 64
"""Label of the player in the Procgen games that have one, and a label that no game draws."""


@register_encoder("egocentric")
class Egocentric(SizedEncoder):
    """Three convolutions over the whole label map at half its resolution, with the player in the centre.

    Positions relative to the player are then independent of its own position, so that games with a fixed camera are
    learned in a tenth of the steps. Where the player's label is missing, the map stays as it is.

    Parameters
    ----------
    observation_space
        Label maps, shape (height, width), both multiples of 16.
    features_dim
        Number of features.
    """

    reads_frames = False
    images_at_once_on_gpu = 16_384
    same_operations = True

    def __init__(self, observation_space: spaces.Space, features_dim: int = 256) -> None:
        super().__init__(observation_space, features_dim)
        body = nn.Sequential(
            StridedConv2d(CHANNELS, 32, kernel_size=4, stride=4),
            nn.ReLU(inplace=True),
            StridedConv2d(32, 64, kernel_size=4, stride=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 32, kernel_size=3),
            nn.Flatten(),
            nn.ReLU(inplace=True),
        )
        self.network = self.with_features(body)

    @staticmethod
    def arranged(labels: torch.Tensor) -> torch.Tensor:
        """Label maps around the player, at half their resolution."""
        return around_player(labels)


@register_encoder("egocentric-near")
class NearEgocentric(Egocentric):
    """Egocentric encoder at full resolution, up to half a map on each side: for games in which small sizes matter.

    In bigfish the player eats smaller fish and is eaten by larger ones, which half the resolution does not tell apart:
    this encoder returns 7.7 after half a million steps, `Egocentric` 1.3.
    """

    @staticmethod
    def arranged(labels: torch.Tensor) -> torch.Tensor:
        """Label maps around the player, at full resolution."""
        return _centred(labels, *_places(labels), labels.shape[1:])


@register_encoder("egocentric-plunder")
class PlunderEgocentric(Egocentric):
    """Egocentric encoder for plunder, in whose label maps it renames ships from their kind to their role."""

    @staticmethod
    def arranged(labels: torch.Tensor) -> torch.Tensor:
        """Label maps around the player's ship, with one label for the kind to hit and one for all others."""
        return around_player(ships_by_role(labels))


SHIPS = (8, 59, 60, 61, 62, 63)
TARGET, SPARED = SHIPS[:2]
"""Labels of plunder's ships, and the two that stand for roles in the renamed maps."""

_LEGEND = (57, 5)
_HARBOUR = (slice(50, None), slice(14, None))
"""Where plunder shows the kind to hit, and where only the player's ship can be; rows and columns."""


def ships_by_role(labels: torch.Tensor) -> torch.Tensor:
    """Replace the six kinds of ship in plunder's label maps by `PLAYER`, `TARGET` and `SPARED`.

    Parameters
    ----------
    labels : torch.Tensor, shape (batch, 64, 64), uint8

    Returns
    -------
    torch.Tensor, shape (batch, 64, 64), uint8
    """
    # In whole numbers: to choose between two maps pixel by pixel takes many times as long as to multiply them.
    ships = (labels == SHIPS[0]) | (labels - SHIPS[1] < len(SHIPS) - 1)
    wanted = labels == labels[:, _LEGEND[0], _LEGEND[1]][:, None, None]
    parts = labels * ~ships + (SPARED - (SPARED - TARGET) * wanted.view(torch.uint8)) * ships
    harbour = (slice(None), *_HARBOUR)
    parts[harbour] = parts[harbour].masked_fill(ships[harbour], PLAYER)
    return parts


def around_player(labels: torch.Tensor) -> torch.Tensor:
    """Label maps at half their resolution, shifted so that the player is in the centre.

    Each pixel is the largest label of four, so that small objects on empty ground are kept.

    Parameters
    ----------
    labels : torch.Tensor, shape (batch, height, width), uint8

    Returns
    -------
    torch.Tensor, shape (batch, height, width), uint8
        The player is at (height / 2, width / 2); pixels outside the map are `OUTSIDE`, and the whole map is included.
    """
    rows, columns = _places(labels)
    halves = torch.maximum(
        torch.maximum(labels[:, ::2, ::2], labels[:, 1::2, ::2]),
        torch.maximum(labels[:, ::2, 1::2], labels[:, 1::2, 1::2]),
    )
    return _centred(halves, rows // 2, columns // 2, labels.shape[1:])


def _places(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column of the player in each map, shape (batch,)."""
    player = (labels == PLAYER).view(torch.uint8)  # whose maximum takes a tenth of the time of `any`
    rows, columns = (_middle(player.amax(dim)) for dim in (2, 1))
    return rows, columns


def _centred(maps: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Crop a window of a given size around a position in each map."""
    height, width = size
    margins = (width // 2, width // 2, height // 2, height // 2)
    cut = _windows_in_memory if maps.device.type == "cpu" else _windows
    return cut(functional.pad(maps, margins, value=OUTSIDE), rows, columns, height, width)


def _middle(occupied: torch.Tensor) -> torch.Tensor:
    """Middle of the range of ones in each row, or of the row where there are none; shape (batch,)."""
    length = occupied.shape[1]
    first, last = occupied.argmax(dim=1), length - 1 - occupied.flip(1).argmax(dim=1)
    return torch.where(occupied.amax(dim=1) > 0, (first + last + 1) // 2, length // 2)


def _windows(maps: torch.Tensor, tops: torch.Tensor, lefts: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """One window of each map, shape (batch, height, width)."""
    numbers = torch.arange(len(maps), device=maps.device)
    return maps.unfold(1, height, 1).unfold(2, width, 1)[numbers, tops, lefts]


def _windows_in_memory(
    maps: torch.Tensor, tops: torch.Tensor, lefts: torch.Tensor, height: int, width: int
) -> torch.Tensor:
    """`_windows` on the CPU, where NumPy copies whole rows and is ten times as fast."""
    views = np.lib.stride_tricks.sliding_window_view(maps.numpy(), (height, width), axis=(1, 2))  # type: ignore[call-overload]
    return torch.from_numpy(views[np.arange(len(maps)), tops.numpy(), lefts.numpy()])
