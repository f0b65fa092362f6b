"""An encoder as users write it, in a module that worker processes can import."""

import torch
from torch import nn

from lcd.agents import Encoder, register_encoder


class Tiny(Encoder):
    def __init__(self, observation_space, features_dim=32):
        super().__init__(observation_space, features_dim)
        body = nn.Sequential(nn.Conv2d(self.channels, 8, 8, 8), nn.ReLU(), nn.Flatten())
        self.network = self.with_features(body)


class Undefined(Tiny):
    """Divides by the brightness of the frame, which is 0 for a black one."""

    def forward(self, observations):
        return super().forward(observations) / observations.float().mean()


@register_encoder("own-tiny")
class Registered(Tiny):
    pass


SIDE = 8


class Plain(nn.Module):
    """A torch module from images to features, which knows nothing of the LCD."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, SIDE, SIDE)

    def forward(self, images):
        return self.body(images).relu()


class OfAnyChannels(Plain):
    """Built for the space of the images."""

    def __init__(self, images):
        super().__init__()
        self.body = nn.Conv2d(images.shape[0], 4, SIDE, SIDE)


class Masked(OfAnyChannels):
    """With a mask that is infinite on purpose."""

    def __init__(self, images):
        super().__init__(images)
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))


class NeedsMore(Plain):
    def __init__(self, images, width):
        super().__init__()


class GivesTwo(Plain):
    def forward(self, images):
        return images, images


class Fails(Plain):
    def __init__(self):
        raise KeyError("no such layer")
