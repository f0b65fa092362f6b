"""Reader of untrusted npz files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcd.io.untrusted.opening import MIB, REMEDY, UnreadableFileError, bytes_text, in_short, opened

LARGEST_ARRAYS = 512 * MIB
MOST_MEMBERS = 10_000


def read_npz(
    path: Path,
    names: Collection[str],
    *,
    optional: Collection[str] = (),
    most: int = LARGEST_ARRAYS,
    remedy: str = REMEDY,
) -> dict[str, NDArray[Any]]:
    """Read numeric arrays by name, without unpickling and without reading others.

    Parameters
    ----------
    path
        The file.
    names
        Those that are wanted; they must be there.
    optional
        Those that are wanted if they are there.
    most
        Bytes that they have together at the most, and the file, too.
    remedy
        Remedy in the message, as the end of a sentence.

    Raises
    ------
    UnreadableFileError
        If it cannot be read, lacks an array, or one holds something else than numbers, or less than it declares.
    """
    with opened(path, most, remedy=remedy) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                if len(archive.infolist()) > MOST_MEMBERS:
                    raise ValueError(f"it has more than {MOST_MEMBERS:,} members")
                infos = {info.filename: info for info in archive.infolist()}
                if missing := [name for name in names if f"{name}.npy" not in infos]:
                    raise ValueError(f"it holds no array {missing[0]!r}")
                there = (name for name in optional if f"{name}.npy" in infos)
                wanted = {name: infos[f"{name}.npy"] for name in (*names, *there)}
                if (total := sum(info.file_size for info in wanted.values())) > most:
                    raise ValueError(f"its arrays have {bytes_text(total)} instead of at most {bytes_text(most)}")
                # What zipfile gives ends after the size that was declared, however much is packed behind it.
                return {name: _array(archive.read(info), name) for name, info in wanted.items()}
        except Exception as error:  # a damaged archive fails in NumPy, zipfile, zlib, lzma, struct or ast
            raise UnreadableFileError(f"{path} cannot be read ({in_short(error)}): {remedy}.") from None


def _array(content: bytes, name: str) -> NDArray[Any]:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"{name} has the version {version} of the format, not (1, 0) or (2, 0)")
    shape, fortran, dtype = readers[version](file)
    if dtype.kind not in "buif":
        raise ValueError(f"{name} holds {dtype}, not real numbers")
    count = 1
    for size in shape:
        count *= int(size)
    there = len(content) - file.tell()
    if min(shape, default=1) < 0 or count * dtype.itemsize != there:
        raise ValueError(f"{name} has {there:,} bytes, and not those of the shape {shape} that it declares"[:200])
    found = np.frombuffer(content, dtype, offset=file.tell(), count=count)
    return found.reshape(shape, order="F" if fortran else "C")
