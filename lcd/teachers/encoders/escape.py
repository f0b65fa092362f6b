"""A privileged-feature encoder for chaser: how far the player gets in each direction before an enemy does."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from lcd.agents.encoders.registry import register_encoder
from lcd.teachers.encoders.cells import Cells, PrivilegedFeatureEncoder
from lcd.teachers.encoders.floodfill import NEIGHBOURS, flooded, steps_between_looks

ORB, LARGE_ORB, ENEMY, WEAK_ENEMY, EGG, WALL = 63, 3, 7, 4, 5, 6
"""Labels of chaser's objects besides the player."""

MOST_CELLS = 64
"""Limit of the number of cells in each direction: the pixels of a frame."""

MAX_FLOOD_STEPS = 45
"""Limit of the steps of a flood: paths in a maze of 11 cells across are seldom longer."""

NUM_DIRECTIONS = len(NEIGHBOURS)


@register_encoder("floodfill-chaser")
class ChaserFloodfill(PrivilegedFeatureEncoder):
    """Reachability features for each of the four directions in which a player of chaser can go.

    A flood runs on from every cell beside the player's, and stops where an enemy could be first: enemies are as fast
    as the player, and a flood from them is one step ahead. The features are, for each direction, the distance to an orb
    that can be reached before an enemy, the length of the escape path, and the arrival time of the first enemy. This
    part of planning is built in and not learned: the encoder is for teachers, which may use privileged features, and
    not for learners that are compared.

    Parameters
    ----------
    observation_space
        Label maps, shape (height, width), that show the whole level.
    cells
        Cells of the level in each direction, at most 14.
    features_dim
        Number of features.

    Raises
    ------
    ValueError
        If there are more cells than that.
    """

    def __init__(self, observation_space: spaces.Box, cells: int = 11, features_dim: int = 128) -> None:
        super().__init__(
            observation_space, _ScaledFeatures(observation_space.shape[0], cells), _ScaledFeatures.size, features_dim
        )

    @classmethod
    def arguments(cls, numbers: tuple[int, ...]) -> dict[str, Any]:
        """Cells in each direction."""
        if len(numbers) != 1:
            raise ValueError("it has a number of cells")
        if numbers[0] > MOST_CELLS:
            raise ValueError(f"it has at most {MOST_CELLS} cells")
        return {"cells": numbers[0]}


class DirectionFeatures(NamedTuple):
    """Reachability in chaser for each of the directions up, down, left and right.

    Attributes
    ----------
    down, right : torch.Tensor, shape (batch,)
        The player's offset from the centre of its cell, in cells.
    here : torch.Tensor, shape (batch,), bool
        Whether there is an orb in the player's own cell.
    open : torch.Tensor, shape (batch, 4), bool
        Whether the next cell is no wall.
    orb : torch.Tensor, shape (batch, 4)
        Steps from the next cell to an orb that can be reached before an enemy; `MAX_FLOOD_STEPS` where there is none.
    enemy : torch.Tensor, shape (batch, 4)
        Steps in which an enemy can be in the next cell without passing the player; `MAX_FLOOD_STEPS` where none can.
    end : torch.Tensor, shape (batch, 4)
        Length of the longest path in this direction that no enemy can cut off.
    counts : torch.Tensor, shape (batch, 5)
        Cells with orbs, large orbs, enemies, weak enemies and eggs, as shares of the usual number.
    """

    down: torch.Tensor
    right: torch.Tensor
    here: torch.Tensor
    open: torch.Tensor
    orb: torch.Tensor
    enemy: torch.Tensor
    end: torch.Tensor
    counts: torch.Tensor

    @property
    def nearest(self) -> torch.Tensor:
        """Whether a direction leads to the nearest orb that can be reached, shape (batch, 4), bool."""
        return (self.orb == self.orb.amin(dim=1, keepdim=True)) & (self.orb < MAX_FLOOD_STEPS)


