"""Recordings in the format of Brain-Score's packages (BrainIO), read from files that the user has, without its hub.

A package is a netCDF-4 file of responses with the dimensions presentation, neuroid and, mostly, time_bin, whose
coordinates name the image of each presentation and the region of each site; a CSV table of the images' files; and an
archive of these. https://github.com/brain-score/brainio, docs/SPECIFICATION.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lcd.alignment.recordings import Recording
from lcd.io.limits import short
from lcd.io.untrusted import UnreadableFileError, Variable, memory, read_csv, read_netcdf

PRESENTATION, SITE, TIME = "presentation", "neuroid", "time_bin"
IMAGE_IDS = ("stimulus_id", "image_id")
"""Names of the coordinate, and the column, that name an image; the second is that of older packages."""

FILE_NAMES = ("filename", "image_file_name")
_COORDINATES = {
    **dict.fromkeys(IMAGE_IDS, PRESENTATION),
    "region": SITE,
    "time_bin_start": TIME,
    "time_bin_end": TIME,
}


def read_assembly(path: Path, *, region: str | None = None, time: tuple[float, float] | None = None) -> Recording:
    """Read a recording from a netCDF-4 file.

    Presentations of one image are its repetitions.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    region : str, optional
        Region whose sites are taken, such as ``"IT"``; by default all.
    time : tuple of float, optional
        First and last millisecond: the mean over the time bins between them is taken. Needed where there are several.

    Returns
    -------
    Recording
        Without images; their names are those that the file gives.

    Raises
    ------
    ValueError
        If the file cannot be read, is laid out otherwise, or has no such region or time.
    """
    found = read_netcdf(path, lambda dimensions: _wanted(dimensions, path), remedy="fetch it again")
    data = next(each for name, each in found.items() if name not in _COORDINATES)
    ids = next((found[name].values for name in IMAGE_IDS if name in found), None)
    if ids is None:
        raise UnreadableFileError(f"{path} does not name the image of each presentation, as {' or '.join(IMAGE_IDS)}.")
    if data.values.dtype.kind not in "buif":
        raise UnreadableFileError(f"{path} holds texts, not responses: name another file.")
    values = data.values.astype(np.float64)
    if TIME in data.dimensions:
        values = np.moveaxis(values, data.dimensions.index(TIME), -1)
        values = _in_time(values, found, time, path)
    elif time is not None:
        raise UnreadableFileError(f"{path} has no time bins: leave --time out.")
    rest = [name for name in data.dimensions if name != TIME]
    values = values if rest == [PRESENTATION, SITE] else values.T
    values = values[:, _in_region(found, region, path)]
    names, place = np.unique(ids.astype(np.str_), return_inverse=True)
    try:
        return Recording(_by_image(values, place, len(names), path), names=tuple(names.tolist()))
    except ValueError as error:
        raise UnreadableFileError(f"{path} holds no recording. {error}") from None


def image_files(table: Path) -> dict[str, str]:
    """Name of the file of each image, by the image's name, from the CSV table of a package.

    Raises
    ------
    ValueError
        If the table cannot be read, lacks a column, or names an image twice.
    """
    rows = read_csv(table, dtype=dict.fromkeys((*IMAGE_IDS, *FILE_NAMES), str), remedy="fetch it again")
    columns = [next((name for name in names if name in rows), None) for names in (IMAGE_IDS, FILE_NAMES)]
    if None in columns:
        raise UnreadableFileError(
            f"{table} must have the columns {' or '.join(IMAGE_IDS)} and {' or '.join(FILE_NAMES)}: name the table of "
            "the package's images."
        )
    ids, files = (rows[name].astype(str).tolist() for name in columns)
    if len(set(ids)) < len(ids):
        raise UnreadableFileError(f"{table} names an image twice: fetch it again.")
    return dict(zip(ids, files, strict=True))


def _wanted(dimensions: Mapping[str, tuple[str, ...]], path: Path) -> Collection[str]:
    """Names of the variable with responses, and of its coordinates."""
    allowed = ({PRESENTATION, SITE}, {PRESENTATION, SITE, TIME})
    data = [name for name, axes in dimensions.items() if set(axes) in allowed and len(axes) == len(set(axes))]
    if len(data) != 1:
        found = "none" if not data else " and ".join(data[:4])
        raise UnreadableFileError(
            f"{path} must hold one variable with the dimensions {PRESENTATION} and {SITE}, and holds {found}: name a "
            "data assembly."
        )
    return [*data, *(name for name, axis in _COORDINATES.items() if dimensions.get(name) == (axis,))]


def _in_time(
    values: NDArray[np.float64], found: Mapping[str, Variable], time: tuple[float, float] | None, path: Path
) -> NDArray[np.float64]:
    """Mean over the time bins within the limits, which are the last axis."""
    bins = values.shape[-1]
    if time is None:
        if bins != 1:
            raise UnreadableFileError(f"{path} has {bins} time bins: choose some, such as --time 70,170.")
        return values[..., 0]
    if not {"time_bin_start", "time_bin_end"} <= found.keys():
        raise UnreadableFileError(f"{path} does not say when its time bins start and end: leave --time out.")
    limits = [found[name].values for name in ("time_bin_start", "time_bin_end")]
    if any(each.dtype.kind not in "buif" for each in limits):
        raise UnreadableFileError(f"{path} says in texts when its time bins start and end, not in milliseconds.")
    starts, ends = (each.astype(np.float64) for each in limits)
    within = (starts >= time[0]) & (ends <= time[1])
    if not within.any():
        raise UnreadableFileError(
            f"{path} has no time bin between {time[0]:g} and {time[1]:g} ms: they reach from {starts.min():g} to "
            f"{ends.max():g} ms."
        )
    return values[..., within].mean(axis=-1)


def _in_region(found: Mapping[str, Variable], region: str | None, path: Path) -> NDArray[np.bool_] | slice:
    """Which sites are in a region."""
    if region is None:
        return slice(None)
    if "region" not in found:
        raise UnreadableFileError(f"{path} names no regions: leave --region out.")
    regions = found["region"].values.astype(np.str_)
    if not (regions == region).any():
        known = ", ".join(sorted(set(regions.tolist()))[:10])
        raise UnreadableFileError(f"{path} has no site in the region {short(region)}: choose one of {known}.")
    return regions == region


def _by_image(values: NDArray[np.float64], place: NDArray[np.int64], count: int, path: Path) -> NDArray[np.float64]:
    """Responses by repetition and image, shape (repetitions, images, sites), from those by presentation.

    Parameters
    ----------
    values
        Shape (presentations, sites).
    place
        Number of each presentation's image, shape (presentations,).
    count
        Number of images.
    path
        The file.
    """
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(count))
    repetition = np.empty(len(place), np.int64)
    repetition[order] = np.arange(len(place)) - starts[place[order]]
    shape = (int(repetition.max()) + 1, count, values.shape[1])
    if 8 * shape[0] * shape[1] * shape[2] > memory() // 4:
        raise UnreadableFileError(
            f"{path} holds {shape[0]:,} repetitions of {shape[1]:,} images for {shape[2]:,} sites, which take more "
            "than a quarter of the memory: choose a region."
        )
    found = np.full(shape, np.nan)
    found[repetition, place] = values
    return found
