"""How images are prepared for an eye that learned elsewhere, read off what its authors give along with it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

RESAMPLINGS = ("bilinear", "bicubic", "area", "nearest-exact")
"""Ways to resize images, as `torch.nn.functional.interpolate` names them; the first two smooth what they shrink."""

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
    """The name in `RESAMPLINGS` of Pillow's number of a way to resize (transformers) or its name (timm).

    Of those that torch has not it is the nearest.
    """
    return _KNOWN.get(known, "bilinear")


def size_of(processor: Any, config: Any) -> int | tuple[int, int] | None:
    """The size that a processor of transformers brings images to, or a model without such a processor asks for.

    Of a processor that resizes and then cuts off the borders it is the size that remains: a game's frame is looked at
    whole.
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
        height, width = size
        return (height if height == width else (height, width)) if height and width else None
    return size


def settings_of(processor: Any) -> dict[str, Any]:
    """What a processor of transformers does to the colours of images, as settings of an `Eye`.

    Its numbers are of bytes that it may rescale (and move down by 1), may normalise and may put into the reverse order;
    those of an eye are of images from 0 to 1.
    """
    scale = 255 * (getattr(processor, "rescale_factor", None) or 1 / 255) if _does(processor, "rescale") else 255.0
    moved = 1.0 if _does(processor, "rescale") and getattr(processor, "rescale_offset", None) else 0.0
    mean, deviation = (0.0,) * 3, (1.0,) * 3
    given = [_of_colours(getattr(processor, name, None)) for name in ("image_mean", "image_std")]
    if _does(processor, "normalize") and None not in given:
        mean, deviation = given  # type: ignore[assignment]
    again = given[1] if getattr(processor, "include_top", None) and given[1] is not None else (1.0,) * 3
    return {
        "mean": tuple((each + moved) / scale for each in mean),
        "deviation": tuple(each * other / scale for each, other in zip(deviation, again, strict=True)),
        "resampling": resampling_of(getattr(processor, "resample", None)),
        "blue_first": bool(getattr(processor, "do_flip_channel_order", None)),
    }


def _does(processor: Any, what: str) -> bool:
    """Whether a processor does something, as it does unless it says otherwise."""
    return bool(getattr(processor, f"do_{what}", True))


def _of_colours(value: Any) -> tuple[float, ...] | None:
    """A number for each of three colours, from one or from three."""
    if value is None:
        return None
    numbers = (value,) * 3 if isinstance(value, int | float) else tuple(value)
    return tuple(map(float, numbers * 3 if len(numbers) == 1 else numbers))
