"""Reader of untrusted netCDF-4 files, which are HDF5 files."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcd.io.untrusted.opening import GIB, MIB, REMEDY, UnreadableFileError, bytes_text, in_short, memory, opened

LARGEST_NETCDF = 8 * GIB
LARGEST_VARIABLES = 4 * GIB
MOST_VARIABLES = 10_000

_LARGEST_TEXT = 256 * MIB
_NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"


@dataclass(frozen=True, eq=False)
class Variable:
    """A variable of a netCDF file.

    Attributes
    ----------
    dimensions
        Name of each axis.
    values
        Floating-point numbers with NaN for fill values, whole numbers, or texts.
    """

    dimensions: tuple[str, ...]
    values: NDArray[Any]


def read_netcdf(
    path: Path,
    choose: Callable[[Mapping[str, tuple[str, ...]]], Collection[str]],
    *,
    most: int = LARGEST_VARIABLES,
    remedy: str = REMEDY,
) -> dict[str, Variable]:
    """Read variables in the root of a netCDF-4 file; no other file is opened, whatever the file refers to.

    Parameters
    ----------
    path
        The file.
    choose
        From the names of all variables, with the names of their dimensions, to the names of those to read.
    most
        Bytes that they take together at the most; a quarter of the memory, if that is less.
    remedy
        Remedy in the message, as the end of a sentence.

    Raises
    ------
    UnreadableFileError
        If the package h5py is not installed, the file is not netCDF-4 or is damaged, a variable lies in another file,
        or the variables are too large.
    """
    with opened(path, LARGEST_NETCDF, remedy=remedy) as file:
        start = file.read(8)
        if start[:3] == b"CDF":
            raise UnreadableFileError(f"{path} is netCDF-3, where netCDF-4 is read: convert it with nccopy -k nc4.")
        if start != b"\x89HDF\r\n\x1a\n":
            raise UnreadableFileError(f"{path} is not netCDF-4, which is HDF5: {remedy}.")
        file.seek(0)
        h5py = _h5py(path)
        try:
            with h5py.File(file, "r") as root:
                datasets = dict(_datasets(h5py, root))
                dimensions = {name: _dimensions(each) for name, each in datasets.items()}
                wanted = choose(dimensions)
                most = min(most, memory() // 4)
                if (total := sum(_size(datasets[name]) for name in wanted)) > most:
                    raise ValueError(f"its variables take {bytes_text(total)}, not at most {bytes_text(most)}")
                return {name: Variable(dimensions[name], _values(h5py, datasets[name], path)) for name in wanted}
        except Exception as error:  # a damaged file fails in HDF5, h5py or NumPy, with errors of many types
            if isinstance(error, UnreadableFileError):
                raise
            raise UnreadableFileError(f"{path} cannot be read ({in_short(error)}): {remedy}.") from None


def _h5py(path: Path) -> Any:
    """The package h5py, which is imported when a file needs it."""
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise UnreadableFileError(
            f"{path} needs the package h5py ({error}): pip install 'learning-challenge-diagnosticator[neural]'."
        ) from None


def _datasets(h5py: Any, root: Any) -> Iterator[tuple[str, Any]]:
    """Variables of the root group; what lies in other files is refused, and groups are passed over."""
    if len(root) > MOST_VARIABLES:
        raise ValueError(f"it has more than {MOST_VARIABLES:,} variables")
    for name in root:
        if not isinstance(root.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link to somewhere else")
        found = root[name]
        if not isinstance(found, h5py.Dataset):
            continue
        if found.external or found.is_virtual:
            raise ValueError(f"the numbers of {name} lie in another file")
        if bytes(found.attrs.get("NAME", b"")).startswith(_NO_VARIABLE):
            continue
        yield name, found


def _dimensions(dataset: Any) -> tuple[str, ...]:
    """Names of a variable's dimensions; empty for one that has none."""
    if dataset.is_scale:
        return (dataset.name.removeprefix("/"),)
    names = []
    for place, axis in enumerate(dataset.dims):
        names.append(axis[0].name.removeprefix("/") if len(axis) else f"unnamed {place}")
    return tuple(names)


def _size(dataset: Any) -> int:
    """Bytes that a variable takes when it is read: its numbers in double precision, and a chunk of the file."""
    size = max(8, int(dataset.dtype.itemsize))
    chunk = size if dataset.chunks else 0
    for side in dataset.shape or (0,):
        size *= int(side)
    for side in dataset.chunks or ():
        chunk *= int(side)
    return size + chunk


def _values(h5py: Any, dataset: Any, path: Path) -> NDArray[Any]:
    if dataset.shape is None:
        raise ValueError(f"{dataset.name} is empty")
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return _texts(dataset, path.stat().st_size)
    if dataset.dtype.kind not in "buif":
        raise ValueError(f"{dataset.name} holds {dataset.dtype}, not numbers or texts")
    values = np.asarray(dataset[()])
    fills = [
        np.asarray(dataset.attrs[name]).ravel() for name in ("_FillValue", "missing_value") if name in dataset.attrs
    ]
    scale, offset = (
        float(np.asarray(dataset.attrs.get(name, usual)).ravel()[0])
        for name, usual in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    if not fills and (scale, offset) == (1.0, 0.0):
        return values
    numbers = values.astype(np.float64)
    for fill in fills:
        numbers[np.isin(values, fill)] = np.nan
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite afterwards is refused by its reader
        return numbers * scale + offset


def _texts(dataset: Any, file_size: int) -> NDArray[np.str_]:
    """Texts, read so few at once that they stay small although many may refer to the same long one."""
    if len(dataset.shape) != 1:
        raise ValueError(f"{dataset.name} holds texts along {len(dataset.shape)} dimensions, not one")
    at_once, found, taken = max(1, _LARGEST_TEXT // file_size), [], 0
    for start in range(0, dataset.shape[0], at_once):
        part = [
            bytes(each) if isinstance(each, bytes) else str(each).encode() for each in dataset[start : start + at_once]
        ]
        taken += sum(map(len, part))
        if taken > _LARGEST_TEXT:
            raise ValueError(f"the texts of {dataset.name} have more than {bytes_text(_LARGEST_TEXT)}")
        found += [each.rstrip(b"\0").decode() for each in part]
    return np.array(found, dtype=np.str_)
