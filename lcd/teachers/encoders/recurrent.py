"""A recurrent encoder of label maps for grid games, which passes messages between cells as value iteration does."""

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
"""Limit of the number of cells, of the depth and of the rounds: no game of Procgen has more cells."""

SAMPLES = 5
"""Rows and columns of the label map that are sampled in each cell."""


@register_encoder("wayfinder")  # its name in the files of policies before
@register_encoder("recurrent")
class RecurrentEncoder(Encoder):
    """One small convolution over the cells of a level, applied recurrently and read out at the player's cell.

    A stack of layers reaches only as far as there are layers, which is too short for paths through a maze. Here each
    round propagates the hidden state by one cell with the same weights, as value iteration does (after Tamar et al.,
    *Value Iteration Networks*, 2016, arXiv:1602.02867), and every round receives the level as input again (as in Bansal
    et al., *End-to-end Algorithmic Synthesis with Recurrent Networks*, 2022, arXiv:2202.05826).

    Parameters
    ----------
    observation_space
        Label maps, shape (height, width), that show the whole level.
    cells
        Cells of the level in each direction.
    depth
        Hidden units of a cell.
    rounds
        Number of recurrent steps, and so the reach of the encoder in cells; by default four for every three cells
        across.
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
        """Samples of label maps, in the dtype of the convolutions; the last channel marks the player."""
        self.check_size(observations)
        labels = observations.index_select(1, self.rows).index_select(2, self.columns)
        colours = _colours(computing_type(observations.device), observations.device)
        channels = colours.view(_AS_ONE[colours.dtype]).squeeze(1).index_select(0, labels.flatten().int())
        return channels.view(colours.dtype).view(*labels.shape, CHANNELS + 1).permute(0, 3, 1, 2)


_AS_ONE = {torch.float16: torch.int64, torch.bfloat16: torch.int64, torch.float32: torch.complex128}
"""Four channels are looked up as one number, in a fifth of the time."""


@cache
def _colours(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Channels of each label, shape (labels, channels): its code, and whether it is the player."""
    with torch.inference_mode(False):
        labels = torch.arange(LABELS, dtype=torch.uint8, device=device)
        levels = label_channels(labels[None, None], dtype)[0, :, 0].T
        return torch.cat([levels, (labels == PLAYER).to(dtype)[:, None]], dim=1).contiguous()


class _Rounds(nn.Module):
    """Recurrent rounds over cells, read out as the player's hidden state and input and the mean hidden state.

    The names of the layers are those in the weights of the reference teachers.
    """

    def __init__(self, depth: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.look = nn.Conv2d(CHANNELS + 1, 2 * depth, kernel_size=SAMPLES, stride=SAMPLES)
        self.tell = nn.Conv2d(2 * depth, depth, kernel_size=3, padding=1)
        self.pass_on = nn.Conv2d(depth, depth, kernel_size=3, padding=1, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features of shape (batch, 4 * depth)."""
        embedded = functional.relu(self.look(images))
        inputs = self.tell(embedded)
        hidden = _bounded(inputs)
        for _ in range(self.count):
            hidden = _bounded(self.pass_on(hidden).add_(inputs))
        player = functional.avg_pool2d(images[:, -1:].contiguous(), SAMPLES).flatten(2)
        here = player / player.sum(dim=2, keepdim=True).clamp(min=1e-3)
        at_player = [(here @ _as_rows(values)).squeeze(1) for values in (hidden, embedded)]
        return torch.cat([*at_player, hidden.mean(dim=(2, 3))], dim=1)


def _as_rows(values: torch.Tensor) -> torch.Tensor:
    """Values of each cell, shape (batch, cells, channels), without a copy when they are in channels-last order."""
    return values.flatten(2).transpose(1, 2)


def _bounded(hidden: torch.Tensor) -> torch.Tensor:
    """Clamp to [0, 1] with a small slope outside: values stay bounded over the rounds, and gradients pass."""
    return hidden.clamp(0.0, 1.0).add_(hidden, alpha=0.05)
