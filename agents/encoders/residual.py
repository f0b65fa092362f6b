"""A residual encoder that is cheap on a CPU: small images from the first layer on, never few channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from torch import nn

from lcd.agents.encoders.convolutional import Encoder, ResidualBlock


class SpaceToDepth(nn.Module):
    """Rearrange patches of pixels into channels: ``(batch, c, h, w)`` to ``(batch, c·f², h/f, w/f)``.

    As ``torch.nn.functional.pixel_unshuffle``, with the channels permuted so that channels-last images are read
    contiguously.

    Parameters
    ----------
    factor
        Side of a patch, f.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images whose sides are multiples of the factor, rearranged; channels last in memory."""
        side, (batch, channels, height, width) = self.factor, images.shape
        rows = images.permute(0, 2, 3, 1).reshape(batch, height // side, side, width // side, side * channels)
        squares = rows.transpose(2, 3).reshape(batch, height // side, width // side, side * side * channels)
        return squares.permute(0, 3, 1, 2)


class Residual(Encoder):
    """Patches of pixels as channels, then stages of a convolution and a residual block.

    IMPALA (Espeholt et al., 2018, arXiv:1802.01561) spends most of its time on large images with few channels, which
    leave a processor's vectors half empty, and on pooling. Here the first convolution works at a quarter of the
    resolution, later stages halve it by their stride, and each has one block instead of two.
    ``scripts/compare_learners.py`` compares the two.

    Parameters
    ----------
    observation_space
        As in `Encoder`.
    factor
        Side of the patches that become channels.
    depths
        Channels of each stage; there are as many stages as numbers.
    features_dim
        Number of features.

    Raises
    ------
    ValueError
        If the image's sides are not multiples of the factor.
    """

    images_at_once = 512
    images_at_once_on_gpu = 8192
    same_operations = True

    @classmethod
    def arguments(cls, numbers: tuple[int, ...]) -> dict[str, Any]:
        """The factor and the depths."""
        if len(numbers) < 2:
            raise ValueError("its numbers are the side of its patches and the depth of each stage")
        return {"factor": numbers[0], "depths": numbers[1:]}

    def __init__(
        self,
        observation_space: spaces.Space,
        factor: int = 4,
        depths: Sequence[int] = (32, 64),
        features_dim: int = 256,
    ) -> None:
        super().__init__(observation_space, features_dim)
        height, width = self.image_shape[1:]
        if height % factor or width % factor:
            raise ValueError(f"Images of {height} x {width} pixels do not divide into patches of {factor} x {factor}.")
        stages: list[nn.Module] = [SpaceToDepth(factor)]
        channels, stride = self.channels * factor**2, 1
        for depth in depths:
            stages += [nn.Conv2d(channels, depth, kernel_size=3, stride=stride, padding=1), ResidualBlock(depth)]
            channels, stride = depth, 2
        self.network = self.with_features(nn.Sequential(*stages, nn.ReLU(), nn.Flatten()))
