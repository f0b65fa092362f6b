"""Image preprocessing of pretrained models, read from their published configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any

from lcd.io.limits import LARGEST_SIDE, short

RESAMPLINGS = ("bilinear", "bicubic", "area", "nearest-exact")
"""Interpolation modes, as `torch.nn.functional.interpolate` names them; the first two are antialiased."""

_KNOWN: Mapping[Any, str] = MappingProxyType(
    {
        0: "nearest-exact",
        1: "bicubic",
        2: "bilinear",
        3: "bicubic",
        4: "area",
        5: "bilinear",
        "nearest": "nearest-exact",
        "bilinear": "bilinear",
        "bicubic": "bicubic",
        "lanczos": "bicubic",
    }
)


def resampling_of(known: Any) -> str:
    """Interpolation mode in `RESAMPLINGS` for a Pillow constant (transformers) or a name (timm).

    Modes that torch does not have map to the nearest one.

    Raises
    ------
    ValueError
        If it is neither a number nor a name.
    """
    if known is not None and not isinstance(known, int | str):
        raise ValueError(f"its image processor has {short(known)} as resample, where a mode of Pillow belongs")
    return _KNOWN.get(known, "bilinear")


def size_of(processor: Any, config: Any) -> int | tuple[int, int] | None:
    """Image size of a transformers processor, or of a model's configuration where the processor has none.

    For a processor that resizes and then crops, it is the size after the crop: a game's whole frame is resized to it.

    Raises
    ------
    ValueError
        If it has something else where a size belongs.
    """
    size: Any = None
    if getattr(processor, "do_center_crop", True) and getattr(processor, "crop_size", None):
        size = processor.crop_size
    elif getattr(processor, "do_resize", True):
        size = getattr(processor, "size", None)
    if size is None:
        size = getattr(config, "image_size", None)
    if hasattr(size, "get"):
        edge = size.get("shortest_edge") or size.get("longest_edge")
        size = (size.get("height") or edge, size.get("width") or size.get("height") or edge)
    if isinstance(size, list | tuple):
        if len(size) == 1:
            size = (size[0], size[0])
        if len(size) != 2:
            raise ValueError(f"its image processor has {short(size)} as its size, where a height and a width belong")
        height, width = (_edge(each) for each in size)
        if height is None or width is None:
            return None
        return height if height == width else (height, width)
    return _edge(size)


def _edge(given: Any) -> int | None:
    """Height or width in pixels, None where none is given.

    Raises
    ------
    ValueError
        If it is no whole number, or too large.
    """
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, Integral) or not 1 <= int(given) <= LARGEST_SIDE:
        raise ValueError(
            f"its image processor has {short(given)} in its size, where a number of pixels from 1 to {LARGEST_SIDE} "
            "belongs"
        )
    return int(given)


def settings_of(processor: Any) -> dict[str, Any]:
    """Colour preprocessing of a transformers processor, as settings of a `Backbone`.

    A processor takes bytes, which it may rescale (and shift down by 1), normalise and reverse in channel order. The
    settings of a `Backbone` are for images from 0 to 1.

    Raises
    ------
    ValueError
        If a processor does something else as well, or has no numbers where numbers belong.
    """
    if others := sorted(name for name in vars(processor) if name.startswith("do_") and _is_other(processor, name)):
        raise ValueError(f"its image processor has the step {others[0]}, which is not known here")
    factor = getattr(processor, "rescale_factor", None)
    if factor is not None and not (isinstance(factor, Real) and 0 < float(factor) < math.inf):
        raise ValueError(f"its image processor has {short(factor)} as rescale_factor, where a number above 0 belongs")
    scale = 255 * float(1 / 255 if factor is None else factor) if _does(processor, "rescale") else 255.0
    shift = 1.0 if _does(processor, "rescale") and getattr(processor, "rescale_offset", None) else 0.0
    mean, std = (0.0,) * 3, (1.0,) * 3
    given = [_of_colours(getattr(processor, name, None)) for name in ("image_mean", "image_std")]
    if given[1] is not None and min(given[1]) <= 0:
        raise ValueError(f"its image processor has {short(given[1])} as image_std, where numbers above 0 belong")
    if _does(processor, "normalize") and None not in given:
        mean, std = given  # type: ignore[assignment]
    again = given[1] if getattr(processor, "include_top", None) and given[1] is not None else (1.0,) * 3
    return {
        "mean": tuple((each + shift) / scale for each in mean),
        "std": tuple(each * other / scale for each, other in zip(std, again, strict=True)),
        "resampling": resampling_of(getattr(processor, "resample", None)),
        "blue_first": bool(getattr(processor, "do_flip_channel_order", None)),
    }


def _does(processor: Any, what: str) -> bool:
    """Whether a processor's step is enabled, which is the default."""
    return bool(getattr(processor, f"do_{what}", True))


def _of_colours(value: Any) -> tuple[float, ...] | None:
    """Three channel values, from one number or from three."""
    if value is None:
        return None
    numbers = (value,) * 3 if isinstance(value, Real) else tuple(value)
    numbers = numbers * 3 if len(numbers) == 1 else numbers
    if len(numbers) != 3 or not all(isinstance(each, Real) and math.isfinite(float(each)) for each in numbers):
        raise ValueError(f"its image processor has {short(value)} for its colours, where three finite numbers belong")
    return tuple(map(float, numbers))


_STEPS = frozenset(
    f"do_{name}"
    for name in (
        *("resize", "center_crop", "rescale", "normalize", "flip_channel_order"),
        *("convert_rgb", "pad", "reduce_labels", "convert_annotations"),
    )
)
"""Steps of a processor that are taken over, or do nothing to RGB frames of one size; labels are none of theirs."""


def _is_other(processor: Any, name: str) -> bool:
    """Whether a processor does something that is not taken over."""
    return name not in _STEPS and bool(getattr(processor, name))
