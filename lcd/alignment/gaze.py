"""Human gaze in Atari games, in the layout of Atari-HEAD.

Zhang et al., *Atari-HEAD: Atari human eye-tracking and demonstration dataset*, AAAI 2020 (arXiv:1903.06754). A trial is
a table ``NAME.txt``, a line a frame: frame, episode, score, duration in milliseconds, reward, action, and the gaze
positions x0, y0, x1, y1, ... in pixels of the frame of 160 by 210; and an archive ``NAME.tar.bz2`` of the frames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lcd.alignment.references import ReferenceMaps
from lcd.io.untrusted import decode_image, memory, read_members, read_text

HEIGHT, WIDTH = 210, 160

DEVIATION = (7.1, 5.6)
"""Standard deviations of the blur, in rows and columns: about one degree of visual angle in the recordings."""

LARGEST_TABLE = 2**28
"""Largest size of a trial's table, in bytes."""

BLOCK = 200
"""Frames that count as one unit of the recording, about ten seconds: neighbours are nearly the same picture."""

_FARTHEST = 1e6  # largest plausible gaze position, in pixels
_BEFORE_GAZE = 6  # columns of a line before the positions


def read_trial(table: Path, *, largest: int | None = None, deviation: tuple[float, float] = DEVIATION) -> ReferenceMaps:
    """Read the frames of a trial, with gaze density maps.

    Parameters
    ----------
    table : pathlib.Path
        ``NAME.txt``; ``NAME.tar.bz2`` lies beside it.
    largest : int, optional
        Largest number of frames.
    deviation : tuple of float
        Standard deviations of the blur, in rows and columns.

    Returns
    -------
    ReferenceMaps
        With the actions as targets, and blocks of `BLOCK` lines as groups. Positions outside the screen are left out,
        and so are frames without gaze or action.

    Raises
    ------
    ValueError
        If a file is missing or cut short, a line of the table is not valid, or a frame is not in the archive.
    """
    if largest is not None and largest < 1:
        raise ValueError(f"largest must be a number of frames above 0, not {largest}.")
    rows = _rows(table)[:largest]
    frames = _frames(table.with_suffix(".tar.bz2"), {row[0] for row in rows})
    sizes = {frame.shape for frame in frames.values()}
    if len(sizes) > 1:
        raise ValueError(f"The frames of {table.stem} have different sizes, {sorted(sizes)}: fetch them again.")
    names, actions, places, blocks = zip(*rows, strict=True)
    images = np.stack([frames[name] for name in names])
    maps = np.stack([gaze_map(each, deviation) for each in places])
    return ReferenceMaps(images, maps, "human", np.array(actions, np.int64), groups=np.array(blocks, np.int64))


def gaze_map(places: NDArray[np.float64], deviation: tuple[float, float] = DEVIATION) -> NDArray[np.float32]:
    """Gaze density that sums to 1, shape (210, 160), from positions of shape (n, 2), x and y."""
    density = np.zeros((HEIGHT, WIDTH))
    columns, rows = np.clip(places.astype(np.int64), 0, (WIDTH - 1, HEIGHT - 1)).T
    np.add.at(density, (rows, columns), 1.0)
    blurred = gaussian_filter(density, deviation, mode="constant")
    return (blurred / blurred.sum()).astype(np.float32)


def _rows(table: Path) -> list[tuple[str, int, NDArray[np.float64], int]]:
    """Name of the frame, action, gaze positions on the screen, and block, of each line that has all of them."""
    found = []
    lines = read_text(table, LARGEST_TABLE, remedy="name the table of a trial, NAME.txt").splitlines()
    for number, line in enumerate(lines):
        parts = line.strip().split(",")
        if number == 0 and parts[0] == "frame_id":
            continue
        try:
            name, action, gaze = parts[0], parts[_BEFORE_GAZE - 1], parts[_BEFORE_GAZE:]
            if "null" in (action, gaze[0]):
                continue
            places = np.array(gaze, dtype=np.float64).reshape(-1, 2)
            if not (np.abs(places) < _FARTHEST).all():
                raise ValueError
            if len(action) > 3:
                raise ValueError
            there = places[((places >= 0) & (places < (WIDTH, HEIGHT))).all(axis=1)]
            if len(there):
                found.append((name, int(action), there, number // BLOCK))
        except (IndexError, ValueError):
            raise ValueError(f"Line {number + 1} of {table} is not in Atari-HEAD's format: fetch it again.") from None
    if not found:
        raise ValueError(f"{table} holds no gaze positions: choose another trial.")
    if len({row[0] for row in found}) < len(found):
        raise ValueError(f"{table} names a frame twice: fetch the file again.")
    return found


def _frames(archive: Path, names: set[str]) -> dict[str, NDArray[np.uint8]]:
    if not archive.is_file():
        raise ValueError(f"There is no file {archive} beside its table: fetch it, too.")
    found: dict[str, NDArray[np.uint8]] = {}
    taken = 0
    for name, content in read_members(archive, names, remedy="fetch it again"):
        found[name] = decode_image(content, "RGB", f"{name} in {archive}", remedy="fetch it again")
        taken += found[name].nbytes + 4 * HEIGHT * WIDTH
        if 2 * taken > memory():
            raise ValueError(f"{len(found):,} frames of {archive} fill half of the memory: read fewer, largest=.")
    if missing := sorted(names - found.keys()):
        raise ValueError(f"The frame {missing[0]} is not in {archive}: fetch it again.")
    return found