class DirectionFeatureExtractor(nn.Module):
    """Compute `DirectionFeatures` from label maps of chaser by flood fills.

    A row of cells is one integer, one bit a cell, as in `lcd.teachers.encoders.floodfill.arrival_times`. The floods of
    the four directions lie side by side in it, with an empty bit between them.

    Parameters
    ----------
    pixels
        Height and width of label maps.
    cells
        As in `ChaserFloodfill`.
    """

    bits: torch.Tensor
    lanes: torch.Tensor
    around: torch.Tensor
    usual: torch.Tensor

    def __init__(self, pixels: int = 64, cells: int = 11) -> None:
        super().__init__()
        self.cells, self.width = Cells(pixels, cells, (ORB, LARGE_ORB, ENEMY, WEAK_ENEMY, EGG, WALL)), cells + 1
        if NUM_DIRECTIONS * self.width > 60:
            raise ValueError(f"it has room for 14 cells in each direction at most, not {cells}")
        constants = {
            "bits": 2 << torch.arange(cells),
            "lanes": self.width * torch.arange(NUM_DIRECTIONS),
            "around": torch.tensor(NEIGHBOURS),
            "usual": torch.tensor([60, 4, 3, 3, 3]),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    @torch.no_grad()
    def forward(self, labels: torch.Tensor) -> DirectionFeatures:
        """Features of label maps of shape (batch, height, width), uint8."""
        (down, right), (row, column) = self.cells.player(labels)
        there = self.cells(labels)
        one_each = torch.arange(len(labels), device=labels.device)
        here = there[one_each, :2, row, column].any(dim=1)
        counts = there[:, :5].sum(dim=(2, 3)) / self.usual
        there[one_each, 5, row, column] = True  # no path leads back through the player's cell
        small, large, enemies, _, _, walls = functional.pad((there * self.bits).sum(dim=3), (1, 1)).unbind(dim=1)
        free = functional.pad(self.bits.sum().repeat(self.cells.count), (1, 1)) & ~walls
        first = torch.zeros_like(free).scatter_add_(
            1, row[:, None] + 1 + self.around[:, 0], 1 << column[:, None] + 1 + self.around[:, 1] + self.lanes
        )
        first &= self._everywhere(free)
        orb, enemy, end = self._times(first, free, small | large, enemies & free).float()
        return DirectionFeatures(
            down - row - 0.5, right - column - 0.5, here, self._by_direction(first), orb, enemy, end, counts
        )

    def _times(
        self, first: torch.Tensor, free: torch.Tensor, orbs: torch.Tensor, enemies: torch.Tensor
    ) -> torch.Tensor:
        """Times, for each direction, until an orb is reached, an enemy is in the first cell, and the flood ends.

        Parameters
        ----------
        first : torch.Tensor, shape (batch, cells + 2)
            First cell of each direction, the directions side by side.
        free, orbs, enemies : torch.Tensor, shape (batch, cells + 2)
            Cells that can be entered, cells with orbs, and cells from which enemies come.

        Returns
        -------
        torch.Tensor, shape (3, batch, 4)
            Steps, `MAX_FLOOD_STEPS` for what does not happen.
        """
        roads, goals = self._everywhere(free), self._everywhere(orbs)
        chasing, barred = enemies, flooded(enemies, free)
        flood = new = first & ~self._everywhere(barred)
        times = torch.full((3, len(first), NUM_DIRECTIONS), MAX_FLOOD_STEPS, device=first.device)
        looks = steps_between_looks(first.device)
        for step in range(MAX_FLOOD_STEPS):
            reached, met, goes_on = self._by_direction(
                torch.stack([flood & goals, self._everywhere(chasing) & first, new])
            )
            happens = torch.stack([reached, met, ~goes_on])
            times = torch.where(happens, times.clamp(max=step), times)
            before = flood, chasing
            chasing, barred = flooded(chasing, free), flooded(barred, free)
            flood = flooded(flood, roads) & ~self._everywhere(barred)
            new = flood & ~before[0]
            if step % looks == looks - 1 and _ended(goes_on, (flood, chasing), before):
                break
        return times

    def _everywhere(self, rows: torch.Tensor) -> torch.Tensor:
        """Repeat rows side by side, once for each direction."""
        return rows * (1 << self.lanes).sum()

    def _by_direction(self, rows: torch.Tensor) -> torch.Tensor:
        """Whether any bit of a direction is set, shape (..., 4), bool."""
        for _ in range((self.cells.count + 1).bit_length()):
            half = (rows.shape[-1] + 1) // 2
            rows = rows[..., :half] | rows[..., -half:]
        return (rows >> self.lanes & (1 << self.width) - 1) != 0


def _ended(goes_on: torch.Tensor, now: tuple[torch.Tensor, ...], before: tuple[torch.Tensor, ...]) -> bool:
    """Whether further steps of the floods change nothing in any state.

    In the step after a flood's last one nothing goes on any more, which is what `DirectionFeatures.end` tells: that
    step has to be made, too, or the features of a state depend on whether others of the batch still have some way to
    go.
    """
    return not bool(goes_on.any()) and all(torch.equal(*pair) for pair in zip(now, before, strict=True))


class _ScaledFeatures(nn.Module):
    """`DirectionFeatures` scaled to numbers of moderate size."""

    size = 6 * NUM_DIRECTIONS + 9

    def __init__(self, pixels: int, cells: int) -> None:
        super().__init__()
        self.extractor = DirectionFeatureExtractor(pixels, cells)

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        """Features of shape (batch, size)."""
        features: DirectionFeatures = self.extractor(labels)
        scaled = [
            features.nearest,
            torch.exp(-features.orb / 5),
            torch.exp(-features.enemy / 3),
            features.enemy / MAX_FLOOD_STEPS,
            features.end / MAX_FLOOD_STEPS,
            features.open,
            torch.stack([features.down, features.right, features.here, ~features.nearest.any(dim=1)], dim=1),
            features.counts,
        ]
        return torch.cat([values.float() for values in scaled], dim=1)
