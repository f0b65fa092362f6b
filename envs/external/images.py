"""Images of other packages' games as arrays of bytes of shape (height, width, channels)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from lcd.io.limits import MOST_CHANNELS, short

Reader = Callable[[Any], NDArray[np.uint8]]
"""From an observation to an image of bytes."""


BELOW, BEYOND = -0.5, 2.0
"""Numbers of images from 0 to 1 are clipped, as some lie a little outside; outside these they are of another scale."""


def image_reader(space: spaces.Space, image_key: str | None = None) -> tuple[Reader, tuple[int, int, int]]:
    """How images are read from observations of a space, and their shape: height, width and channels.

    Grey, RGB and RGBA images and stacks of them are taken, channels first or last, stacks along the channels or along a
    first dimension of their own, bytes or numbers of any type from 0
    to 1, which are scaled to bytes, alone or in a dictionary.

    Parameters
    ----------
    space
        Observation space of a game.
    image_key
        Entry of a dictionary, by default the only image in it.

    Raises
    ------
    ValueError
        If there is no image, or several and no key.
    """
    if isinstance(space, spaces.Dict):
        key = image_entry(space, image_key)
        reader, shape = image_reader(space[key])
        return lambda observation: reader(observation[key]), shape
    if image_key is not None:
        raise ValueError(f"--image-key {short(image_key)} is for observations in a dictionary, not for {space}.")
    if not _is_image(space):
        raise ValueError(f"The observations are no images: {short(space)}. Add a wrapper that renders one.")
    assert isinstance(space, spaces.Box)
    arrange, shape = _arrangement(space.shape)
    scaled = float(space.high.max()) <= 1

    def read(observation: Any) -> NDArray[np.uint8]:
        image = np.asarray(observation)
        if image.shape != space.shape:
            raise ValueError(f"an observation has the shape {image.shape} instead of {space.shape}")
        if scaled:
            if not np.isfinite(image).all():
                raise ValueError("an observation holds numbers that are not finite")
            if image.max() > BEYOND or image.min() < BELOW:
                outside = image.max() if image.max() > BEYOND else image.min()
                raise ValueError(f"an observation holds {outside:g}, and its space goes from 0 to 1")
            image = np.clip(image * 255.0, 0, 255).round()
        elif image.dtype != np.uint8:
            _check_bytes(image)
        return np.ascontiguousarray(arrange(image.astype(np.uint8)))

    return read, shape


def image_entry(space: spaces.Dict, image_key: str | None = None) -> str:
    """Name of the entry of a dictionary that holds the image.

    Parameters
    ----------
    space, image_key
        As in `image_reader`.

    Raises
    ------
    ValueError
        If there is no image, or several and no key.
    """
    found = [key for key, each in space.items() if _is_image(each)]
    if image_key is None and len(found) != 1:
        what = f"several images, {', '.join(found)}" if found else "no image"
        raise ValueError(f"The observations hold {what}: name one with --image-key, out of {', '.join(space)}.")
    key = image_key or found[0]
    if key not in found:
        raise ValueError(f"--image-key {short(key)} is no image in the observations: choose among {', '.join(found)}.")
    return key


def _check_bytes(image: NDArray[Any]) -> None:
    """Check that numbers of another type than bytes are such.

    Raises
    ------
    ValueError
        If one is not.
    """
    wrong = ~((image >= 0) & (image <= 255) & (image == np.round(image)))
    if wrong.any():
        raise ValueError(
            f"an observation holds {image[wrong].flat[0]:g}, and its space is one of bytes: give whole numbers from 0 "
            "to 255, or a space from 0 to 1"
        )


def _is_image(space: spaces.Space) -> bool:
    """Whether a space is one of images: bytes or numbers from 0 to 1, of two or three dimensions, four if stacked."""
    if not isinstance(space, spaces.Box) or len(space.shape) not in (2, 3, 4) or min(space.shape) < 1:
        return False
    if sorted(space.shape[-3:])[-2] < 4:
        return False
    low, high = float(space.low.min()), float(space.high.max())
    if np.issubdtype(space.dtype, np.floating):
        return low >= 0 and (high <= 1 or high == 255)  # of a Box without a dtype, which then holds floats
    return low >= 0 and high <= 255


def _arrangement(shape: tuple[int, ...]) -> tuple[Callable[[NDArray[Any]], NDArray[Any]], tuple[int, int, int]]:
    """How an array of an image is arranged with its channels last, and its shape then."""
    if len(shape) == 4:  # stacked frames, the newest last
        each, (height, width, channels) = _arrangement(shape[1:])
        _check_channels(shape, shape[0] * channels)
        return lambda image: np.concatenate([each(one) for one in image], axis=-1), (
            height,
            width,
            shape[0] * channels,
        )
    if len(shape) == 2:
        return lambda image: image[..., None], (shape[0], shape[1], 1)
    if shape[0] < shape[2] and shape[0] < shape[1] and shape[0] <= MOST_CHANNELS:
        return lambda image: np.moveaxis(image, 0, -1), (shape[1], shape[2], shape[0])
    _check_channels(shape, shape[2])
    return lambda image: image, (shape[0], shape[1], shape[2])


def _check_channels(shape: tuple[int, ...], channels: int) -> None:
    """Check that images have not too many channels.

    Raises
    ------
    ValueError
        If they have.
    """
    if channels > MOST_CHANNELS:
        raise ValueError(
            f"Images of shape {shape} have {channels} channels, more than {MOST_CHANNELS}: stack fewer frames."
        )


def shown(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image for people, shape (height, width, 3): the newest of stacked grey frames, or the first three channels.

    Four channels are stacked frames, or with an opaque last channel RGBA.
    """
    channels = image.shape[-1]
    if channels == 4 and (image[..., 3] == 255).all():
        return image[..., :3]
    if channels >= 3 and channels != 4:
        return image[..., -3:] if channels % 3 == 0 else image[..., :3]
    return np.repeat(image[..., -1:], 3, axis=-1)


