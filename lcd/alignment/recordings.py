"""Recorded responses to images: of neurons, of the sites of a map, or of another encoder's units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcd.io.untrusted import LARGEST_IMAGE, UnreadableFileError, memory, read_npz

LARGEST_RECORDING = 2 * 2**30
"""Largest size of a file and of its arrays, in bytes."""

REMEDY = "write the file as docs/neural.md says"


@dataclass(frozen=True, eq=False)
class Recording:
    """Images with the responses to them.

    Attributes
    ----------
    responses : numpy.ndarray, shape (repetitions, n, sites), float64
        Response of each site to each presentation of each image; NaN where an image was presented less often.
    images : numpy.ndarray, shape (n, height, width, 3), uint8, or None
        None where they are given apart, see `with_images`.
    labels : numpy.ndarray, shape (n, height, width), uint8, or None
        Label maps of the same states, for encoders that take these.
    groups : numpy.ndarray, shape (n,), int64, or None
        Clusters of dependent images, such as frames of one game instance: none is split by cross-validation, and they
        are resampled together. By default all images are independent.
    ceilings : numpy.ndarray, shape (sites,), float64, or None
        Known highest correlations, where there are no repetitions to estimate them from: 1 for responses without noise.
    grid : tuple of int, or None
        Rows and columns, where the sites are the places of a map, in the order of rows.
    names : tuple of str, or None
        Names of the images, by which files are found.

    Raises
    ------
    ValueError
        If shapes do not fit, or a site has constant responses or none to some image.
    """

    responses: NDArray[np.float64]
    images: NDArray[np.uint8] | None = None
    labels: NDArray[np.uint8] | None = None
    groups: NDArray[np.int64] | None = None
    ceilings: NDArray[np.float64] | None = None
    grid: tuple[int, int] | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        shape = self.responses.shape
        if len(shape) != 3 or 0 in shape:
            raise ValueError(f"Responses have the shape (repetitions, images, sites), each 1 or more, not {shape}.")
        _, count, sites = shape
        wanted = {"images": (4, np.uint8), "labels": (3, np.uint8), "groups": (1, np.int64)}
        for name, (ndim, dtype) in wanted.items():
            found = getattr(self, name)
            if found is None:
                continue
            if found.ndim != ndim or found.dtype != dtype or len(found) != count or 0 in found.shape:
                raise ValueError(
                    f"{count} images with responses need {name} as {np.dtype(dtype)} of {ndim} dimensions, one for "
                    f"each, not {found.dtype} of the shape {found.shape}."
                )
        if self.images is not None and self.images.shape[-1] != 3:
            raise ValueError(f"Images have three colours in their last dimension, not the shape {self.images.shape}.")
        if self.grid is not None and self.grid[0] * self.grid[1] != sites:
            raise ValueError(f"A map of {self.grid[0]} x {self.grid[1]} places has as many sites, not {sites}.")
        if self.ceilings is not None and (
            self.ceilings.shape != (sites,) or not ((self.ceilings > 0) & (self.ceilings <= 1)).all()
        ):
            raise ValueError(f"Ceilings are {sites} correlations above 0 and up to 1, one for each site.")
        if self.names is not None and len(self.names) != count:
            raise ValueError(f"{count} images with responses need as many names, not {len(self.names)}.")
        self._check_responses()

    def _check_responses(self) -> None:
        if np.isinf(self.responses).any():
            raise ValueError("A response is infinite: mark what was not recorded by NaN.")
        if (largest := float(np.nanmax(np.abs(self.responses), initial=0.0))) > LARGEST_RESPONSE:
            raise ValueError(f"A response is as large as {largest:.3g}, more than {LARGEST_RESPONSE:g}: scale them.")
        recorded = (~np.isnan(self.responses)).any(axis=0)
        if len(missing := np.flatnonzero(~recorded.all(axis=0))):
            raise ValueError(
                f"{len(missing)} of {recorded.shape[1]} sites were not recorded for every image, site {missing[0]} "
                "(from 0) the first of them: leave these sites, or the images, out."
            )
        mean = self.mean
        if len(constant := np.flatnonzero(np.ptp(mean, axis=0) == 0)):
            raise ValueError(
                f"The responses of {len(constant)} of {mean.shape[1]} sites are constant over the images, of site "
                f"{constant[0]} (from 0) the first of them, so that nothing explains them: leave these sites out."
            )

    def __len__(self) -> int:
        """Number of images."""
        return self.responses.shape[1]

    @property
    def sites(self) -> int:
        """Number of sites."""
        return self.responses.shape[2]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean response over repetitions, shape (n, sites)."""
        return np.nanmean(self.responses, axis=0)

    @property
    def clusters(self) -> NDArray[np.int64]:
        """Number of each image's cluster, counted from 0, shape (n,)."""
        return np.arange(len(self)) if self.groups is None else np.unique(self.groups, return_inverse=True)[1]

    def with_images(self, images: NDArray[np.uint8]) -> Recording:
        """The same responses with images in the place of others."""
        return replace(self, images=images)


