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
    """Encode label maps as images of three fixed channels, as Procgen's monochrome rendering does.

    A learned embedding of the labels would train ten times slower, because its gradient scatters over every pixel. The
    values are those of ``lcd.envs.paint``; a test compares the two.

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
    together = 2 - labels.shape[-1] % 2  # looking up two neighbouring pixels at once halves the time
    rows = labels.contiguous().view({1: torch.uint8, 2: torch.int16}[together]).int()
    levels = functional.embedding(rows, _levels(together, dtype, labels.device))
    return levels.view(*labels.shape, CHANNELS).permute(0, 3, 1, 2)


@cache
def _levels(together: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Lookup table: the channels of one label, or of two labels that are read as one 16-bit number."""
    with torch.inference_mode(False):
        numbers = torch.arange(LABELS * 256 ** (together - 1))
        labels = torch.stack([numbers >> 8 * place & 255 for place in range(together)], dim=1)
        code = labels * 29 & 63
        digits = torch.stack((code >> 4, code >> 2 & 3, code & 3), dim=-1)
        levels = (digits + 1) * (labels > 0).unsqueeze(-1) / 4
        return levels.flatten(1).to(device, dtype)


def computing_type(device: torch.device) -> torch.dtype:
    """The floating-point type that convolutions compute in on a device, under the current autocast."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32


_BODY_ERRORS = (RuntimeError, AssertionError, TypeError)

LARGEST_SIDE = 96
"""Largest side in pixels that is tried to find how large an encoder's images must be."""


@torch.no_grad()
def _flat_size(body: nn.Module, shape: Sequence[int]) -> int:
    return body(torch.zeros(1, *shape).to(memory_format=torch.channels_last)).shape[1]


def _smallest_side(body: nn.Module, shape: Sequence[int]) -> int | None:
    """Side of the smallest square images that a backbone takes, above this shape; None if there is none."""
    for side in range(max(0, min(shape[1:])) + 1, LARGEST_SIDE + 1):
        try:
            _flat_size(body, (shape[0], side, side))
        except _BODY_ERRORS:
            continue
        return side
    return None


