"""Privileged-feature encoders for mazes: a flood fill from the goal gives the direction of the shortest path."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from lcd.agents.encoders.convolutional import CHANNELS, label_channels
from lcd.agents.encoders.registry import register_encoder
from lcd.teachers.encoders.cells import WINDOW, Cells, PrivilegedFeatureEncoder
from lcd.teachers.encoders.recurrent import SAMPLES, RecurrentEncoder

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Rows and columns from a cell to those that share an edge with it: up, down, left, right."""

GOAL, WALL = 3, 52
"""Labels in maze; heist's walls have the same."""

FLOOD_STEPS_PER_CELL = 6
"""Steps of a flood for each cell across: an upper bound of path lengths in a perfect maze."""


MOST_CELLS = 60
"""Of a flood in each direction, whose rows are integers of 64 bits with a bit free at each side."""


@register_encoder("floodfill-maze")
class MazeFloodfill(RecurrentEncoder):
    """Features of a recurrent encoder, and which of the cells beside the player lie nearer to the cheese of maze.

    `RecurrentEncoder` must learn to propagate distances, and only as far as it has rounds. Here the label map is
    flooded from the goal over the whole level. This part of planning is built in and not learned: the encoder is for
    teachers, which may use privileged features, and not for learners that are compared.

    Parameters
    ----------
    observation_space, **sizes
        As in `lcd.teachers.encoders.recurrent.RecurrentEncoder`; a few rounds suffice, as they need to cover only the
        player's surroundings.
    """

    same_operations = False  # a flood ends where nothing more gets wet

    def __init__(self, observation_space: spaces.Space, **sizes: int) -> None:
        super().__init__(observation_space, **sizes)
        self.network = self.with_features(_FloodFeatures(self.backbone))

    @classmethod
    def arguments(cls, numbers: tuple[int, ...]) -> dict[str, Any]:
        """As in the parent, with at most `MOST_CELLS`."""
        if numbers[:1] > (MOST_CELLS,):
            raise ValueError(f"it floods at most {MOST_CELLS} cells in each direction")
        return super().arguments(numbers)


@register_encoder("floodfill-heist")
class HeistFloodfill(PrivilegedFeatureEncoder):
    """Which of the cells beside the player lie nearer to the next goal of heist.

    The next goal is the nearest key that can be reached, and the exit when none can. A door is closed while its key is
    not held. For teachers only, as `MazeFloodfill` is.

    Parameters
    ----------
    observation_space
        Label maps of easy levels, shape (64, 64).
    features_dim
        Number of features.
    """

    def __init__(self, observation_space: spaces.Space, features_dim: int = 128) -> None:
        super().__init__(observation_space, _NextGoalFeatures(), _NextGoalFeatures.size, features_dim)


KEYS, DOORS, EXIT = (3, 61, 60), (2, 63, 62), 10
"""Labels in heist; a key and its door have the same place."""

HEIST_CELLS = 9

_RING, _BESIDE_RING = (3, (61, 57, 53)), (2, 5)
"""Row and columns of pixels that show held keys in easy levels, and two rows of which a key in a cell covers one."""


class _NextGoalFeatures(nn.Module):
    """Features of a flood fill from the next goal, read out at the player's cell."""

    size = 13
    keys: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.cells = Cells(64, HEIST_CELLS, (*KEYS, *DOORS, EXIT, WALL))
        self.register_buffer("keys", torch.tensor(KEYS, dtype=torch.uint8), persistent=False)

    @torch.no_grad()
    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        """Features of shape (batch, size)."""
        (down, right), (row, column) = self.cells.player(labels)
        there, held = self.cells(labels), self._held(labels)
        keys, doors, exits, walls = there[:, :3], there[:, 3:6], there[:, 6], there[:, 7]
        keys[:, :, 0] &= ~self._on_ring(held)
        below = labels[:, _BESIDE_RING[1]].index_select(1, self.cells.pixels) == EXIT
        exits[:, 0] |= below.view(-1, HEIST_CELLS, WINDOW).any(dim=2)  # held keys may lie on it
        closed = (doors & ~held[:, :, None, None]).any(dim=1) | walls
        goals = torch.cat([keys.any(dim=1), exits])
        to_keys, to_exit = arrival_times(goals, ~closed.repeat(2, 1, 1), row.repeat(2), column.repeat(2)).chunk(2)
        never = FLOOD_STEPS_PER_CELL * HEIST_CELLS
        fetches = to_keys[:, :1] < never
        times = torch.where(fetches, to_keys, to_exit)
        nearer = times[:, 1:] < times[:, :1]
        place = torch.stack([down - row - 0.5, right - column - 0.5, times[:, 0] / never], dim=1)
        reached = (times[:, 1:] < never).sum(dim=1, keepdim=True) / len(NEIGHBOURS)
        return torch.cat([nearer, place, fetches, held, times[:, :1] == 0, reached], dim=1).float()

    def _held(self, labels: torch.Tensor) -> torch.Tensor:
        """Which keys are held, shape (batch, 3), bool."""
        row, columns = _RING
        above, below = (labels[:, beside, columns] != self.keys for beside in _BESIDE_RING)
        return (labels[:, row, columns] == self.keys) & above & below

    def _on_ring(self, held: torch.Tensor) -> torch.Tensor:
        """Where the upper row of cells shows a key only because it is held, shape (batch, 3, cells)."""
        return held[:, :, None] & (torch.arange(HEIST_CELLS, device=held.device) >= HEIST_CELLS - 2)


