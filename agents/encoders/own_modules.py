"""Encoders from a user's own class of torch modules, trained from scratch."""

from __future__ import annotations

import inspect
from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from lcd.agents.encoders.convolutional import Encoder


class _FlatFeatures(nn.Module):
    """A module with flat features; it stays in evaluation mode, as the policy that is updated is the one that acted."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.eval()

    def train(self, mode: bool = True) -> _FlatFeatures:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features, shape (batch, features)."""
        features = self.module(images)
        if not isinstance(features, torch.Tensor) or features.ndim < 2:
            raise ValueError(
                f"{type(self.module).__name__} gives no features of shape (batch, features): let its forward give one "
                "tensor of them."
            )
        return features.flatten(1)


class OwnModuleEncoder(Encoder):
    """A module of a user's own class and a linear layer on its features; `encoder_around` makes a class of it.

    Parameters
    ----------
    observation_space
        As in `Encoder`.
    features_dim
        Number of features after the linear layer.

    Attributes
    ----------
    module_class
        The user's class.
    """

    module_class: ClassVar[type[nn.Module]]
    images_at_once = 256
    images_at_once_on_gpu = 256  # nobody knows how large the network is

    def __init__(self, observation_space: spaces.Space, features_dim: int = 256) -> None:
        super().__init__(observation_space, features_dim)
        images = spaces.Box(0.0, 1.0, self.image_shape, np.float32)
        arguments = [images] * len(required_arguments(self.module_class))
        self.network = self.with_features(_FlatFeatures(self.module_class(*arguments)))


def required_arguments(module_class: type[nn.Module]) -> list[str]:
    """Names of the arguments that the constructor of a class must be given."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(module_class).parameters.values()
    return [each.name for each in parameters if each.default is each.empty and each.kind not in kinds]


def encoder_around(module_class: type[nn.Module]) -> type[Encoder]:
    """An encoder from a class of modules, from images to features.

    Images are numbers from 0 to 1, shape (batch, channels, height, width), channels last in memory.

    Parameters
    ----------
    module_class
        Its constructor takes the space of one image, shape (channels, height, width), or nothing.

    Raises
    ------
    ValueError
        If the constructor needs more arguments than one.
    """
    name = f"{module_class.__module__}:{module_class.__qualname__}"
    if len(needed := required_arguments(module_class)) > 1:
        raise ValueError(
            f"The constructor of the encoder {name} needs {len(needed)} arguments, {', '.join(needed)}: let it take "
            "the observation space alone, or nothing."
        )
    own = {"module_class": module_class, "__module__": module_class.__module__, "__doc__": module_class.__doc__}
    return type(module_class.__name__, (OwnModuleEncoder,), own)
