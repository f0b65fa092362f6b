"""Feature visualisation: images that excite a network's target, made by optimising their phase, spectrum or pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch.nn import functional

from lcd.alignment.spectra import Spectrum, unit_phases
from lcd.io.limits import MOST_CROPS, MOST_STEPS_OF_IMAGE
from lcd.io.settings import Number, Share, Whole, settings

Objective = Callable[[torch.Tensor], torch.Tensor]
"""From images, shape (batch, channels, height, width), in [0, 1], to what is to become large, shape (batch,)."""

_SMALLEST = 1e-16
"""In the optimiser's denominator: so small that the objective's scale is of no account."""

_DEVIATION = 0.01
"""Standard deviation of the first image's coefficients, in the spaces of lucid."""


@settings
class Optimisation:
    """Settings of an optimisation.

    Attributes
    ----------
    steps
        Steps of gradient ascent.
    crops
        Random crops in each step, each resized to the image's size.
    crop
        Smallest side of a crop, as a share of the image's; 1 leaves the image whole.
    noise
        Standard deviation of the noise on the crops, with images in [0, 1].
    learning_rate
        Highest learning rate, which falls to 0 along a cosine; by default that of the space, see `SPACES`.
    """

    steps: Annotated[Whole, Field(ge=1, le=MOST_STEPS_OF_IMAGE)] = 256
    crops: Annotated[Whole, Field(ge=1, le=MOST_CROPS)] = 8
    crop: Annotated[Number, Field(ge=0.01, le=1, description="a share from 0.01 to 1")] = 0.8
    noise: Share = 0.08
    learning_rate: Annotated[Number, Field(gt=0, le=1e6, description="a number above 0 and up to 1e6")] | None = None


@dataclass(frozen=True, eq=False)
class Visualisation:
    """An optimised image.

    Attributes
    ----------
    image : torch.Tensor, shape (channels, height, width)
        What the space gave; made of phases, it has exactly the given magnitude and may leave [0, 1]. See `shown`.
    attribution : torch.Tensor, shape (height, width)
        Mean absolute gradient of the objective by the pixels over all steps, summed over channels: the transparency.
    scores : torch.Tensor, shape (steps,)
        Mean objective over the crops of each step.
    """

    image: torch.Tensor
    attribution: torch.Tensor
    scores: torch.Tensor

    @property
    def shown(self) -> torch.Tensor:
        """The image as a screen shows it and as it is evaluated: limited to [0, 1], in 256 levels."""
        return as_shown(self.image)


def as_shown(image: torch.Tensor) -> torch.Tensor:
    """An image limited to [0, 1], in 256 levels."""
    return (image.clamp(0, 1) * 255).round() / 255


class Space(NamedTuple):
    """A space of images to optimise in.

    Attributes
    ----------
    start : callable
        From a generator to the first coefficients.
    image : callable
        From coefficients to the image, shape (channels, height, width).
    optimizer : type of torch.optim.Optimizer
        The method's optimiser.
    learning_rate : float
        Its learning rate.
    """

    start: Callable[[torch.Generator], torch.Tensor]
    image: Callable[[torch.Tensor], torch.Tensor]
    optimizer: type[torch.optim.NAdam] | type[torch.optim.Adam]
    learning_rate: float


def phase_space(spectrum: Spectrum) -> Space:
    """Images of one magnitude: their phases are free (MACO).

    References
    ----------
    Fel, T. et al. (2023), "Unlocking feature visualization for deeper networks with magnitude constrained
    optimization", arXiv:2306.06805.
    """

    def start(generator: torch.Generator) -> torch.Tensor:
        return (2 * torch.rand(spectrum.magnitude.shape, generator=generator) - 1) * math.pi

    return Space(start, lambda angles: spectrum.image(unit_phases(angles, spectrum.width)), torch.optim.NAdam, 1.0)


def fourier_space(spectrum: Spectrum) -> Space:
    """Images by their complex spectrum, scaled by 1/f, in natural or the frames' colours, made valid by a sigmoid.

    References
    ----------
    Olah, C., Mordvintsev, A. and Schubert, L. (2017), "Feature visualization", Distill, and their program lucid.
    """
    height, width = spectrum.size
    frequency = (torch.fft.fftfreq(height)[:, None] ** 2 + torch.fft.rfftfreq(width)[None] ** 2).sqrt()
    scale = frequency.clamp_min(1 / max(height, width)) ** -1 * math.sqrt(height * width) / 4
    colours = _colours(spectrum)

    def start(generator: torch.Generator) -> torch.Tensor:
        return _DEVIATION * torch.randn((2, *spectrum.magnitude.shape), generator=generator)

    def image(coefficients: torch.Tensor) -> torch.Tensor:
        return colours(torch.fft.irfft2(scale * torch.complex(*coefficients), s=(height, width)))

    return Space(start, image, torch.optim.Adam, 0.05)


