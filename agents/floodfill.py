"""An encoder of label maps for games on a grid that is told the ways, not taught them: where the nearest goal lies."""

from __future__ import annotations

from typing import ClassVar

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from agents.encoders import CHANNELS
from agents.registry import register_encoder
from agents.wayfinder import SAMPLES, Wayfinder, player_shares

NEXT = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Rows and columns from a cell to those that share an edge with it: up, down, left, right."""

STEPS_PER_CELL = 6
"""How many steps of a flood there are for each cell across: the ways of a perfect maze are up to that long."""


class Floodfill(Wayfinder):
    """What a wayfinder tells, and which of the cells beside the player lie nearer to a goal.

    A wayfinder must learn to carry word from cell to cell, and hears from as far as it has rounds. Here the label map
    is flooded from the goals, around the walls, as far as the level goes: that much of planning is built in and not
    learned, so this is an encoder for teachers, who may be made with every means, and not for learners that are
    compared. A subclass says which labels are goals and walls.

    Parameters
    ----------
    observation_space, cells, depth, rounds, features_dim
        As in `agents.Wayfinder`; a few rounds do, for they need to carry word only of what is near.
    """

    goals: ClassVar[tuple[int, ...]]
    walls: ClassVar[tuple[int, ...]]
    is_goal: torch.Tensor
    is_wall: torch.Tensor

    def __init__(
        self,
        observation_space: spaces.Space,
        cells: int = 10,
        depth: int = 16,
        rounds: int | None = None,
        features_dim: int = 128,
    ) -> None:
        super().__init__(observation_space, cells, depth, rounds, features_dim)
        self.image_shape = (CHANNELS + 3, *self.image_shape[1:])
        for name, labels in (("is_goal", self.goals), ("is_wall", self.walls)):
            self.register_buffer(name, torch.isin(torch.arange(256), torch.tensor(labels)), persistent=False)
        self.network = self.with_features(_Flooded(self.network[0]))

    def images(self, observations: torch.Tensor) -> torch.Tensor:
        """Samples of label maps as a wayfinder takes them, and two more channels: what is a goal and what is wall."""
        images = super().images(observations)
        labels = observations.index_select(1, self.rows).index_select(2, self.columns).int()
        marks = torch.stack([self.is_goal[labels], self.is_wall[labels]], dim=1)
        return torch.cat([images, marks.to(images.dtype)], dim=1)


@register_encoder("floodfill-maze")
class MazeFloodfill(Floodfill):
    """For maze: to the cheese, around the walls."""

    goals, walls = (3,), (52,)


@register_encoder("floodfill-chaser")
class ChaserFloodfill(Floodfill):
    """For chaser: to the nearest orb, around the walls."""

    goals, walls = (3, 63), (6,)


class _Flooded(nn.Module):
    """A wayfinder's numbers, and what a flood from the goals says where the player is."""

    def __init__(self, rounds: nn.Module) -> None:
        super().__init__()
        self.rounds = rounds

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Numbers of shape (batch, ...)."""
        seen = images[:, : CHANNELS + 1].contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            told = self._told(*images[:, CHANNELS:].float().unbind(1))
        return torch.cat([self.rounds(seen), told.to(images.dtype)], dim=1)

    @staticmethod
    def _told(player: torch.Tensor, goals: torch.Tensor, walls: torch.Tensor) -> torch.Tensor:
        """Which cells beside the player's are nearer, where in its cell it is, and how far it has to go; (batch, 7)."""
        here = player_shares(player[:, None])
        count, cells = len(here), round(here.shape[1] ** 0.5)
        place = here.argmax(dim=1)
        row, column = place // cells, place % cells
        goal, wall = (functional.avg_pool2d(mask[:, None], SAMPLES).squeeze(1) for mask in (goals, walls))
        times = arrival_times(goal > 0.2, wall < 0.5, row, column)
        nearer = (times[:, 1:] < times[:, :1]).float()
        along = torch.arange(cells * SAMPLES, device=player.device) / SAMPLES
        weight = player.sum(dim=(1, 2)).clamp(min=1e-3)
        aside = [
            ((player.sum(dim=axis) * along).sum(dim=1) / weight - at).clamp(-1, 2)
            for axis, at in ((2, row), (1, column))
        ]
        far = times[:, 0] / (STEPS_PER_CELL * cells)
        return torch.cat([nearer, torch.stack([*aside, far], dim=1)], dim=1).view(count, -1)


def arrival_times(
    goals: torch.Tensor, free: torch.Tensor, row: torch.Tensor, column: torch.Tensor
) -> torch.Tensor:
    """When a flood from the goals arrives at a cell and at those beside it.

    A row of cells is one number, a bit a cell, so that a step of the flood is a handful of operations.

    Parameters
    ----------
    goals, free : torch.Tensor, shape (batch, cells, cells), bool
        Where the flood begins, and where it goes; goals are free. At most 60 cells across.
    row, column : torch.Tensor, shape (batch,)
        The cell.

    Returns
    -------
    torch.Tensor, shape (batch, 5), float32
        Steps to the cell itself, and to the cells above, below, left and right of it; the number of all steps where
        the flood does not come, or there is no such cell.
    """
    cells = goals.shape[1]
    bits = 2 << torch.arange(cells, device=goals.device)  # the lowest bit stays free: what flows over the edge is lost
    wet, open_ = (functional.pad((mask * bits).sum(dim=2), (1, 1)) for mask in (goals, goals | free))
    around = torch.tensor([(0, 0), *NEXT], device=goals.device)
    rows = row[:, None] + 1 + around[:, 0]
    shifts = column[:, None] + 1 + around[:, 1]
    times = torch.zeros(rows.shape, dtype=torch.int64, device=goals.device)
    for _ in range(STEPS_PER_CELL * cells):
        times += 1 - (wet.gather(1, rows) >> shifts & 1)
        spread = wet | wet << 1 | wet >> 1
        spread[:, 1:] |= wet[:, :-1]
        spread[:, :-1] |= wet[:, 1:]
        wet = spread & open_
    return times.float()
