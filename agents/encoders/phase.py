"""An encoder whose units have phases: what belongs together comes to fire together."""

from __future__ import annotations

import math

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from lcd.agents.encoders.convolutional import CHANNELS, SizedEncoder, StridedConv2d
from lcd.agents.encoders.registry import register_encoder

ITERATIONS = 8
"""Rounds in which phases settle for each frame."""

REACH = 5
"""Side of the neighbourhood within which units draw each other's phases together."""


class Synchrony(nn.Module):
    """Units with amplitudes and phases; neighbours draw each other together, and all push each other apart.

    After the complex-valued recurrent networks of Muzellec, Linsley et al., *Tracking objects that change in appearance
    with phase synchrony* (arXiv:2410.02094), in which the phase of a unit says which object it is part of and the
    amplitude says what is there. Each round turns a unit's phase towards the field around it,

        ``z ← |z| · (z + r (K * Z − g · mean Z)) / |…|``,  with ``Z = Σ_channels z``,

    where ``K`` is a learned kernel without negative weights, so that the units of one thing, which touch, end in one
    phase, and ``g`` pushes phases of different things apart. Real and imaginary parts are kept as real numbers.

    Parameters
    ----------
    height, width : int
        Of the map of units.
    iterations : int
        Rounds.
    """

    start: torch.Tensor

    def __init__(self, height: int, width: int, iterations: int = ITERATIONS) -> None:
        super().__init__()
        self.iterations = iterations
        self.near = nn.Parameter(torch.full((1, 1, REACH, REACH), _inverse_softplus(1 / REACH**2)))
        self.rate = nn.Parameter(torch.tensor(_inverse_softplus(4.0)))
        self.apart = nn.Parameter(torch.tensor(_inverse_softplus(1.0)))
        generator = torch.Generator().manual_seed(0)
        angles = 2 * math.pi * torch.rand(height, width, generator=generator)
        self.register_buffer("start", torch.stack([angles.cos(), angles.sin()]), persistent=False)

    def forward(self, amplitudes: torch.Tensor) -> torch.Tensor:
        """Let phases settle.

        Parameters
        ----------
        amplitudes : torch.Tensor, shape (batch, channels, height, width)
            Not negative; a unit of amplitude 0 takes no part.

        Returns
        -------
        torch.Tensor, shape (batch, 2, channels, height, width)
            Real and imaginary parts.
        """
        strength = amplitudes.sum(dim=1, keepdim=True)
        # In one place all channels have one phase: they say what is there, and the phase says whose it is.
        turned = self.start.to(amplitudes.dtype).expand(len(amplitudes), -1, -1, -1)
        kernel = functional.softplus(self.near).to(amplitudes.dtype)
        rate, apart = functional.softplus(self.rate), functional.softplus(self.apart)
        for _ in range(self.iterations):
            waves = strength * turned
            field = functional.conv2d(waves.flatten(0, 1)[:, None], kernel, padding=REACH // 2).view_as(waves)
            mean = waves.sum(dim=(2, 3), keepdim=True) / strength.sum(dim=(2, 3), keepdim=True).clamp_min(1e-6)
            level = strength.amax(dim=(2, 3), keepdim=True).clamp_min(1e-6)
            turned = turned + rate * (field / level - apart * mean)
            turned = turned / turned.square().sum(dim=1, keepdim=True).clamp_min(1e-12).sqrt()
        return turned[:, :, None] * amplitudes[:, None]


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))


def coherence(waves: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """How far the units in some places share a phase, between 0 and 1.

    Parameters
    ----------
    waves : torch.Tensor, shape (batch, 2, channels, height, width)
        What `Synchrony` gave.
    where : torch.Tensor, shape (height, width), bool
        The places.

    Returns
    -------
    torch.Tensor, shape (batch,)
        Length of the mean of their directions, each weighted by its amplitude.
    """
    total = waves.sum(dim=2)[:, :, where]
    lengths = total.square().sum(dim=1).sqrt().sum(dim=1).clamp_min(1e-12)
    return total.sum(dim=2).square().sum(dim=1).sqrt() / lengths


@register_encoder("phase")
class Phase(SizedEncoder):
    """Nature's encoder whose first layer's units get phases, and whose second sees both parts of them.

    For recurrent policies, such as those of sb3-contrib's RecurrentPPO, it is a feature extractor like any other.
    """

    images_at_once = 512
    same_operations = True

    def __init__(self, observation_space: spaces.Space, features_dim: int = 512) -> None:
        super().__init__(observation_space, features_dim)
        height, width = self.image_shape[1:]
        self.image_shape = (CHANNELS, 12 + (height - 12) // 8 * 8, 12 + (width - 12) // 8 * 8)
        rows, columns = (max(1, (side - 8) // 4 + 1) for side in self.image_shape[1:])
        body = nn.Sequential(
            StridedConv2d(CHANNELS, 32, kernel_size=8, stride=4),
            nn.ReLU(),
            Synchrony(rows, columns),
            nn.Flatten(1, 2),
            nn.Conv2d(64, 64, kernel_size=4, stride=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, kernel_size=3),
            nn.Flatten(),
            nn.ReLU(inplace=True),
        )
        self.network = self.with_features(body)
