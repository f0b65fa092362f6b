"""Visual encoders as Stable-Baselines3 feature extractors, one topology for frames and for label maps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn
from torch.nn import functional

from lcd.agents.observations import CHANNELS, LABELS, check_observations, is_label_map

if TYPE_CHECKING:
    from typing_extensions import Self


def label_channels(labels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Label maps as images of three fixed channels, those of Procgen's monochrome drawing.

    A learned embedding of the labels would do the same and train ten times slower, for its gradient scatters over every
    pixel. The values are those of ``lcd.envs.paint``, which tests hold against them.

    Parameters
    ----------
    labels : torch.Tensor, shape (batch, height, width), uint8
        Label of each pixel, below 65; 0 is empty.
    dtype
        Floating type of the result.

    Returns
    -------
    torch.Tensor, shape (batch, 3, height, width), channels last in memory
        Values 0 (empty), ¼, ½, ¾ and 1.
    """
    together = 2 - labels.shape[-1] % 2  # looking up two neighbours at once takes half the time
    rows = labels.contiguous().view({1: torch.uint8, 2: torch.int16}[together]).int()
    levels = functional.embedding(rows, _levels(together, dtype, labels.device))
    return levels.view(*labels.shape, CHANNELS).permute(0, 3, 1, 2)


@cache
def _levels(together: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Channels of one label, or side by side those of two labels that are read as one 16-bit number."""
    with torch.inference_mode(False):
        numbers = torch.arange(LABELS * 256 ** (together - 1))
        labels = torch.stack([numbers >> 8 * place & 255 for place in range(together)], dim=1)
        code = labels * 29 & 63
        digits = torch.stack((code >> 4, code >> 2 & 3, code & 3), dim=-1)
        levels = (digits + 1) * (labels > 0).unsqueeze(-1) / 4
        return levels.flatten(1).to(device, dtype)


def computing_type(device: torch.device) -> torch.dtype:
    """The type that convolutions compute in on a device, here and now."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32


_BODY_ERRORS = (RuntimeError, AssertionError, TypeError)

LARGEST_SIDE = 96
"""Pixels up to which a side is looked for that an encoder takes, where an observation's is too small for it."""


@torch.no_grad()
def _flat_size(body: nn.Module, shape: Sequence[int]) -> int:
    return body(torch.zeros(1, *shape).to(memory_format=torch.channels_last)).shape[1]


def _smallest_side(body: nn.Module, shape: Sequence[int]) -> int | None:
    """Side of the smallest square images that a body takes; None if images of this shape are not too small for it."""
    for side in range(max(0, min(shape[1:])) + 1, LARGEST_SIDE + 1):
        try:
            _flat_size(body, (shape[0], side, side))
        except _BODY_ERRORS:
            continue
        return side
    return None


class Encoder(BaseFeaturesExtractor):
    """Maps frames or label maps to features.

    A subclass gives `network`, a module from images of shape (batch, 3, height, width) to features.

    Parameters
    ----------
    observation_space
        Frames, shape (3, height, width), or label maps, shape (height, width), both uint8.
    features_dim
        Number of features.

    Attributes
    ----------
    image_shape : tuple of int
        Shape of the images that the network sees; a subclass that leaves out the last rows or columns shrinks it.
    images_at_once : int
        Largest number of images that pass the network in one go during training without the activations growing past
        some hundred megabytes.
    images_at_once_on_gpu : int
        The same on a GPU, which is idle with less: the activations may take a few gigabytes.
    same_operations : bool
        Whether the encoder does the same operations whatever it is shown, and waits for none of them, so that a GPU can
        record them (`lcd.agents.recorded`).
    reads_frames : bool
        Whether frames will do, or only label maps.
    byte_scale : float
        What the bytes of a frame are multiplied by before the network sees them: 1 where its first layer does that.
    arranges : bool
        Whether label maps are still to be arranged, see `arranged`; a learner that keeps them arranged says no.
    frozen : bool
        Whether the eye, all but the last layer, is left as it is; see `freeze`.
    """

    images_at_once = 2048
    images_at_once_on_gpu = 4096
    same_operations = False
    reads_frames = True
    byte_scale = 1 / 255
    arranges = True
    frozen = False

    def __init__(self, observation_space: spaces.Space, features_dim: int) -> None:
        check_observations(observation_space)
        assert isinstance(observation_space, spaces.Box)
        self.reads_labels = is_label_map(observation_space)
        if not (self.reads_labels or self.reads_frames):
            raise ValueError(f"The encoder {type(self).__name__} reads label maps only: use it with the semantic view.")
        super().__init__(observation_space, features_dim)
        self.image_shape: tuple[int, int, int] = (CHANNELS, *observation_space.shape[-2:])  # type: ignore[assignment]
        self.network: nn.Module = nn.Identity()

    @classmethod
    def arguments(cls, numbers: tuple[int, ...]) -> dict[str, Any]:
        """What the numbers after the colon of an encoder's name set, see `parse_encoder`.

        Raises
        ------
        ValueError
            If there is nothing, or not so much, to set.
        """
        raise ValueError("it has no size to set: write its name alone")

    def flat_size(self, body: nn.Module) -> int:
        """Number of features that a body, which ends flat, has for one image.

        Raises
        ------
        ValueError
            If the body takes no images of this size, or none at all.
        """
        try:
            return _flat_size(body, self.image_shape)
        except _BODY_ERRORS as error:
            shape, reason = self._observation_space.shape, " ".join(str(error).split())[:160]
            smallest = _smallest_side(body, self.image_shape)
            if smallest or "Kernel size can't be greater" in reason:
                least = f": it takes {smallest} x {smallest} pixels or more" if smallest else f" ({reason})"
                raise ValueError(f"Observations of shape {shape} are too small for this encoder{least}.") from error
            raise ValueError(
                f"The encoder takes other images than observations of shape {shape} make, of three colours, with the "
                f"channels last in memory ({reason})."
            ) from error

    def with_features(self, body: nn.Module) -> nn.Sequential:
        """A body that ends flat, and the linear layer from it to the features."""
        return nn.Sequential(body, nn.Linear(self.flat_size(body), self.features_dim), nn.ReLU(inplace=True))

    @staticmethod
    def arranged(labels: torch.Tensor) -> torch.Tensor:
        """Label maps as the network is to see them, of the same shape; here as they are."""
        return labels

    def images(self, observations: torch.Tensor) -> torch.Tensor:
        """Observations as images in the type that the convolutions compute in: label maps in [0, 1], frames scaled.

        Frames may come as bytes or, from Stable-Baselines3's own preprocessing, as numbers in [0, 1] already.

        Raises
        ------
        ValueError
            If they have another height or width than the observation space: larger ones would be cropped.
        """
        wanted = self._observation_space.shape
        assert wanted is not None
        if observations.shape[-2:] != wanted[-2:]:
            found, made_for = (" x ".join(map(str, shape[-2:])) for shape in (observations.shape, wanted))
            raise ValueError(
                f"This encoder is made for images of {made_for} pixels, and these have {found}: resize them, or make "
                "one for them."
            )
        height, width = self.image_shape[1:]
        dtype = computing_type(observations.device)
        if self.reads_labels:
            labels = observations[..., :height, :width].to(torch.uint8)
            return label_channels(self.arranged(labels) if self.arranges else labels, dtype)
        if observations.is_floating_point():
            return observations[..., :height, :width].to(dtype) * (255 * self.byte_scale)
        # As they lie in memory, each row of pixels as one of numbers: to convert them so takes a quarter of the time.
        rows = observations.movedim(-3, -1).flatten(-2)[..., :height, : width * CHANNELS]
        images = rows.to(dtype, memory_format=torch.contiguous_format).unflatten(-1, (width, CHANNELS)).movedim(-1, -3)
        return images if self.byte_scale == 1 else images.mul_(self.byte_scale)

    @property
    def eye(self) -> nn.Module:
        """The part that turns images into what is seen, before the layer that reads features off it."""
        assert isinstance(self.network, nn.Sequential)
        return self.network[0]

    @property
    def seen_size(self) -> int:
        """How many numbers the eye gives for an image."""
        assert isinstance(self.network, nn.Sequential)
        return self.network[1].in_features  # type: ignore[return-value]

    def freeze(self) -> None:
        """Leave the eye as it is from now on: no gradient reaches it, and nothing in it depends on the batch."""
        self.frozen = True
        self.eye.requires_grad_(False)
        self.eye.eval()

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of what is not frozen."""
        super().train(mode)
        if self.frozen:
            self.eye.eval()
        return self

    @torch.no_grad()
    def see(self, observations: torch.Tensor) -> torch.Tensor:
        """What the eye sees, shape (batch, seen_size): all that a frozen encoder ever needs of an observation."""
        return self.eye(self.images(observations))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Features of shape (batch, features_dim), of observations or of what a frozen eye has seen of them."""
        if not self.frozen:
            return self.network(self.images(observations))
        assert isinstance(self.network, nn.Sequential)
        seen = observations if observations.ndim == 2 else self.eye(self.images(observations))
        return self.network[1:](seen.to(next(self.network[1].parameters()).dtype))


class StridedConv2d(nn.Conv2d):
    """A convolution whose stride divides its kernel, computed on whole strides of columns.

    Channels last, neighbouring columns are one run of numbers: to take them as channels of one moves nothing, and
    fills the processor's vectors, which few channels leave half empty.

    Parameters
    ----------
    channels_in, channels_out, kernel_size, stride
        As in ``torch.nn.Conv2d``.
    scale
        Factor of the images. It is the weights that are multiplied by it, for they are fewer.
    """

    def __init__(
        self, channels_in: int, channels_out: int, *, kernel_size: int, stride: int, scale: float = 1.0
    ) -> None:
        super().__init__(channels_in, channels_out, kernel_size, stride)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What ``torch.nn.Conv2d`` computes of the scaled images."""
        rows, columns = self.stride
        reached = (x.shape[-1] - self.kernel_size[1]) // columns * columns + self.kernel_size[1]
        x = x[..., : max(reached, 0)]  # the last columns, fewer than a stride, are never reached
        weight = self.weight if self.scale == 1 else self.weight * self.scale
        images, weight = (_columns_as_channels(tensor, columns) for tensor in (x, weight))
        return functional.conv2d(images, weight, self.bias, stride=(rows, 1))


def _columns_as_channels(images: torch.Tensor, together: int) -> torch.Tensor:
    batch, channels, height, width = images.shape
    rows = images.permute(0, 2, 3, 1).reshape(batch, height, width // together, together * channels)
    return rows.permute(0, 3, 1, 2)


class SizedEncoder(Encoder):
    """An encoder whose number of features can be set in its name."""

    @classmethod
    def arguments(cls, numbers: tuple[int, ...]) -> dict[str, Any]:
        """The number of features."""
        if len(numbers) != 1:
            raise ValueError("it has one number of features")
        return {"features_dim": numbers[0]}


class Nature(SizedEncoder):
    """The encoder of Mnih et al., *Human-level control through deep reinforcement learning*, Nature 518, 2015."""

    byte_scale = 1.0
    images_at_once_on_gpu = 16_384
    same_operations = True

    def __init__(self, observation_space: spaces.Space, features_dim: int = 512) -> None:
        super().__init__(observation_space, features_dim)
        height, width = self.image_shape[1:]
        # The first two layers never reach the last 4 of 64 rows and columns: that is left out beforehand.
        self.image_shape = (CHANNELS, 12 + (height - 12) // 8 * 8, 12 + (width - 12) // 8 * 8)
        scale = 1.0 if self.reads_labels else Encoder.byte_scale
        body = nn.Sequential(
            StridedConv2d(CHANNELS, 32, kernel_size=8, stride=4, scale=scale),
            nn.ReLU(inplace=True),
            StridedConv2d(32, 64, kernel_size=4, stride=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, kernel_size=3),
            nn.Flatten(),  # before the last ReLU, whose gradient then comes in the memory order of its output
            nn.ReLU(inplace=True),
        )
        self.network = self.with_features(body)


class Small(SizedEncoder):
    """Two strided convolutions, a quarter of Nature's work: for games that are simple to look at."""

    images_at_once_on_gpu = 16_384
    same_operations = True

    def __init__(self, observation_space: spaces.Space, features_dim: int = 128) -> None:
        super().__init__(observation_space, features_dim)
        body = nn.Sequential(
            StridedConv2d(CHANNELS, 16, kernel_size=4, stride=4),
            nn.ReLU(inplace=True),
            StridedConv2d(16, 32, kernel_size=4, stride=2),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )
        self.network = self.with_features(body)


class ResidualBlock(nn.Module):
    """Two convolutions around which the input is added."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(depth, depth, kernel_size=3, padding=1)
        self.second = nn.Conv2d(depth, depth, kernel_size=3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape as the input."""
        return x + self.second(functional.relu(self.first(functional.relu(x))))


def _impala_body(depths: Sequence[int]) -> nn.Sequential:
    stages: list[nn.Module] = []
    for depth_in, depth in zip((CHANNELS, *depths), depths, strict=False):
        stages += [
            nn.Conv2d(depth_in, depth, kernel_size=3, padding=1),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
            ResidualBlock(depth),
            ResidualBlock(depth),
        ]
    return nn.Sequential(*stages, nn.ReLU())


class Impala(Encoder):
    """The residual encoder of Espeholt et al., *IMPALA*, 2018 (arXiv:1802.01561).

    Parameters
    ----------
    observation_space
        As in `Encoder`.
    depths
        Channels of each stage; there are as many stages as numbers.
    features_dim
        Number of features.
    """

    pooling: type[nn.Module] | None = None
    images_at_once = 256
    same_operations = True

    @classmethod
    def arguments(cls, numbers: tuple[int, ...]) -> dict[str, Any]:
        """The depths."""
        return {"depths": numbers}

    def __init__(
        self, observation_space: spaces.Space, depths: Sequence[int] = (16, 32, 32), features_dim: int = 256
    ) -> None:
        super().__init__(observation_space, features_dim)
        pooling = () if self.pooling is None else (self.pooling(1),)
        body = nn.Sequential(_impala_body(depths), *pooling, nn.Flatten())
        self.network = self.with_features(body)


class Impoola(Impala):
    """IMPALA with global average pooling before its linear layer (Trumpp et al., *Impoola*, 2025, arXiv:2503.05546)."""

    pooling = nn.AdaptiveAvgPool2d