class _FloodFeatures(nn.Module):
    """Features of the recurrent rounds, and of a flood fill from the goal at the player's cell."""

    goal: torch.Tensor
    wall: torch.Tensor

    def __init__(self, rounds: nn.Module) -> None:
        super().__init__()
        self.rounds = rounds
        for name, label in (("goal", GOAL), ("wall", WALL)):
            levels = label_channels(torch.tensor([[[label]]], dtype=torch.uint8), torch.float32)
            self.register_buffer(name, levels.flatten(), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features of shape (batch, 4 * depth + 7)."""
        with torch.no_grad():
            flooded_features = self.flood(images.detach())
        return torch.cat([self.rounds(images), flooded_features.to(images.dtype)], dim=1)

    def flood(self, images: torch.Tensor) -> torch.Tensor:
        """Features of the flood, shape (batch, 7).

        Whether the cell above, below, left and right of the player's is nearer to the goal; the player's offset in its
        cell, down and to the right; and the length of the path to the goal.
        """
        player = images[:, -1].float()
        cells = player.shape[1] // SAMPLES
        along = (torch.arange(cells * SAMPLES, device=player.device) + 0.5) / SAMPLES
        by_side = torch.stack([player.sum(dim=2), player.sum(dim=1)])
        down, right = (by_side @ along) / by_side.sum(dim=2).clamp(min=1e-3)
        row, column = (place.long().clamp(max=cells - 1) for place in (down, right))
        middles = images[:, :CHANNELS, SAMPLES // 2 :: SAMPLES, SAMPLES // 2 :: SAMPLES].permute(0, 2, 3, 1)
        goal, wall = ((middles == levels.to(middles.dtype)).all(dim=-1) for levels in (self.goal, self.wall))
        times = arrival_times(goal, ~wall, row, column)
        nearer = (times[:, 1:] < times[:, :1]).float()
        far = times[:, 0] / (FLOOD_STEPS_PER_CELL * cells)
        return torch.cat([nearer, torch.stack([down - row, right - column, far], dim=1)], dim=1)


def arrival_times(goals: torch.Tensor, free: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """Arrival time of a flood from the goals at a cell and at its neighbours.

    A row of cells is one integer, one bit a cell, so that a step of the flood takes few operations.

    Parameters
    ----------
    goals, free : torch.Tensor, shape (batch, cells, cells), bool
        Sources of the flood, and cells that it can enter; goals are free. At most `MOST_CELLS` across.
    row, column : torch.Tensor, shape (batch,)
        The cell.

    Returns
    -------
    torch.Tensor, shape (batch, 5), float32
        Steps to the cell itself, and to the cells above, below, left and right of it; the number of all steps where
        the flood does not arrive or there is no such cell.
    """
    cells = goals.shape[1]
    bits = 2 << torch.arange(cells, device=goals.device)  # the lowest bit stays free: what flows over the edge is lost
    wet, open_ = (functional.pad((mask * bits).sum(dim=2), (1, 1)) for mask in (goals, goals | free))
    around = torch.tensor([(0, 0), *NEIGHBOURS], device=goals.device)
    rows = row[:, None] + 1 + around[:, 0]
    shifts = column[:, None] + 1 + around[:, 1]
    times = torch.zeros(rows.shape, dtype=torch.int64, device=goals.device)
    looks = steps_between_looks(goals.device)
    for step in range(FLOOD_STEPS_PER_CELL * cells):
        times += 1 - (wet.gather(1, rows) >> shifts & 1)
        spread = flooded(wet, open_)
        if step % looks == looks - 1 and torch.equal(spread, wet):
            break
        wet = spread
    arrived = (wet.gather(1, rows) >> shifts & 1).bool()
    return torch.where(arrived, times, FLOOD_STEPS_PER_CELL * cells).float()


def steps_between_looks(device: torch.device) -> int:
    """After how many steps a flood looks whether it has ended; further steps change nothing.

    On a GPU to look is to wait for all that was launched, which takes as long as several steps of a flood.
    """
    return 1 if device.type == "cpu" else 8


def flooded(wet: torch.Tensor, free: torch.Tensor) -> torch.Tensor:
    """Advance a flood by one step; each row of cells is an integer, one bit a cell. Both of shape (batch, rows)."""
    spread = wet | wet << 1 | wet >> 1
    spread[:, 1:] |= wet[:, :-1]
    spread[:, :-1] |= wet[:, 1:]
    return spread & free
