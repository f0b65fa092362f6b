"""An encoder of vectors: what a game's privileged view is where it is no label map."""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from lcd.agents.encoders.convolutional import SizedEncoder, computing_type
from lcd.io.limits import short


class Mlp(SizedEncoder):
    """Two linear layers on a vector of numbers, shape (length,).

    Parameters
    ----------
    observation_space
        Vectors; bytes are scaled to [0, 1].
    features_dim
        Number of features, and width of the first layer.
    """

    reads_frames = False
    images_at_once = 16_384
    images_at_once_on_gpu = 65_536
    same_operations = True

    def __init__(self, observation_space: spaces.Space, features_dim: int = 256) -> None:
        if not isinstance(observation_space, spaces.Box) or len(observation_space.shape) != 1:
            raise ValueError(f"The encoder mlp takes vectors, not {short(observation_space)}: choose another.")
        BaseFeaturesExtractor.__init__(self, observation_space, features_dim)
        self.reads_labels = False
        length = observation_space.shape[0]
        body = nn.Sequential(nn.Linear(length, features_dim), nn.ReLU(inplace=True))
        self.network = nn.Sequential(body, nn.Linear(features_dim, features_dim), nn.ReLU(inplace=True))

    def images(self, observations: torch.Tensor) -> torch.Tensor:
        """Vectors in the type that is computed in."""
        scale = 1.0 if observations.is_floating_point() else 1 / 255
        return observations.to(computing_type(observations.device)) * scale
