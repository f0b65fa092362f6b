"""An encoder of chaser's label maps that is told how far one gets before an enemy does."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from lcd.agents.encoders.registry import register_encoder
from lcd.teachers.encoders.cells import Cells, ToldEncoder
from lcd.teachers.encoders.floodfill import NEXT, flooded, steps_between_looks

ORB, LARGE_ORB, ENEMY, WEAK_ENEMY, EGG, WALL = 63, 3, 7, 4, 5, 6
"""Labels of what there is in chaser besides the player."""

MOST_CELLS = 64
"""In each direction: as many as a frame has pixels."""

AHEAD = 45
"""Steps of a flood at most: ways in a maze of 11 cells across are seldom longer."""

WAYS = len(NEXT)


@register_encoder("floodfill-chaser")
class ChaserFloodfill(ToldEncoder):
    """What floods say about each of the four ways that a player of chaser can go.

    From every cell beside the player's a flood runs on, and stops where an enemy might be first: enemies are as fast as
    the player, and a flood from them runs one step ahead. So the policy is told how far it is that way to an orb that
    can be had before an enemy comes, how long one can go on, and when the first enemy can be there. That much of
    planning is built in and not learned, so this is an encoder for teachers, who may be made with every means, and not
    for learners that are compared.

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
        super().__init__(observation_space, _Told(observation_space.shape[0], cells), _Told.size, features_dim)

    @classmethod
    def arguments(cls, numbers: tuple[int, ...]) -> dict[str, Any]:
        """Cells in each direction."""
        if len(numbers) != 1:
            raise ValueError("it has a number of cells")
        if numbers[0] > MOST_CELLS:
            raise ValueError(f"it has at most {MOST_CELLS} cells")
        return {"cells": numbers[0]}


class Outlook(NamedTuple):
    """What a player of chaser has before it, on each of the ways up, down, left and right.

    Attributes
    ----------
    down, right : torch.Tensor, shape (batch,)
        Where in its cell the player is, in cells from the middle.
    here : torch.Tensor, shape (batch,), bool
        Whether there is an orb in the player's own cell.
    open : torch.Tensor, shape (batch, 4), bool
        Whether the next cell is no wall.
    orb : torch.Tensor, shape (batch, 4)
        Steps from the next cell to an orb that can be had before an enemy comes; `AHEAD` where there is none.
    enemy : torch.Tensor, shape (batch, 4)
        Steps in which an enemy can be in the next cell without passing the player; `AHEAD` where none can.
    end : torch.Tensor, shape (batch, 4)
        Steps for which one can go on that way before the last enemy-free cell is reached.
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
        """Whether a way leads to the nearest orb that can be had, shape (batch, 4), bool."""
        return (self.orb == self.orb.amin(dim=1, keepdim=True)) & (self.orb < AHEAD)


class Lookout(nn.Module):
    """Looks ahead, from label maps of chaser.

    A row of cells is one number, a bit a cell, as in `lcd.teachers.encoders.floodfill.arrival_times`. Floods that
    differ with the way lie side by side in it, with an empty bit between them.

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
        if WAYS * self.width > 60:
            raise ValueError(f"it sees 14 cells in each direction at most, not {cells}")
        constants = {
            "bits": 2 << torch.arange(cells),
            "lanes": self.width * torch.arange(WAYS),
            "around": torch.tensor(NEXT),
            "usual": torch.tensor([60, 4, 3, 3, 3]),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    @torch.no_grad()
    def forward(self, labels: torch.Tensor) -> Outlook:
        """What there is ahead, from label maps of shape (batch, height, width), uint8."""
        (down, right), (row, column) = self.cells.player(labels)
        there = self.cells(labels)
        one_each = torch.arange(len(labels), device=labels.device)
        here = there[one_each, :2, row, column].any(dim=1)
        counts = there[:, :5].sum(dim=(2, 3)) / self.usual
        there[one_each, 5, row, column] = True  # no way leads back through where the player is
        small, large, enemies, _, _, walls = functional.pad((there * self.bits).sum(dim=3), (1, 1)).unbind(dim=1)
        free = functional.pad(self.bits.sum().repeat(self.cells.count), (1, 1)) & ~walls
        first = torch.zeros_like(free).scatter_add_(
            1, row[:, None] + 1 + self.around[:, 0], 1 << column[:, None] + 1 + self.around[:, 1] + self.lanes
        )
        first &= self._everywhere(free)
        orb, enemy, end = self._times(first, free, small | large, enemies & free).float()
        return Outlook(down - row - 0.5, right - column - 0.5, here, self._ways(first), orb, enemy, end, counts)

    def _times(
        self, first: torch.Tensor, free: torch.Tensor, orbs: torch.Tensor, enemies: torch.Tensor
    ) -> torch.Tensor:
        """When, on each way, an orb is reached, an enemy can be in the first cell, and it goes on no more.

        Parameters
        ----------
        first : torch.Tensor, shape (batch, cells + 2)
            First cell of each way, the ways side by side.
        free, orbs, enemies : torch.Tensor, shape (batch, cells + 2)
            Cells that can be entered, those with something to be had, and those from which enemies come.

        Returns
        -------
        torch.Tensor, shape (3, batch, 4)
            Steps, `AHEAD` for what does not come about.
        """
        roads, goals = self._everywhere(free), self._everywhere(orbs)
        chasing, barred = enemies, flooded(enemies, free)
        flood = new = first & ~self._everywhere(barred)
        times = torch.full((3, len(first), WAYS), AHEAD, device=first.device)
        looks = steps_between_looks(first.device)
        for step in range(AHEAD):
            reached, met, goes_on = self._ways(torch.stack([flood & goals, self._everywhere(chasing) & first, new]))
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
        """The same rows beside each other, once for each way."""
        return rows * (1 << self.lanes).sum()

    def _ways(self, rows: torch.Tensor) -> torch.Tensor:
        """On which ways there is anything at all, shape (..., 4), bool."""
        for _ in range((self.cells.count + 1).bit_length()):
            half = (rows.shape[-1] + 1) // 2
            rows = rows[..., :half] | rows[..., -half:]
        return (rows >> self.lanes & (1 << self.width) - 1) != 0


def _ended(goes_on: torch.Tensor, now: tuple[torch.Tensor, ...], before: tuple[torch.Tensor, ...]) -> bool:
    """Whether further steps of the floods change nothing in any state.

    In the step after a flood's last one nothing goes on any more, which is what `Outlook.end` tells: that step has to
    be made, too, or what is told of a state depends on whether others of the batch still have some way to go.
    """
    return not bool(goes_on.any()) and all(torch.equal(*pair) for pair in zip(now, before, strict=True))


class _Told(nn.Module):
    """What a lookout sees as numbers of moderate size."""

    size = 6 * WAYS + 9

    def __init__(self, pixels: int, cells: int) -> None:
        super().__init__()
        self.lookout = Lookout(pixels, cells)

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        """Numbers of shape (batch, size)."""
        ahead: Outlook = self.lookout(labels)
        told = [
            ahead.nearest,
            torch.exp(-ahead.orb / 5),
            torch.exp(-ahead.enemy / 3),
            ahead.enemy / AHEAD,
            ahead.end / AHEAD,
            ahead.open,
            torch.stack([ahead.down, ahead.right, ahead.here, ~ahead.nearest.any(dim=1)], dim=1),
            ahead.counts,
        ]
        return torch.cat([numbers.float() for numbers in told], dim=1)