class Encoder(BaseFeaturesExtractor):
    """Map frames or label maps to features.

    A subclass sets `network`, a module from images of shape (batch, channels, height, width) to features: a backbone,
    then a linear layer.

    Parameters
    ----------
    observation_space
        Frames, shape (channels, height, width), or label maps, shape (height, width), both uint8.
    features_dim
        Number of features.

    Attributes
    ----------
    channels : int
        Channels of those images: three for label maps.
    image_shape : tuple of int
        Shape of the network's input images; a subclass that crops the last rows or columns shrinks it.
    images_at_once : int
        Largest number of images in one training pass whose activations stay within some hundred megabytes.
    images_at_once_on_gpu : int
        The same on a GPU, where activations may take a few gigabytes.
    same_operations : bool
        Whether the encoder does the same operations for all images, without synchronising, so that a GPU can record
        them (`lcd.agents.recorded`).
    reads_frames : bool
        Whether the encoder takes frames, or only label maps.
    byte_scale : float
        Factor of a frame's bytes before the network: 1 where its first layer scales them.
    arranges : bool
        Whether label maps are still to be arranged, see `arranged`; False where a learner stores them arranged.
    frozen : bool
        Whether the backbone, all but the last linear layer, is frozen; see `freeze`.
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
        self.channels = CHANNELS if self.reads_labels else observation_space.shape[0]
        self.image_shape: tuple[int, int, int] = (self.channels, *observation_space.shape[-2:])  # type: ignore[assignment]
        self.network: nn.Module = nn.Identity()

    @classmethod
    def arguments(cls, numbers: tuple[int, ...]) -> dict[str, Any]:
        """Constructor arguments from the numbers after the colon of an encoder's name, see `parse_encoder`.

        Raises
        ------
        ValueError
            If the encoder takes no numbers, or fewer.
        """
        raise ValueError("it has no size to set: write its name alone")

    def flat_size(self, body: nn.Module) -> int:
        """Number of flat features of a backbone for one image.

        Raises
        ------
        ValueError
            If the backbone does not take images of this shape.
        """
        try:
            return _flat_size(body, self.image_shape)
        except _BODY_ERRORS as error:
            if torch.empty(0).is_meta:
                raise  # the body computes with values, and at no size are there any
            shape, reason = self._observation_space.shape, " ".join(str(error).split())[:160]
            smallest = _smallest_side(body, self.image_shape)
            if smallest or "Kernel size can't be greater" in reason:
                least = f": it takes {smallest} x {smallest} pixels or more" if smallest else f" ({reason})"
                raise ValueError(f"Observations of shape {shape} are too small for this encoder{least}.") from error
            raise ValueError(
                f"The encoder does not take the images that observations of shape {shape} give, "
                f"channels last in memory ({reason})."
            ) from error

    def with_features(self, body: nn.Module) -> nn.Sequential:
        """Append the linear layer with a ReLU to a backbone that ends flat."""
        return nn.Sequential(body, nn.Linear(self.flat_size(body), self.features_dim), nn.ReLU(inplace=True))

    @staticmethod
    def arranged(labels: torch.Tensor) -> torch.Tensor:
        """Rearrange label maps for the network, keeping their shape; by default unchanged."""
        return labels

    def images(self, observations: torch.Tensor) -> torch.Tensor:
        """Convert observations to images in the type that convolutions compute in: label maps in [0, 1], frames scaled.

        Frames are bytes or, after Stable-Baselines3's own preprocessing, numbers in [0, 1].

        Raises
        ------
        ValueError
            If their height or width differs from the observation space's: larger ones would be cropped.
        """
        self.check_size(observations)
        height, width = self.image_shape[1:]
        dtype = computing_type(observations.device)
        if self.reads_labels:
            labels = observations[..., :height, :width].to(torch.uint8)
            return label_channels(self.arranged(labels) if self.arranges else labels, dtype)
        if observations.is_floating_point():
            return observations[..., :height, :width].to(dtype) * (255 * self.byte_scale)
        # Converted in their memory order, a row of pixels as a row of numbers: this takes a quarter of the time.
        rows = observations.movedim(-3, -1).flatten(-2)[..., :height, : width * self.channels]
        images = (
            rows.to(dtype, memory_format=torch.contiguous_format).unflatten(-1, (width, self.channels)).movedim(-1, -3)
        )
        return images if self.byte_scale == 1 else images.mul_(self.byte_scale)

    def check_size(self, observations: torch.Tensor) -> None:
        """Check that observations have the height and width of the observation space.

        Raises
        ------
        ValueError
            If they have not: larger ones would be cropped.
        """
        wanted = self._observation_space.shape
        assert wanted is not None
        if observations.shape[-2:] != wanted[-2:]:
            found, made_for = (" x ".join(map(str, shape[-2:])) for shape in (observations.shape, wanted))
            raise ValueError(
                f"This encoder is made for images of {made_for} pixels, and these have {found}: resize them, or make "
                "one for them."
            )

    @property
    def backbone(self) -> nn.Module:
        """The part of the network before the linear layer, from images to flat features."""
        assert isinstance(self.network, nn.Sequential)
        return self.network[0]

    @property
    def backbone_dim(self) -> int:
        """Number of features of the backbone for one image."""
        assert isinstance(self.network, nn.Sequential)
        return self.network[1].in_features  # type: ignore[return-value]

    def freeze(self) -> None:
        """Freeze the backbone: it gets no gradient and stays in evaluation mode."""
        self.frozen = True
        self.backbone.requires_grad_(False)
        self.backbone.eval()

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    @torch.no_grad()
    def encode(self, observations: torch.Tensor) -> torch.Tensor:
        """Compute the backbone's features, shape (batch, backbone_dim), without gradient."""
        return self.backbone(self.images(observations))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Features of shape (batch, features_dim), from observations or from a frozen backbone's features of them.

        Those features, which learners keep in half precision, have no side of an image; beside observations that are
        vectors their precision tells them.
        """
        if not self.frozen:
            return self.network(self.images(observations))
        assert isinstance(self.network, nn.Sequential)
        shape = self._observation_space.shape
        is_encoded = observations.ndim == 2 and (len(shape or ()) > 1 or observations.dtype == torch.float16)
        encoded = observations if is_encoded else self.backbone(self.images(observations))
        return self.network[1:](encoded.to(next(self.network[1].parameters()).dtype))


class StridedConv2d(nn.Conv2d):
    """A convolution whose stride divides its kernel, computed on a stride of columns at a time.

    With channels last, neighbouring columns are contiguous: viewing them as channels copies nothing, and fills the
    processor's vectors, which few channels leave half empty.

    Parameters
    ----------
    channels_in, channels_out, kernel_size, stride
        As in ``torch.nn.Conv2d``.
    scale
        Factor of the images. The weights are multiplied by it instead, because they are fewer.
    """

    def __init__(
        self, channels_in: int, channels_out: int, *, kernel_size: int, stride: int, scale: float = 1.0
    ) -> None:
        super().__init__(channels_in, channels_out, kernel_size, stride)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The result of ``torch.nn.Conv2d`` on the scaled images."""
        rows, columns = self.stride
        reached = (x.shape[-1] - self.kernel_size[1]) // columns * columns + self.kernel_size[1]
        x = x[..., : max(reached, 0)]  # a last part of fewer columns than a stride is never reached
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
        # The first two layers never reach the last 4 of 64 rows and columns, so they are cropped first.
        self.image_shape = (self.channels, 12 + (height - 12) // 8 * 8, 12 + (width - 12) // 8 * 8)
        scale = 1.0 if self.reads_labels else Encoder.byte_scale
        body = nn.Sequential(
            StridedConv2d(self.channels, 32, kernel_size=8, stride=4, scale=scale),
            nn.ReLU(inplace=True),
            StridedConv2d(32, 64, kernel_size=4, stride=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, kernel_size=3),
            nn.Flatten(),  # before the last ReLU, whose gradient then comes in the memory order of its output
            nn.ReLU(inplace=True),
        )
        self.network = self.with_features(body)


class Small(SizedEncoder):
    """Two strided convolutions, a quarter of Nature's operations: for visually simple games."""

    images_at_once_on_gpu = 16_384
    same_operations = True

    def __init__(self, observation_space: spaces.Space, features_dim: int = 128) -> None:
        super().__init__(observation_space, features_dim)
        body = nn.Sequential(
            StridedConv2d(self.channels, 16, kernel_size=4, stride=4),
            nn.ReLU(inplace=True),
            StridedConv2d(16, 32, kernel_size=4, stride=2),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )
        self.network = self.with_features(body)


class ResidualBlock(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(depth, depth, kernel_size=3, padding=1)
        self.second = nn.Conv2d(depth, depth, kernel_size=3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape as the input."""
        return x + self.second(functional.relu(self.first(functional.relu(x))))


def _impala_body(channels: int, depths: Sequence[int]) -> nn.Sequential:
    stages: list[nn.Module] = []
    for depth_in, depth in zip((channels, *depths), depths, strict=False):
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
        body = nn.Sequential(_impala_body(self.channels, depths), *pooling, nn.Flatten())
        self.network = self.with_features(body)


class Impoola(Impala):
    """IMPALA with global average pooling before its linear layer (Trumpp et al., *Impoola*, 2025, arXiv:2503.05546)."""

    pooling = nn.AdaptiveAvgPool2d
