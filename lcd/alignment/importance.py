"""Importance maps: attribution of a decision or a value to pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import torch
from captum.attr import IntegratedGradients, Occlusion, Saliency

from lcd.agents import EncoderPolicy
from lcd.agents.randomness import seeded

Scores = Callable[[torch.Tensor], torch.Tensor]
"""From images, shape (batch, 3, height, width), floating in [0, 1], to one number for each class or action."""

STEPS, SAMPLES, NOISE = 16, 8, 0.1
"""Steps of integrated gradients; noisy samples of SmoothGrad, and the standard deviation of the noise."""

AT_ONCE = 32
"""Batch size, which bounds the memory."""

PATCH, STRIDE = 8, 16
"""Size and stride of occlusion's square: an eighth and a sixteenth of the image's side."""


def policy_scores(policy: EncoderPolicy, of: Literal["action", "logit", "value"] = "action") -> Scores:
    """A policy as a function from images to scores, for importance maps and visualisations.

    Parameters
    ----------
    policy : EncoderPolicy
        A policy on frames.
    of : {"action", "logit", "value"}
        Log-probabilities of all actions; their logits, minus the mean over actions, which does not change the policy;
        or the value.

    Raises
    ------
    ValueError
        If the policy takes label maps, which have no gradient.
    """
    if policy.observation_space.shape is None or len(policy.observation_space.shape) != 3:
        raise ValueError("Importance maps need a policy on frames; this one takes label maps.")
    if of == "logit":
        return in_full_precision(policy, lambda images: _centred(policy.log_probabilities(images)))
    return in_full_precision(policy, policy.predict_values if of == "value" else policy.log_probabilities)


def of_classes(scores: Scores, classes: Sequence[Sequence[int]]) -> Scores:
    """Scores of classes of actions that do the same, from the log-probabilities of all actions.

    A decision between two actions of a class changes nothing in the game.

    Parameters
    ----------
    scores : callable
        From images to the actions' log-probabilities, shape (batch, actions).
    classes : sequence of sequences of int
        The actions of each class.

    Returns
    -------
    callable
        From images to the classes' log-probabilities, shape (batch, classes).
    """
    members = [list(each) for each in classes]
    return lambda images: _summed(scores(images), members)


def _summed(scores: torch.Tensor, members: list[list[int]]) -> torch.Tensor:
    return torch.stack([scores[:, each].logsumexp(dim=1) for each in members], dim=1)


def _centred(scores: torch.Tensor) -> torch.Tensor:
    return scores - scores.mean(dim=1, keepdim=True)


def in_full_precision(policy: EncoderPolicy, compute: Scores) -> Scores:
    """Compute in single precision with a policy that computes in mixed precision.

    What is found by gradients, which are in full precision, would otherwise be evaluated by other numbers.
    """

    def scores(images: torch.Tensor) -> torch.Tensor:
        asked, policy.mixed_precision = policy.mixed_precision, False
        try:
            return compute(images)
        finally:
            policy.mixed_precision = asked

    return scores


def on_device(compute: Scores, device: str) -> Scores:
    """Move images to a device, and the result back to the processor's memory."""
    return lambda images: compute(images.to(device)).cpu()


def chosen(scores: Scores, images: torch.Tensor) -> torch.Tensor:
    """The class or action with the highest score for each image, shape (batch,)."""
    with torch.no_grad():
        return scores(images).argmax(dim=1)


def importance_maps(
    scores: Scores,
    images: torch.Tensor,
    targets: torch.Tensor | None = None,
    method: str = "gradient",
    *,
    seed: int = 0,
) -> torch.Tensor:
    """Attribute one score of each image to its pixels.

    Parameters
    ----------
    scores : callable
        From images to scores, see `Scores`.
    images : torch.Tensor, shape (batch, 3, height, width), floating in [0, 1]
    targets : torch.Tensor, shape (batch,), optional
        Index of the explained score; by default the highest of each image.
    method : str
        ``"gradient"``: the largest absolute gradient over channels, as in the harmonizer's evaluation.
        ``"integrated-gradients"``: gradients along the path from a black image, times the image, summed over channels.
        ``"smooth-gradient"``: absolute gradients averaged over noisy samples. ``"occlusion"``: the change of the score
        when a black square covers the pixel, see `PATCH`.
    seed : int
        Seed of the noise.

    Returns
    -------
    torch.Tensor, shape (batch, height, width)
        Not negative, without gradient.

    Raises
    ------
    ValueError
        If there is no such method, there are not as many targets as images, or a target is out of range.

    References
    ----------
    Simonyan, K. et al. (2014), arXiv:1312.6034 (gradient). Sundararajan, M. et al. (2017), arXiv:1703.01365 (integrated
    gradients). Smilkov, D. et al. (2017), arXiv:1706.03825 (smooth gradient). Zeiler, M. D. and Fergus, R. (2014),
    arXiv:1311.2901 (occlusion).
    """
    if method not in METHODS:
        raise ValueError(f"Unknown method {method!r}: choose one of {', '.join(METHODS)}.")
    if targets is None:
        targets = torch.cat([chosen(scores, part) for part in images.split(AT_ONCE)])
    if len(targets) != len(images):
        raise ValueError(f"{len(images)} images need as many targets, not {len(targets)}.")
    with torch.no_grad():
        outputs = scores(images[:1].float()).shape[1]
    if beyond := [int(target) for target in targets if not 0 <= target < outputs]:
        raise ValueError(f"The target {beyond[0]} is not one of the network's {outputs} scores, counted from 0.")
    parts = zip(images.detach().float().split(AT_ONCE), targets.split(AT_ONCE), strict=True)
    return torch.cat([_maps(scores, part, which, method, seed) for part, which in parts])


def _maps(scores: Scores, images: torch.Tensor, targets: torch.Tensor, method: str, seed: int) -> torch.Tensor:
    """Maps of one batch."""
    with seeded(seed), torch.enable_grad():
        return METHODS[method](scores, images.clone().requires_grad_(), targets).detach()


def _gradient(scores: Scores, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return Saliency(scores).attribute(images, target=targets, abs=True).amax(dim=1)


def _integrated(scores: Scores, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    found: Any = IntegratedGradients(scores).attribute(
        images, target=targets, n_steps=STEPS, internal_batch_size=max(AT_ONCE, len(images))
    )
    return found.sum(dim=1).abs()


def _smooth(scores: Scores, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    gradient, total = Saliency(scores), torch.zeros_like(images)
    for _ in range(SAMPLES):
        noise = NOISE * torch.randn_like(images[:1])  # the same for all images, whatever others are beside them
        total += gradient.attribute((images + noise).detach().requires_grad_(), target=targets, abs=True)
    return (total / SAMPLES).amax(dim=1)


def _occlusion(scores: Scores, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    channels, *size = images.shape[1:]
    square, strides = ((channels, *(max(1, side // part) for side in size)) for part in (PATCH, STRIDE))
    with torch.no_grad():
        found: Any = Occlusion(scores).attribute(
            images.detach(), target=targets, sliding_window_shapes=square, strides=strides
        )
    return found.mean(dim=1).abs()


METHODS: Mapping[str, Callable[[Scores, torch.Tensor, torch.Tensor], torch.Tensor]] = MappingProxyType(
    {
        "gradient": _gradient,
        "integrated-gradients": _integrated,
        "smooth-gradient": _smooth,
        "occlusion": _occlusion,
    }
)
"""Attribution methods by name."""
