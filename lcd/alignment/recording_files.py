"""Recordings from files: responses, with their images in the same file or in a folder."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lcd.alignment.brainio import image_files, read_assembly
from lcd.alignment.recordings import Recording, read_recording
from lcd.alignment.references import IMAGE_ENDINGS
from lcd.io.limits import short
from lcd.io.untrusted import memory, read_image

NETCDF_ENDINGS = (".nc", ".nc4", ".netcdf")
"""Endings of the names of netCDF files; others are read as npz."""


def read_responses(
    responses: Path,
    images: Path | None = None,
    *,
    stimuli: Path | None = None,
    region: str | None = None,
    time: tuple[float, float] | None = None,
) -> Recording:
    """Read recorded responses with their images.

    Parameters
    ----------
    responses
        A file ``.npz``, see `lcd.alignment.recordings.read_recording`, or ``.nc``, see
        `lcd.alignment.brainio.read_assembly`.
    images
        Folder of the images: PNG or JPEG files. Those of an npz file are in the order of their names; those of a netCDF
        file have the images' names, or are named by `stimuli`.
    stimuli
        CSV table of a netCDF file's images, see `lcd.alignment.brainio.image_files`.
    region, time
        As in `lcd.alignment.brainio.read_assembly`.

    Raises
    ------
    ValueError
        If a file cannot be read, or images are missing.
    """
    if responses.suffix.lower() in NETCDF_ENDINGS:
        recording = read_assembly(responses, region=region, time=time)
    else:
        for name, given in (("stimuli", stimuli), ("region", region), ("time", time)):
            if given is not None:
                raise ValueError(f"--{name} goes with a netCDF file ({', '.join(NETCDF_ENDINGS)}): leave it out.")
        recording = read_recording(responses)
    return recording if images is None else recording.with_images(_pictures(images, recording, stimuli))


def _pictures(folder: Path, recording: Recording, stimuli: Path | None) -> NDArray[np.uint8]:
    """Images of a recording from a folder, shape (n, height, width, 3); all are resized to the first one's size."""
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}: check the path.")
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_ENDINGS)
    if recording.names is not None:
        named = {} if stimuli is None else image_files(stimuli)
        by_name = {file.name: file for file in found} | {file.stem: file for file in found}
        wanted = [Path(named.get(name, name)).name for name in recording.names]
        _check_one_each(found, wanted, folder)
        if missing := [name for name in wanted if name not in by_name]:
            raise ValueError(
                f"{folder} lacks {len(missing)} of {len(wanted)} images, {short(missing[0])} the first of them: unpack "
                "all, and name their table with --stimuli if files are not named as images are."
            )
        found = [by_name[name] for name in wanted]
    elif len(found) != len(recording):
        raise ValueError(f"{folder} holds {len(found)} images, and there are responses to {len(recording)}.")
    elif (counted := sorted(found, key=_by_number)) != found:
        place = next(place for place, (one, other) in enumerate(zip(found, counted, strict=True)) if one != other)
        raise ValueError(
            f"By name {found[place].name} comes where by number {counted[place].name} would, in {folder}: fill the "
            "numbers up with zeros, so that the order of the responses is certain."
        )
    first = read_image(found[0], "RGB", remedy="replace it")
    if first.size * len(found) > memory() // 4:
        raise ValueError(f"The {len(found):,} images in {folder} take more than a quarter of the memory: shrink them.")
    pictures = np.empty((len(found), *first.shape), np.uint8)
    for place, file in enumerate(found):
        picture = torch.from_numpy(read_image(file, "RGB", remedy="replace it").copy()).permute(2, 0, 1)[None]
        if tuple(picture.shape[2:]) != first.shape[:2]:
            picture = functional.interpolate(picture.float(), first.shape[:2], mode="bilinear", antialias=True).round()
        pictures[place] = picture[0].permute(1, 2, 0).byte().numpy()
    return pictures


def _by_number(file: Path) -> list[tuple[int, int, str]]:
    """What sorts names as people count: 2 before 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", file.name) if part]


def _check_one_each(files: list[Path], wanted: list[str], folder: Path) -> None:
    """Check that no two images of a recording are one file, and no name is that of two.

    Raises
    ------
    ValueError
        If they are.
    """
    if twice := next((name for name, number in Counter(wanted).items() if number > 1), None):
        raise ValueError(
            f"Several images of the recording are the file {short(twice)}, though they may be in several folders: put "
            f"all of them into {folder} under names of their own."
        )
    stems = Counter(file.stem for file in files)
    if twice := next((name for name in wanted if stems[name] > 1), None):
        raise ValueError(f"{folder} holds several images {short(twice)}, with other endings: keep one of them.")
