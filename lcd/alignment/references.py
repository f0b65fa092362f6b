"""Images with reference importance maps, human or privileged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lcd.alignment.agreement import MEASURES, Agreement, ceiling
from lcd.io.untrusted import memory, read_image

Source = Literal["human", "privileged"]

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, eq=False)
class ReferenceMaps:
    """Images with reference maps.

    Attributes
    ----------
    images : numpy.ndarray, shape (n, height, width, 3), uint8
    maps : numpy.ndarray, shape (n, height of a map, width of a map), float32
        Importance, not negative.
    source : {"human", "privileged"}
        Origin of the maps. Maps from a game's own state are privileged, never human.
    targets : numpy.ndarray, shape (n,), int64, or None
        Class of each image, or the action taken in it, where known.
    ceilings : mapping of str to float
        Agreement among the sources of the maps, by measure, where known.
    groups : numpy.ndarray, shape (n,), int64, or None
        Clusters of dependent images, such as frames of one game instance.

    Raises
    ------
    ValueError
        If numbers or shapes do not fit, or a map is not finite.
    """

    images: NDArray[np.uint8]
    maps: NDArray[np.float32]
    source: Source
    targets: NDArray[np.int64] | None = None
    ceilings: Mapping[str, float] = field(default_factory=dict)
    groups: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[-1] != 3 or self.images.dtype != np.uint8:
            raise ValueError(
                f"Images are bytes of shape (n, height, width, 3), not {self.images.dtype} {self.images.shape}."
            )
        if self.maps.ndim != 3 or len(self.maps) != len(self.images):
            raise ValueError(
                f"{len(self.images)} images need as many maps of two dimensions, not the shape {self.maps.shape}."
            )
        for name, known in (("targets", self.targets), ("groups", self.groups)):
            if known is not None and known.shape != (len(self.images),):
                raise ValueError(f"{len(self.images)} images need as many {name}, not {known.shape}.")
        bad = np.flatnonzero(~np.isfinite(self.maps).all(axis=(1, 2)))
        if len(bad):
            raise ValueError(f"The map of image {bad[0]} holds a value that is not finite: leave the image out.")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    @property
    def inputs(self) -> torch.Tensor:
        """The images as network input: shape (n, 3, height, width), float32, in [0, 1]."""
        return as_inputs(torch.from_numpy(self.images).permute(0, 3, 1, 2))

    def first(self, count: int) -> ReferenceMaps:
        """The first images."""
        targets, groups = (None if known is None else known[:count] for known in (self.targets, self.groups))
        return replace(self, images=self.images[:count], maps=self.maps[:count], targets=targets, groups=groups)


def as_inputs(images: torch.Tensor) -> torch.Tensor:
    """Images of bytes as network input: float32, in [0, 1]."""
    return images.float() / 255


def read_folders(images: Path, maps: Path, source: Source) -> ReferenceMaps:
    """Read a folder of images and one of maps, paired by file names.

    Parameters
    ----------
    images, maps : pathlib.Path
        Folders of PNG or JPEG files of one size. An image's map has the image's name, with any ending; or a folder of
        that name holds one map a person, whose mean is the map and whose agreement is the ceiling.
    source : {"human", "privileged"}
        Origin of the maps.

    Raises
    ------
    ValueError
        If a folder is missing or empty, a file cannot be read, names do not pair, or sizes differ.
    """
    image_files, map_files = _files(images), _maps_of(maps)
    if alone := sorted(image_files.keys() ^ map_files.keys()):
        raise ValueError(f"{alone[0]} is in one of {images} and {maps} only: every image needs a map of its name.")
    names = sorted(image_files)
    first = _picture(image_files[names[0]], "RGB")
    if len(names) * first.size * 4 > memory():  # with maps in single precision
        raise ValueError(f"The {len(names):,} images in {images} take more memory than there is: read fewer.")
    pictures = np.stack(_of_one_size((_picture(image_files[name], "RGB") for name in names), images))
    sources = [np.stack(_of_one_size((_picture(path, "L") for path in map_files[name]), maps)) for name in names]
    importance = np.stack(_of_one_size([each.mean(axis=0) for each in sources], maps))
    return ReferenceMaps(pictures, importance.astype(np.float32), source, ceilings=_ceilings(sources))


def _maps_of(folder: Path) -> dict[str, list[Path]]:
    """Files of the maps of each image: one, or one a person."""
    within = list(folder.iterdir()) if folder.is_dir() else []
    people = [path for path in within if path.is_dir()]
    if not people or any(path.suffix.lower() in IMAGE_ENDINGS for path in within):
        return {name: [path] for name, path in _files(folder).items()}
    return {path.name: sorted(_files(path).values()) for path in people}


def _ceilings(sources: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
    shared = [each for each in sources if len(each) > 1]
    if not shared:
        return {}
    found = {measure: Agreement.of([ceiling(each[None], measure)[0] for each in shared]).mean for measure in MEASURES}
    return {measure: mean for measure, mean in found.items() if np.isfinite(mean)}


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}: check the path.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_ENDINGS:
            continue
        if path.stem in found:
            raise ValueError(f"{path} and {found[path.stem].name} have the same name: remove one of them.")
        found[path.stem] = path
    if not found:
        raise ValueError(f"{folder} holds no images: they end in {', '.join(IMAGE_ENDINGS)}.")
    return found


def _picture(path: Path, mode: Literal["RGB", "L"]) -> NDArray[np.uint8]:
    return read_image(path, mode, remedy="remove or replace it")


def _of_one_size(pictures: Iterable[NDArray[Any]], folder: Path) -> Sequence[NDArray[Any]]:
    found: list[NDArray[Any]] = []
    for picture in pictures:
        found.append(picture)
        if (sizes := {found[0].shape[:2], picture.shape[:2]}) and len(sizes) > 1:
            raise ValueError(f"The images in {folder} have different sizes, {sorted(sizes)}: resize them to one.")
    return found
