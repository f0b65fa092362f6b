"""A small network of a user's, in a module that can be named, and images for it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class TinyVision(nn.Module):
    """Layers "first" to "last", with places but for the last."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first = nn.Conv2d(3, 4, 4, 4)
            self.second = nn.Conv2d(4, 6, 2, 2)
            self.last = nn.Linear(24, 8)
        self.scale = 4.0

    def forward(self, images):
        low = torch.tanh(self.scale * self.first(images - 0.5))
        high = torch.tanh(self.scale * self.second(low))
        return self.last(high.flatten(1))


def make_tiny():
    return TinyVision()


INSTANCE = TinyVision()


def pictures(count, seed=0, side=16):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3)).astype(np.uint8)
