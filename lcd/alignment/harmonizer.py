"""The neural harmonizer: a loss that aligns a network's importance maps with reference maps.

After Fel, Felipe, Linsley and Serre, *Harmonizing the object recognition strategies of deep neural networks with
humans*, NeurIPS 2022 (arXiv:2211.04533), as their public code computes it: the importance map is the gradient of the
target's output with respect to the image, averaged over channels; it and the reference are standardised, cut at zero
and compared at five levels of a pyramid.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

LEVELS = 5
"""Levels of the pyramid, including the map itself."""

_DEVIATION_EPSILON, _MAXIMUM_EPSILON = 1e-5, 1e-6
_ROUNDING = 1e-6  # largest relative deviation of a constant map in single precision
_BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def standardise_and_cut(maps: torch.Tensor) -> torch.Tensor:
    """Standardise each map to zero mean and unit deviation, and set negative values to zero.

    Parameters
    ----------
    maps : torch.Tensor, shape (batch, height, width)

    Returns
    -------
    torch.Tensor, shape (batch, height, width)
        Zero everywhere for a constant map.
    """
    mean = maps.mean(dim=(1, 2), keepdim=True)
    centred = maps - mean
    # The deviation of a constant map is 0, where the gradient of the square root is infinite.
    variance = centred.square().mean(dim=(1, 2), keepdim=True)
    varies = variance > (_ROUNDING * mean.detach()).square()
    deviation = torch.where(varies, variance, 1.0).sqrt()
    return (centred / (deviation + _DEVIATION_EPSILON)).relu() * varies


def pyramid(maps: torch.Tensor, levels: int = LEVELS) -> list[torch.Tensor]:
    """Binomial pyramid of each map: blurred by a binomial kernel and halved at each level.

    Borders are zero-padded as in TensorFlow's "same" convolutions: for an even size one before, two behind.

    Parameters
    ----------
    maps : torch.Tensor, shape (batch, height, width)
    levels : int
        Number of maps in the result, the first being the map itself.

    Returns
    -------
    list of torch.Tensor, each of shape (batch, ⌈height / 2^level⌉, ⌈width / 2^level⌉)
    """
    weights = torch.tensor(_BINOMIAL, dtype=maps.dtype, device=maps.device)
    kernel = torch.outer(weights, weights)[None, None] / weights.sum() ** 2
    found = [maps]
    for _ in range(levels - 1):
        rows, columns = (_padding(size) for size in found[-1].shape[1:])
        padded = functional.pad(found[-1][:, None], (*columns, *rows))
        found.append(functional.conv2d(padded, kernel, stride=2)[:, 0])
    return found


def _padding(size: int) -> tuple[int, int]:
    """Zeros before and behind an axis."""
    total = max(2 * (-(-size // 2) - 1) + len(_BINOMIAL) - size, 0)
    return total // 2, total - total // 2


def harmonization_loss(
    model_maps: torch.Tensor,
    reference_maps: torch.Tensor,
    tokens: torch.Tensor | None = None,
    levels: int = LEVELS,
) -> torch.Tensor:
    """Distance of a model's importance maps from the reference maps.

    Parameters
    ----------
    model_maps : torch.Tensor, shape (batch, height, width)
        Importance maps of the model; gradients flow through them.
    reference_maps : torch.Tensor, shape (batch, any height, any width)
        Reference maps; resized to the model's maps where sizes differ.
    tokens : torch.Tensor, shape (batch,), optional
        Weight of each image; 0 for one without a reference.
    levels : int
        Levels of the pyramid.

    Returns
    -------
    torch.Tensor
        A scalar, the mean squared error averaged over the levels.

    Raises
    ------
    ValueError
        If the numbers of maps or of tokens differ, or a reference whose token is not 0 is not finite. Model maps that
        are not finite make the loss so, by which a learner detects divergence.
    """
    count = len(model_maps)
    if len(reference_maps) != count or (tokens is not None and tokens.shape != (count,)):
        tokens_text = "" if tokens is None else f" and {len(tokens)} tokens"
        raise ValueError(f"{count} maps of the model need as many references, not {len(reference_maps)}{tokens_text}.")
    weights = (torch.ones(count) if tokens is None else tokens).to(model_maps)[:, None, None]
    # The maps of an image without a reference are ignored, whatever they hold.
    model_maps, reference_maps = (maps.where(weights.to(maps.device) != 0, 0) for maps in (model_maps, reference_maps))
    if not torch.isfinite(reference_maps).all():
        raise ValueError(
            "A reference map holds a value that is not finite: leave its image out, or give it the token 0."
        )
    references = resized(reference_maps.to(model_maps), model_maps.shape[1:])
    own, target = standardise_and_cut(model_maps), standardise_and_cut(references)
    highest = own.detach().amax(dim=(1, 2), keepdim=True) + _MAXIMUM_EPSILON
    target = target / (target.amax(dim=(1, 2), keepdim=True) + _MAXIMUM_EPSILON) * highest
    errors = [
        ((one - other).square() * weights).mean()
        for one, other in zip(pyramid(own, levels), pyramid(target, levels), strict=True)
    ]
    return torch.stack(errors).mean()


def resized(maps: torch.Tensor, size: torch.Size | tuple[int, int]) -> torch.Tensor:
    """Resize maps by bilinear interpolation without aligned corners."""
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    return functional.interpolate(maps[:, None], tuple(size), mode="bilinear", align_corners=False)[:, 0]


def twice_differentiable() -> AbstractContextManager[None]:
    """A context for the forward pass of `training_maps`, which needs second derivatives.

    Fused attention kernels have a first derivative only; within the context the plain implementation replaces them.
    """
    return sdpa_kernel(SDPBackend.MATH)


def training_maps(outputs: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Differentiable gradient maps: each output's gradient with respect to its image, averaged over channels.

    Parameters
    ----------
    outputs : torch.Tensor, shape (batch,)
        One number an image, such as the logit of its class or action, computed from `images`; with attention, within
        `twice_differentiable`.
    images : torch.Tensor, shape (batch, channels, height, width)
        They require a gradient.

    Returns
    -------
    torch.Tensor, shape (batch, height, width)
        With the graph for a second derivative.
    """
    (gradients,) = torch.autograd.grad(outputs.sum(), images, create_graph=True)
    return gradients.float().mean(dim=1)


