"""An encoder of label maps for games on a grid: it passes word from cell to cell until the way is known."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from lcd.agents.encoders.convolutional import CHANNELS, LABELS, Encoder, computing_type, label_channels
from lcd.agents.encoders.registry import register_encoder
from lcd.teachers.encoders.egocentric import PLAYER

LARGEST = 64
"""Cells, depth and rounds, each: no game of Procgen has more cells than a frame has pixels."""

SAMPLES = 5
"""Rows and columns of the label map that are looked at in each cell."""


@register_encoder("wayfinder")
class Wayfinder(Encoder):
    """One small convolution over the cells of a level, applied again and again, and read where the player is.

    A way through a maze is as long as it is, and a stack of layers reaches as far as there are layers. Here each round
    carries what a cell knows one cell further, with the same weights, as value iteration does (after Tamar et al.,
    *Value Iteration Networks*, 2016, arXiv:1602.02867), and every round sees the level anew (as in Bansal et al.,
    *End-to-end Algorithmic Synthesis with Recurrent Networks*, 2022, arXiv:2202.05826).

    Parameters
    ----------
    observation_space
        Label maps, shape (height, width), that show the whole level.
    cells
        Cells of the level in each direction.
    depth
        Numbers that a cell carries.
    rounds
        How often cells hear from those next to them, and so how many cells away from the player what decides may be;
        by default four for every three cells across.
    features_dim
        Number of features.
    """

    reads_frames = False
    same_operations = True
    rows: torch.Tensor
    columns: torch.Tensor

    def __init__(
        self,
        observation_space: spaces.Space,
        cells: int = 10,
        depth: int = 16,
        rounds: int | None = None,
        features_dim: int = 128,
    ) -> None:
        super().__init__(observation_space, features_dim)
        middles = (torch.arange(cells * SAMPLES) + 0.5) / (cells * SAMPLES)
        for name, length in zip(("rows", "columns"), self.image_shape[1:], strict=True):
            self.register_buffer(name, (middles * length).long(), persistent=False)
        self.image_shape = (CHANNELS + 1, cells * SAMPLES, cells * SAMPLES)
        self.network = self.with_features(_Rounds(depth, rounds or 4 * cells // 3))

    @classmethod
    def arguments(cls, numbers: tuple[int, ...]) -> dict[str, Any]:
        """Cells in each direction and, if given, depth and rounds."""
        if len(numbers) > 3:
            raise ValueError("it has a number of cells, a depth and a number of rounds")
        if max(numbers) > LARGEST:
            raise ValueError(f"each of its numbers is at most {LARGEST}")
        return dict(zip(("cells", "depth", "rounds"), numbers, strict=False))

    def images(self, observations: torch.Tensor) -> torch.Tensor:
        """Samples of label maps, in the type that the convolutions compute in; the last channel shows the player."""
        labels = observations.index_select(1, self.rows).index_select(2, self.columns)
        colours = _colours(computing_type(observations.device), observations.device)
        channels = colours.view(_AS_ONE[colours.dtype]).squeeze(1).index_select(0, labels.flatten().int())
        return channels.view(colours.dtype).view(*labels.shape, CHANNELS + 1).permute(0, 3, 1, 2)


_AS_ONE = {torch.float16: torch.int64, torch.bfloat16: torch.int64, torch.float32: torch.complex128}
"""Four numbers read as one, which is looked up in a fifth of the time."""


@cache
def _colours(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Channels of each label, shape (labels, channels): its levels, and whether it is the player."""
    with torch.inference_mode(False):
        labels = torch.arange(LABELS, dtype=torch.uint8, device=device)
        levels = label_channels(labels[None, None], dtype)[0, :, 0].T
        return torch.cat([levels, (labels == PLAYER).to(dtype)[:, None]], dim=1).contiguous()


class _Rounds(nn.Module):
    """What the player's cell knows after some rounds and what it shows, and the mean of what all cells know."""

    def __init__(self, depth: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.look = nn.Conv2d(CHANNELS + 1, 2 * depth, kernel_size=SAMPLES, stride=SAMPLES)
        self.tell = nn.Conv2d(2 * depth, depth, kernel_size=3, padding=1)
        self.pass_on = nn.Conv2d(depth, depth, kernel_size=3, padding=1, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Numbers of shape (batch, 4 * depth)."""
        shown = functional.relu(self.look(images))
        told = self.tell(shown)
        known = _bounded(told)
        for _ in range(self.count):
            known = _bounded(self.pass_on(known).add_(told))
        player = functional.avg_pool2d(images[:, -1:].contiguous(), SAMPLES).flatten(2)
        here = player / player.sum(dim=2, keepdim=True).clamp(min=1e-3)
        at_player = [(here @ _as_rows(numbers)).squeeze(1) for numbers in (known, shown)]
        return torch.cat([*at_player, known.mean(dim=(2, 3))], dim=1)


def _as_rows(numbers: torch.Tensor) -> torch.Tensor:
    """What each cell holds, shape (batch, cells, numbers), without moving it when it lies channels last."""
    return numbers.flatten(2).transpose(1, 2)


def _bounded(known: torch.Tensor) -> torch.Tensor:
    """Between 0 and 1 but for a slope that gradients pass: nothing grows from round to round."""
    return known.clamp(0.0, 1.0).add_(known, alpha=0.05)
