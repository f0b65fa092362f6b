"""Random changes of frames that leave their meaning: crops, convolutions and colours.

Each image of a batch is changed by random numbers of its own, drawn by torch's generator on the CPU. All of them take
and give bytes, of the same shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch.nn import functional

MARGIN = 12 / 64
"""Largest shift of a crop, in parts of a side: 12 of Procgen's 64 pixels, as Raileanu et al. have it."""

STRENGTH = 0.4
"""Largest relative change of brightness, contrast and saturation."""

Augmentation = Callable[[torch.Tensor], torch.Tensor]


def random_crop(frames: torch.Tensor) -> torch.Tensor:
    """Shift each image by up to `MARGIN` of its sides; pixels at the edge are repeated.

    Parameters
    ----------
    frames : torch.Tensor, shape (batch, channels, height, width), uint8
        Or any other type.

    Returns
    -------
    torch.Tensor
        Of the same shape and type.
    """
    count, _, height, width = frames.shape
    rows, columns = (_shifted(count, side).to(frames.device) for side in (height, width))
    images = torch.arange(count, device=frames.device)
    picked = frames.movedim(1, -1)[images[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.movedim(-1, 1)


def _shifted(count: int, side: int) -> torch.Tensor:
    """Rows or columns that each image takes, shape (count, side)."""
    most = round(MARGIN * side)
    shifts = torch.randint(-most, most + 1, (count, 1))
    return (torch.arange(side) + shifts).clamp_(0, side - 1)


def random_convolution(frames: torch.Tensor) -> torch.Tensor:
    """Filter each image by a random convolution of 3 × 3 pixels, which changes colours and keeps shapes.

    After Lee et al., *Network Randomization*, 2020 (arXiv:1910.05396): normal weights after Glorot. A logistic function
    brings the result back to bytes, as in Laskin et al., 2020 (arXiv:2004.14990).

    Parameters
    ----------
    frames : torch.Tensor, shape (batch, channels, height, width), uint8

    Returns
    -------
    torch.Tensor, shape (batch, channels, height, width), uint8
    """
    count, channels, height, width = frames.shape
    fan = 9 * channels  # of either end
    weights = torch.randn(count * channels, channels, 3, 3) * math.sqrt(1 / fan)
    images = functional.pad(_unit(frames), (1, 1, 1, 1), mode="replicate")
    images = images.reshape(1, count * channels, height + 2, width + 2)  # one group an image
    filtered = functional.conv2d(images, weights.to(frames.device), groups=count)
    return _bytes(filtered.reshape(frames.shape).sigmoid())


def colour_jitter(frames: torch.Tensor) -> torch.Tensor:
    """Change the hue of each image at will, and its brightness, contrast and saturation by up to `STRENGTH`.

    The hue is turned around the grey axis of the colour space, so that all changes are one linear map of an image's
    colours, then its contrast.

    Parameters
    ----------
    frames : torch.Tensor, shape (batch, 3, height, width), uint8

    Returns
    -------
    torch.Tensor, shape (batch, 3, height, width), uint8

    Raises
    ------
    ValueError
        If the images have no three colours.
    """
    if frames.shape[1] != 3:
        raise ValueError(f"Colours are changed in images of 3 channels, not of {frames.shape[1]}: choose another.")
    count = len(frames)
    brightness, contrast, saturation = (1 + STRENGTH * (2 * torch.rand(count, 1, 1) - 1) for _ in range(3))
    grey = torch.full((3, 3), 1 / 3)
    maps = brightness * (grey + saturation * (_hue_rotations(2 * math.pi * torch.rand(count)) - grey))
    images = torch.einsum("bij,bjhw->bihw", maps.to(frames.device), _unit(frames))
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return _bytes(mean + contrast[..., None].to(frames.device) * (images - mean))


def _hue_rotations(angles: torch.Tensor) -> torch.Tensor:
    """Rotations of colours around the grey axis (Rodrigues's formula), shape (batch, 3, 3)."""
    cosines, sines = angles.cos()[:, None, None], angles.sin()[:, None, None]
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    return cosines * torch.eye(3) + sines * cross + (1 - cosines) / 3


def _unit(frames: torch.Tensor) -> torch.Tensor:
    return frames.float() / 255


def _bytes(images: torch.Tensor) -> torch.Tensor:
    return (255 * images).round_().clamp_(0, 255).to(torch.uint8)


AUGMENTATIONS: Mapping[str, Augmentation] = MappingProxyType(
    {"crop": random_crop, "convolution": random_convolution, "colour": colour_jitter}
)
"""Augmentations by name."""


def get_augmentation(name: str) -> Augmentation:
    """Look an augmentation up by its name.

    Raises
    ------
    ValueError
        If there is no such augmentation.
    """
    if name not in AUGMENTATIONS:
        raise ValueError(f"Unknown augmentation {name!r}: choose one of {', '.join(AUGMENTATIONS)}.")
    return AUGMENTATIONS[name]