def smoothed_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Base loss of the paper: cross-entropy with a label smoothing of 0.1."""
    return functional.cross_entropy(logits, targets, label_smoothing=0.1)


def harmonized_loss(
    model: nn.Module | Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    targets: torch.Tensor,
    reference_maps: torch.Tensor,
    tokens: torch.Tensor | None = None,
    *,
    weight: float = 1.0,
    base_loss: Loss = smoothed_cross_entropy,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """A base loss plus the weighted harmonization loss of the same images.

    Weight decay, the third term of the published loss, is left to the optimiser.

    Parameters
    ----------
    model : callable
        From images to logits, shape (batch, outputs).
    images : torch.Tensor, shape (batch, channels, height, width), floating
    targets : torch.Tensor, shape (batch,), integer
        Class of each image, or its correct action; the maps explain its logit.
    reference_maps, tokens
        See `harmonization_loss`.
    weight : float
        Weight of the harmonization loss, λ in the paper.
    base_loss : callable
        From logits and targets to a scalar.

    Returns
    -------
    loss : torch.Tensor
        A scalar to call ``backward`` on.
    parts : dict
        ``"base"`` and ``"harmonization"``, without gradients.
    """
    images = images.detach().requires_grad_()
    with twice_differentiable():
        logits = model(images)
    base = base_loss(logits, targets)
    maps = training_maps(logits.gather(1, targets[:, None])[:, 0], images)
    harmonization = harmonization_loss(maps, reference_maps, tokens)
    return base + weight * harmonization, {"base": base.detach(), "harmonization": harmonization.detach()}
