"""Novelty of frames: how badly a network predicts what another one, drawn at random, makes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.running_mean_std import RunningMeanStd
from torch import nn

FEATURES = 512
"""Size of what is predicted."""

CLIP = 5.0
"""Largest absolute value of a normalised pixel."""

SMALLEST_SIDE = 36
"""Of a frame, so that each of the three convolutions has something to see."""


def _convolutions(shape: Sequence[int]) -> list[nn.Module]:
    """The layers that both networks have, up to `FEATURES` numbers."""
    channels, height, width = shape
    layers: list[nn.Module] = []
    for wide, kernel, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
        layers += [nn.Conv2d(channels, wide, kernel, stride), nn.LeakyReLU()]
        channels, height, width = wide, (height - kernel) // stride + 1, (width - kernel) // stride + 1
    return [*layers, nn.Flatten(), nn.Linear(channels * height * width, FEATURES)]


class Novelty(nn.Module):
    """Random network distillation (Burda et al., 2018, arXiv:1810.12894): a target, and its predictor.

    The architectures are those of the authors' code: three convolutions and a linear layer, and two more linear layers
    in the predictor, all drawn orthogonal. Only the predictor is trained.

    Parameters
    ----------
    shape
        Channels, height and width of a frame.

    Raises
    ------
    ValueError
        If frames are too small.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        if min(shape[1:]) < SMALLEST_SIDE:
            raise ValueError(
                f"Novelty is measured in frames from {SMALLEST_SIDE} pixels a side on, not of {tuple(shape)}."
            )
        self.target = nn.Sequential(*_convolutions(shape))
        more = [nn.ReLU(), nn.Linear(FEATURES, FEATURES), nn.ReLU(), nn.Linear(FEATURES, FEATURES)]
        self.predictor = nn.Sequential(*_convolutions(shape), *more)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.orthogonal_(layer.weight, math.sqrt(2))
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        self.target.requires_grad_(False)
        self.register_buffer("mean", torch.zeros(*shape))
        self.register_buffer("deviation", torch.ones(*shape))

    def normalised(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames of bytes less the mean of their pixels, in units of the deviation, up to `CLIP` either way."""
        return ((frames.float() - self.mean) / self.deviation).clamp_(-CLIP, CLIP)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Mean squared error of the prediction of each frame, shape (batch,), differentiable by the predictor.

        Parameters
        ----------
        frames : torch.Tensor, shape (batch, channels, height, width), uint8
        """
        normalised = self.normalised(frames)
        with torch.no_grad():
            wanted = self.target(normalised)
        return (self.predictor(normalised) - wanted).square().mean(dim=1)


class FrameStatistics:
    """Mean and deviation of every pixel, over all frames that were ever counted.

    Parameters
    ----------
    shape
        Channels, height and width of a frame.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self._statistics = RunningMeanStd(shape=tuple(shape))

    def count(self, frames: torch.Tensor) -> None:
        """Count frames, shape (batch, channels, height, width)."""
        variance, mean = torch.var_mean(frames.float(), dim=0, correction=0)
        mean_array, variance_array = (each.double().cpu().numpy() for each in (mean, variance))
        self._statistics.update_from_moments(mean_array, variance_array, len(frames))

    def tell(self, novelty: Novelty) -> None:
        """Normalise a network's frames by them; pixels that never change deviate by a 255th at least."""
        mean, deviation = self._statistics.mean, np.sqrt(self._statistics.var).clip(1.0)
        for place, array in ((novelty.mean, mean), (novelty.deviation, deviation)):
            place.copy_(torch.from_numpy(array))

    def snapshot(self) -> dict[str, Any]:
        """Everything that they are, as arrays."""
        return _snapshot(self._statistics)

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        _restore(self._statistics, snapshot)


class IntrinsicScale:
    """Scale of intrinsic rewards: the deviation of their discounted sums, which never end.

    Parameters
    ----------
    games
        Number of games at once.
    gamma
        Discount.
    """

    def __init__(self, games: int, gamma: float) -> None:
        self.gamma = gamma
        self._sums = np.zeros(games)
        self._statistics = RunningMeanStd(shape=())

    def scaled(self, rewards: NDArray[np.floating]) -> NDArray[np.float32]:
        """Count the rewards of a rollout, shape (steps, games), and divide them by the deviation."""
        sums = np.empty(rewards.shape)
        for step, of_games in enumerate(rewards):
            self._sums = self._sums * self.gamma + of_games
            sums[step] = self._sums
        self._statistics.update(sums.ravel())
        return (rewards / np.sqrt(self._statistics.var + 1e-8)).astype(np.float32)

    def snapshot(self) -> dict[str, Any]:
        """Everything that decides how it goes on."""
        return _snapshot(self._statistics) | {"sums": self._sums.copy()}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot; the sums of another number of games begin anew."""
        _restore(self._statistics, snapshot)
        sums = np.array(snapshot["sums"])
        self._sums = sums if sums.shape == self._sums.shape else np.zeros_like(self._sums)


def _snapshot(statistics: RunningMeanStd) -> dict[str, Any]:
    return {name: np.array(getattr(statistics, name)) for name in ("mean", "var", "count")}


def _restore(statistics: RunningMeanStd, snapshot: Mapping[str, Any]) -> None:
    statistics.mean, statistics.var = (np.array(snapshot[name]) for name in ("mean", "var"))
    statistics.count = float(snapshot["count"])
