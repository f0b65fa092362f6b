"""Features of an encoder for probes, and an encoder of the same architecture with random weights as their control."""

from __future__ import annotations

import copy
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from lcd.agents import Encoder
from lcd.agents.randomness import seeded

Layer = Literal["backbone", "features"]
LAYERS: tuple[Layer, ...] = ("backbone", "features")
"""What is probed: the flat output of the backbone, or that of the linear layer after it, which an agent acts on."""

AT_ONCE = 128
"""Images that are encoded together, which bounds the memory."""


@torch.no_grad()
def encoded(
    encoder: Encoder, observations: torch.Tensor, layer: Layer = "backbone", *, device: str = "cpu"
) -> NDArray[np.float32]:
    """Features of observations, in single precision.

    Parameters
    ----------
    encoder : Encoder
        In evaluation mode, on the device.
    observations : torch.Tensor, shape (n, 3, height, width) or (n, height, width), uint8
        Frames or label maps.
    layer : {"backbone", "features"}
        See `LAYERS`.
    device : str
        Where torch computes.

    Returns
    -------
    numpy.ndarray, shape (n, features), float32
    """
    compute = encoder.encode if layer == "backbone" else encoder
    parts = [compute(part.to(device)).float().cpu() for part in observations.split(AT_ONCE)]
    return torch.cat(parts).numpy()


def random_copy(encoder: Encoder, observations: torch.Tensor, *, seed: int, device: str = "cpu") -> Encoder:
    """Copy an encoder with random weights: the control of every claim about what its weights hold.

    Weights are those with which Stable-Baselines3 begins to train a policy (orthogonal, with a gain of √2). The
    statistics of batch normalisation are those of some observations, without which deep networks lose their signal.

    Parameters
    ----------
    encoder : Encoder
        Left as it is.
    observations : torch.Tensor
        As in `encoded`.
    seed : int
        Seed of the weights.
    device : str
        Where torch computes.

    Returns
    -------
    Encoder
        In evaluation mode.

    Raises
    ------
    ValueError
        If a module has weights that it cannot draw again: the copy would keep trained ones.
    """
    made = copy.deepcopy(encoder).eval()
    with seeded(seed):
        for name, module in made.named_modules():
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if callable(reset):  # the second is the name of attention's
                reset()
            elif left := [each for each, _ in module.named_parameters(recurse=False)]:
                raise ValueError(
                    f"{type(module).__name__} ({name}) has weights of its own, {left[0]}, which cannot be drawn again: "
                    "give it a method reset_parameters."
                )
        for parameter in made.parameters():
            parameter.data = parameter.data.contiguous()  # orthogonal initialisation needs it
        made.apply(partial(ActorCriticPolicy.init_weights, gain=np.sqrt(2)))
    norms = [module for module in made.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None  # a plain mean over batches
    made.to(device)
    if norms:
        encoded(made, observations[: 8 * AT_ONCE], device=device)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return made.eval()