def pixel_space(spectrum: Spectrum) -> Space:
    """Images by their pixels, in the same colours, made valid by a sigmoid.

    References
    ----------
    Erhan, D. et al. (2009), "Visualizing higher-layer features of a deep network"; the colours and the optimiser are
    those of `fourier_space`.
    """

    def start(generator: torch.Generator) -> torch.Tensor:
        return _DEVIATION * torch.randn((len(spectrum.mean), *spectrum.size), generator=generator)

    return Space(start, _colours(spectrum), torch.optim.Adam, 0.05)


def _colours(spectrum: Spectrum) -> Callable[[torch.Tensor], torch.Tensor]:
    """From uncorrelated components to an image in [0, 1] whose colours vary as those of the spectrum; 0 is its mean."""
    middle = spectrum.mean.clamp(0.01, 0.99).logit()[:, None, None]
    weights = spectrum.axes * (spectrum.deviations / spectrum.deviations.max())[:, None]
    return lambda components: torch.sigmoid(torch.einsum("kc,khw->chw", weights, components) + middle)


SPACES: Mapping[str, Callable[[Spectrum], Space]] = MappingProxyType(
    {"phase": phase_space, "fourier": fourier_space, "pixels": pixel_space}
)
"""Spaces of images by name."""


def visualise(
    objective: Objective, space: Space, how: Optimisation | None = None, *, seed: int = 0, device: str = "cpu"
) -> Visualisation:
    """Make an image that excites a target.

    Parameters
    ----------
    objective : callable
        See `Objective`; it computes on `device`.
    space : Space
        Of the image, see `SPACES`.
    how : Optimisation, optional
    seed : int
        Seed of the first image, the crops and the noise.
    device : str
        Where the objective computes; the spectrum stays in the processor's memory.

    Returns
    -------
    Visualisation

    Raises
    ------
    ValueError
        If the objective or its gradient is not finite, or does not depend on the image.
    """
    how = how or Optimisation()
    generator = torch.Generator().manual_seed(seed)
    coefficients = space.start(generator).requires_grad_()
    rate = space.learning_rate if how.learning_rate is None else how.learning_rate
    optimizer = space.optimizer([coefficients], lr=rate, eps=_SMALLEST)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.steps)
    total, scores = torch.zeros(()), []
    with torch.enable_grad():
        for _ in range(how.steps):
            image = space.image(coefficients)
            seen = random_crops(image.clamp(0, 1), how.crops, how.crop, generator)
            seen = seen + how.noise * torch.randn(seen.shape, generator=generator)
            score = objective(seen.to(device)).mean().cpu()
            of_image, coefficients.grad = _gradients(score, image, coefficients)
            total = total + of_image.abs().sum(dim=0)
            scores.append(score.detach())
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        last = space.image(coefficients)
    attribution = (total / how.steps).expand(last.shape[1:])
    return Visualisation(last, attribution, torch.stack(scores))


def _gradients(score: torch.Tensor, image: torch.Tensor, coefficients: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Gradient of the score by the image, and of its negative by the coefficients, which the optimiser makes small.

    Raises
    ------
    ValueError
        If there is none, or it is not finite.
    """
    if not score.requires_grad:
        raise ValueError("The target does not depend on the image, or its gradient does not reach it: choose another.")
    (of_image,) = torch.autograd.grad(score, image, retain_graph=True)
    if not (torch.isfinite(score) and torch.isfinite(of_image).all()):
        raise ValueError(f"The target or its gradient is not finite ({score.item()}): choose another one.")
    (of_coefficients,) = torch.autograd.grad(image, coefficients, -of_image)
    return of_image, of_coefficients


def random_crops(image: torch.Tensor, count: int, smallest: float, generator: torch.Generator) -> torch.Tensor:
    """Random squares of an image, each resized to the image's size by bilinear interpolation.

    Parameters
    ----------
    image : torch.Tensor, shape (channels, height, width)
    count : int
        Number of crops.
    smallest : float
        Smallest side, as a share of the image's; sides are uniform up to 1, and so are places.
    generator : torch.Generator

    Returns
    -------
    torch.Tensor, shape (count, channels, height, width)
    """
    images = image.expand(count, *image.shape)
    if smallest >= 1:
        return images
    sides = smallest + (1 - smallest) * torch.rand(count, generator=generator)
    shifts = (1 - sides)[:, None] * (2 * torch.rand(count, 2, generator=generator) - 1)
    boxes = torch.zeros(count, 2, 3)
    boxes[:, 0, 0] = boxes[:, 1, 1] = sides
    boxes[:, :, 2] = shifts
    grid = functional.affine_grid(boxes, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
