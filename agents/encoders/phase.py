"""A complex-valued recurrent encoder: units of one object synchronise their phases."""

from __future__ import annotations

import math

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from lcd.agents.encoders.convolutional import SizedEncoder, StridedConv2d
from lcd.agents.encoders.registry import register_encoder

ITERATIONS = 8
"""Recurrent steps for each frame."""

REACH = 5
"""Side of the neighbourhood in which units synchronise their phases."""


LARGEST_MATRIX = 512
"""Largest number of units whose field is one product of matrices, twice as fast as a convolution of one channel."""


class Synchrony(nn.Module):
    """Recurrent phase synchronisation: local excitation synchronises neighbours, global inhibition separates objects.

    After the complex-valued recurrent networks of Muzellec, Linsley et al., *Tracking objects that change in appearance
    with phase synchrony* (arXiv:2410.02094), in which the phase of a unit encodes the object that it belongs to and the
    amplitude encodes the feature. Each step turns a position's phase ``u``, of length 1, towards the field around it,

        ``u ← (u + r (K * Z / max s − g · Σ Z / Σ s)) / |…|``,  with ``Z = s u``,

    where ``s`` is the sum of the position's amplitudes over the channels, maximum and sums are over the map, ``K`` is a
    learned kernel without negative weights, which gives adjacent units of one object the same phase, and ``g``
    separates the phases of different objects. The two normalisations, by which the strength of a map does not matter,
    are this project's. Real and imaginary parts are stored as real numbers.

    Parameters
    ----------
    height, width : int
        Of the map of units.
    iterations : int
        Recurrent steps.
    """

    start: torch.Tensor
    places: torch.Tensor

    def __init__(self, height: int, width: int, iterations: int = ITERATIONS) -> None:
        super().__init__()
        self.iterations = iterations
        self.near = nn.Parameter(torch.empty(1, 1, REACH, REACH))
        self.rate, self.apart = nn.Parameter(torch.empty(())), nn.Parameter(torch.empty(()))
        self.reset_parameters()
        self._matrix = height * width <= LARGEST_MATRIX
        if self._matrix:
            self.register_buffer("places", _places_in_kernel(height, width), persistent=False)
        generator = torch.Generator().manual_seed(0)
        angles = 2 * math.pi * torch.rand(height, width, generator=generator)
        self.register_buffer("start", torch.stack([angles.cos(), angles.sin()]), persistent=False)

    def reset_parameters(self) -> None:
        """Set the weights with which training begins: nothing of them is random."""
        for weight, value in ((self.near, 1 / REACH**2), (self.rate, 4.0), (self.apart, 1.0)):
            nn.init.constant_(weight, _inverse_softplus(value))

    def forward(self, amplitudes: torch.Tensor) -> torch.Tensor:
        """Synchronise the phases of units with given amplitudes.

        Parameters
        ----------
        amplitudes : torch.Tensor, shape (batch, channels, height, width)
            Not negative; a unit of amplitude 0 takes no part.

        Returns
        -------
        torch.Tensor, shape (batch, 2, channels, height, width)
            Real and imaginary parts.
        """
        # All channels of a position share one phase: they encode the feature, and the phase encodes the object.
        phases = self.start.to(amplitudes.dtype).expand(len(amplitudes), -1, -1, -1)
        phases = self.synchronised(phases, amplitudes.sum(dim=1, keepdim=True))
        return phases[:, :, None] * amplitudes[:, None]

    def synchronised(self, phases: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
        """Synchronise given phases.

        Parameters
        ----------
        phases : torch.Tensor, shape (batch, 2, height, width)
            Unit vectors.
        strength : torch.Tensor, shape (batch, 1, height, width)
            Weight of each position, not negative.

        Returns
        -------
        torch.Tensor, shape (batch, 2, height, width)
            Unit vectors.
        """
        kernel = functional.softplus(self.near).to(strength.dtype)
        rate, apart = functional.softplus(self.rate), functional.softplus(self.apart)
        weights = functional.pad(kernel.flatten(), (0, 1))[self.places] if self._matrix else kernel
        for _ in range(self.iterations):
            waves = strength * phases
            field = self._field(waves, weights)
            mean = waves.sum(dim=(2, 3), keepdim=True) / strength.sum(dim=(2, 3), keepdim=True).clamp_min(1e-6)
            level = strength.amax(dim=(2, 3), keepdim=True).clamp_min(1e-6)
            phases = unit(phases + rate * (field / level - apart * mean))
        return phases

    def _field(self, waves: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Sum of the waves around each unit, weighted by the kernel; for small maps one product of matrices."""
        if self._matrix:
            return (waves.flatten(2) @ weights).view_as(waves)
        return functional.conv2d(waves.flatten(0, 1)[:, None], weights, padding=REACH // 2).view_as(waves)


def _places_in_kernel(height: int, width: int) -> torch.Tensor:
    """Where in the flat kernel the weight from each unit to each other lies, shape (units, units); its end for none."""
    rows, columns = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    down, right = (each[:, None] - each[None] + REACH // 2 for each in (rows, columns))
    near = (down >= 0) & (down < REACH) & (right >= 0) & (right < REACH)
    return torch.where(near, down * REACH + right, REACH**2)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Scale vectors along the second dimension to length 1."""
    return vectors / vectors.square().sum(dim=1, keepdim=True).clamp_min(1e-12).sqrt()


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))


def coherence(waves: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Phase coherence of the units at some positions, between 0 and 1.

    Parameters
    ----------
    waves : torch.Tensor, shape (batch, 2, channels, height, width)
        Output of `Synchrony`.
    where : torch.Tensor, shape (height, width), bool
        The positions.

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
    """Nature's encoder with `Synchrony` after its first layer; the second takes real and imaginary parts.

    For recurrent policies, such as those of sb3-contrib's RecurrentPPO, it is a feature extractor like any other.
    """

    images_at_once = 512
    same_operations = True

    def __init__(self, observation_space: spaces.Space, features_dim: int = 512) -> None:
        super().__init__(observation_space, features_dim)
        height, width = self.image_shape[1:]
        self.image_shape = (self.channels, 12 + (height - 12) // 8 * 8, 12 + (width - 12) // 8 * 8)
        rows, columns = (max(1, (side - 8) // 4 + 1) for side in self.image_shape[1:])
        body = nn.Sequential(
            StridedConv2d(self.channels, 32, kernel_size=8, stride=4),
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