LARGEST_RESPONSE = 1e100
"""Limit of the absolute value of a response: squares of larger ones overflow."""

ARRAYS = ("responses", "maps", "images", "labels", "groups", "ceilings")
"""Names of arrays in an npz file of a recording."""


def read_recording(path: Path) -> Recording:
    """Read a recording from an npz file.

    Parameters
    ----------
    path : pathlib.Path
        Either ``responses``, shape (images, sites) or (repetitions, images, sites), or ``maps``, shape (images, rows,
        columns) or (repetitions, images, rows, columns); and any of ``images``, ``labels``, ``groups`` and
        ``ceilings``, as in `Recording`. Other arrays are ignored.

    Raises
    ------
    ValueError
        If it cannot be read without running code from it, or the arrays do not fit.
    """
    data = read_npz(path, (), optional=ARRAYS, most=LARGEST_RECORDING, remedy=REMEDY)
    if ("responses" in data) == ("maps" in data):
        raise UnreadableFileError(f"{path} must hold one of the arrays responses and maps: {REMEDY}.")
    name, dimensions = ("maps", 3) if "maps" in data else ("responses", 2)
    found = data[name]
    if found.dtype.kind not in "buif" or found.ndim not in (dimensions, dimensions + 1) or 0 in found.shape:
        shape = "rows, columns" if dimensions == 3 else "sites"
        raise UnreadableFileError(
            f"{name} in {path} must be real numbers of the shape (images, {shape}) or (repetitions, images, {shape}), "
            f"not {found.dtype} of the shape {found.shape}."
        )
    if 8 * found.size > memory() // 4:
        raise UnreadableFileError(f"{name} in {path} take more than a quarter of the memory: read fewer.")
    values = np.asarray(found, np.float64)[None] if found.ndim == dimensions else np.asarray(found, np.float64)
    grid = (int(values.shape[2]), int(values.shape[3])) if dimensions == 3 else None
    images = data.get("images")
    if images is not None and images.size // max(1, 3 * len(np.atleast_1d(images))) > LARGEST_IMAGE:
        raise UnreadableFileError(f"{path} holds images of more than {LARGEST_IMAGE:,} pixels: {REMEDY}.")
    try:
        return Recording(
            values.reshape(*values.shape[:2], -1),
            images,
            data.get("labels"),
            _whole(data.get("groups"), "groups"),
            None if "ceilings" not in data else np.asarray(data["ceilings"], np.float64),
            grid,
        )
    except ValueError as error:
        raise UnreadableFileError(f"{path} holds no recording. {error}") from None


def _whole(values: NDArray[Any] | None, name: str) -> NDArray[np.int64] | None:
    """Whole numbers.

    Raises
    ------
    ValueError
        If there are others.
    """
    if values is None:
        return None
    if values.dtype.kind not in "iu":
        raise ValueError(f"{name} must be whole numbers, not {values.dtype}.")
    return values.astype(np.int64)
