"""ClickMe: images with human importance maps for object recognition, read without TensorFlow.

Linsley, Shiebler, Eberhardt and Serre, *Learning what and where to attend*, ICLR 2019 (arXiv:1805.08819).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lcd.alignment.agreement import CLICKME_CEILING
from lcd.alignment.harmonizer import resized
from lcd.alignment.references import ReferenceMaps
from lcd.alignment.tfrecord import read_examples
from lcd.io.limits import short
from lcd.io.untrusted import LARGEST_IMAGE, decode_image, memory
from lcd.io.untrusted import read_npz as read_arrays

SIZE, BLURRED_SIZE = 224, 64
"""Side in pixels of images and maps, and of the maps while they are blurred."""

_KERNEL, _DEVIATION = 10, 10.0

Entry = tuple[NDArray[np.uint8], NDArray[np.uint8], int]


def read_shards(shards: Iterable[Path], *, size: int = SIZE, largest: int | None = None) -> ReferenceMaps:
    """Read TFRecord shards, ``train-0.tfrecords`` and so on, with the preprocessing of the harmonizer's authors.

    Parameters
    ----------
    shards : iterable of pathlib.Path
        The files.
    size : int
        Side in pixels of the images and maps in the result.
    largest : int, optional
        Largest number of entries.

    Raises
    ------
    ValueError
        If a shard is missing, cut short or damaged, or an entry lacks its image, heatmap or label.
    """
    entries = (_of_example(example, shard) for shard in shards for example in read_examples(shard))
    return _prepared(islice(entries, largest), size)


def read_npz(files: Iterable[Path], *, size: int = SIZE) -> ReferenceMaps:
    """Read the files of single images, each with ``image``, ``heatmap`` and ``label``.

    Raises
    ------
    ValueError
        If a file cannot be read without running code from it, or lacks one of the three.
    """
    return _prepared((_of_npz(file) for file in files), size)


def read_folder(folder: Path, *, size: int = SIZE, largest: int | None = None) -> ReferenceMaps:
    """Read all shards in a folder or, where there are none, all npz files.

    Parameters
    ----------
    folder : pathlib.Path
        With files that end in ``.tfrecords`` or ``.npz``.
    size : int
        Side in pixels of the images and maps in the result.
    largest : int, optional
        Largest number of images.

    Raises
    ------
    ValueError
        If there are neither, or one is damaged.
    """
    shards, files = sorted(folder.glob("*.tfrecords")), sorted(folder.glob("*.npz"))
    if not (shards or files):
        raise ValueError(f"{folder} holds none of ClickMe's files, .tfrecords or .npz: check the path.")
    return read_shards(shards, size=size, largest=largest) if shards else read_npz(files[:largest], size=size)


def _of_example(example: dict, shard: Path) -> Entry:
    try:
        image, heatmap = (
            decode_image(example[name][0], mode, name)  # type: ignore[arg-type]
            for name, mode in (("image", "RGB"), ("heatmap", "L"))
        )
        return image, heatmap, _label(example["label"][0])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"An entry of {shard} lacks image, heatmap or label ({error!r}): fetch it again.") from None


def _label(value: Any) -> int:
    """A class label.

    Raises
    ------
    ValueError
        If the value is not one.
    """
    number = np.squeeze(np.asarray(value))
    if number.ndim or number.dtype.kind not in "iuf" or number != np.round(number) or not 0 <= number < 2**31:
        raise ValueError(f"the label {short(value)} is not a class number")
    return int(number)


def _of_npz(file: Path) -> Entry:
    try:
        data = read_arrays(file, ("image", "heatmap", "label"))
        image, heatmap, label = data["image"], np.squeeze(data["heatmap"]), _label(data["label"])
    except ValueError as error:
        raise ValueError(f"{file} lacks image, heatmap or label, or is damaged ({error}): fetch it again.") from None
    if image.ndim != 3 or image.shape[2] != 3 or heatmap.ndim != 2 or 0 in image.shape + heatmap.shape:
        raise ValueError(
            f"{file} holds an image of shape {image.shape} and a heatmap of shape {heatmap.shape}, "
            "not (height, width, 3) and (height, width): fetch it again."
        )
    if max(heatmap.size, image.size // 3) > LARGEST_IMAGE:
        raise ValueError(f"{file} holds an image of more than {LARGEST_IMAGE:,} pixels: leave it out.")
    if not all(np.isrealobj(each) and np.isfinite(each).all() and each.min() >= 0 for each in (image, heatmap)):
        raise ValueError(f"{file} holds colours or weights that are negative or not finite: fetch it again.")
    if image.dtype.kind == "f" and image.max() <= 1:
        image = np.round(255 * image)
    if image.max() > 255:
        raise ValueError(f"{file} holds colours up to {image.max():g}, which end at 255: bring them to that range.")
    return image.astype(np.uint8), heatmap, label


def _prepared(entries: Iterator[Entry], size: int) -> ReferenceMaps:
    images: list[NDArray[np.uint8]] = []
    maps: list[NDArray[np.float32]] = []
    labels: list[int] = []
    most = memory() // (2 * size * size * (3 + 4))
    for image, heatmap, label in entries:
        if len(images) == most:
            raise ValueError(f"More than {most:,} images take more than half of the memory: read fewer.")
        channels = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))
        images.append(resized(channels, (size, size)).round().byte().numpy().transpose(1, 2, 0))
        maps.append(_blurred(torch.from_numpy(np.asarray(heatmap, np.float32))[None], size)[0].numpy())
        labels.append(label)
    if not images:
        raise ValueError("The files of ClickMe hold no image: name the shards or npz files.")
    ceilings = {"spearman": CLICKME_CEILING}
    return ReferenceMaps(np.stack(images), np.stack(maps), "human", np.array(labels, np.int64), ceilings)


def _blurred(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Heatmaps resized to `BLURRED_SIZE`, blurred and resized, shape (n, size, size)."""
    offsets = torch.arange(_KERNEL, dtype=torch.float32) - _KERNEL // 2
    weights = torch.exp(-(offsets**2) / (2 * _DEVIATION**2))
    kernel = torch.outer(weights.flip(0), weights)
    before, behind = (_KERNEL - 1) // 2, _KERNEL // 2
    small = resized(maps, (BLURRED_SIZE, BLURRED_SIZE))
    padded = functional.pad(small[:, None], (before, behind, before, behind))
    return resized(functional.conv2d(padded, (kernel / kernel.sum())[None, None])[:, 0], (size, size))