def label_map(labels: Any, shape: tuple[int, int], most: int) -> NDArray[np.uint8]:
    """A label map as bytes of a frame's height and width; a smaller one is enlarged to it, a larger one refused.

    Parameters
    ----------
    labels
        Whole numbers, shape (height, width), or a truth value each.
    shape
        Height and width of the frame.
    most
        Labels lie below this number.

    Raises
    ------
    ValueError
        If they are something else.
    """
    found = np.asarray(labels)
    if found.ndim != 2 or found.dtype.kind not in "biu" or not found.size:
        raise ValueError(f"a label map has the shape {found.shape} and the type {found.dtype}: give whole numbers")
    if found.min() < 0 or found.max() >= most:
        raise ValueError(
            f"a label is {found.min() if found.min() < 0 else found.max()}: labels go from 0 to {most - 1}"
        )
    if found.shape[0] > shape[0] or found.shape[1] > shape[1]:
        raise ValueError(
            f"a label map has the shape {found.shape}, and the image {shape}, so that labels would be lost: give one "
            "that is no larger"
        )
    rows, columns = (np.arange(wanted) * there // wanted for wanted, there in zip(shape, found.shape, strict=True))
    return found.astype(np.uint8)[np.ix_(rows, columns)]


def objects(rows: Any) -> NDArray[Any]:
    """A list of objects as one vector, object by object.

    Parameters
    ----------
    rows
        Numbers, shape (objects, numbers of each).

    Raises
    ------
    ValueError
        If they are something else.
    """
    found = np.asarray(rows)
    if found.ndim != 2 or found.dtype.kind not in "biuf" or not found.size:
        raise ValueError(
            f"a list of objects has the shape {found.shape} and the type {found.dtype}: give a row of numbers for each "
            "object, and always as many rows"
        )
    return found.astype(np.float32).reshape(-1)  # not as bytes, which are scaled


def vector(numbers: Any) -> NDArray[np.float32]:
    """A vector as numbers in single precision; bytes are scaled to [0, 1].

    Raises
    ------
    ValueError
        If it is something else, or not finite.
    """
    found = np.asarray(numbers)
    if found.ndim != 1 or found.dtype.kind not in "biuf":
        raise ValueError(f"a vector has the shape {found.shape} and the type {found.dtype}: give finite numbers")
    scale = 255.0 if found.dtype == np.uint8 else 1.0
    with np.errstate(over="ignore"):
        scaled = (found / scale).astype(np.float32)
    if not np.isfinite(scaled).all():
        raise ValueError(f"a vector holds {found[~np.isfinite(scaled)][0]:g}: give finite numbers of single precision")
    return scaled
