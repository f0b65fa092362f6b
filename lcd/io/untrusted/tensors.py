"""Reader of untrusted weights, as safetensors or by ``torch.save``."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from lcd.io.untrusted.opening import GIB, MIB, REMEDY, UnreadableFileError, bytes_text, check_file, in_short, opened

LARGEST_WEIGHTS = 8 * GIB
_LARGEST_HEADER = 16 * MIB


def read_safetensors(
    path: Path, most: int = LARGEST_WEIGHTS, *, remedy: str = REMEDY
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read the tensors of a safetensors file by name, and its metadata.

    Raises
    ------
    UnreadableFileError
        If it cannot be read, is something else, or has other bytes than it declares.
    """
    _check_header(path, most, remedy)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise UnreadableFileError(f"{path} is not a whole safetensors file ({in_short(error)}): {remedy}.") from None


def read_safetensors_metadata(path: Path, *, remedy: str = REMEDY) -> dict[str, str]:
    """Read the metadata of a safetensors file.

    Raises
    ------
    UnreadableFileError
        As `read_safetensors` says.
    """
    _check_header(path, LARGEST_WEIGHTS, remedy)
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise UnreadableFileError(f"{path} is not a whole safetensors file ({in_short(error)}): {remedy}.") from None


def _check_header(path: Path, most: int, remedy: str) -> None:
    with opened(path, most, remedy=remedy) as file:
        declared = int.from_bytes(file.read(8), "little")
    if declared > _LARGEST_HEADER:
        raise UnreadableFileError(
            f"{path} is not a whole safetensors file (it declares a header of {bytes_text(declared)}): {remedy}."
        )


def read_pickled(path: Path, most: int = LARGEST_WEIGHTS, *, remedy: str = REMEDY) -> Any:
    """Read a file by ``torch.save`` without running code from it.

    Raises
    ------
    UnreadableFileError
        If it cannot be read, would run code, or is packed: ``torch.save`` packs nothing, so that what is read is no
        larger than the file.
    """
    size = check_file(path, most, remedy=remedy)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                infos = archive.infolist()
                stored = all(info.compress_type == zipfile.ZIP_STORED for info in infos)
                if not stored or sum(info.file_size for info in infos) > size:
                    raise ValueError("it is packed")
                if (damaged := archive.testzip()) is not None:  # torch itself compares no checksums
                    raise ValueError(f"{damaged} is not what was written")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, on what is refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle's and torch's many kinds
        raise UnreadableFileError(
            f"{path} is damaged, or does not load without running code from it ({type(error).__name__}): {remedy}."
        ) from None


def portable(value: Any) -> Any:
    """The same content in the types that load without running code: arrays become tensors, and all are on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.cpu()
    if isinstance(value, np.ndarray):
        wide = {"uint16": np.int32, "uint32": np.int64}.get(value.dtype.name)  # torch hardly knows these two
        return torch.from_numpy(np.array(value, dtype=wide))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(item) for item in value]
    return value
