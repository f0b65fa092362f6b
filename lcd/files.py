"""Files that are written whole or not at all, what tells one from another, and where runs are kept."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

DEFAULT_STORE = Path("lcd-runs")
"""Folder of the runs, unless another is named."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path`, in a folder that is made if need be, when it is written whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield partial
        flush(partial)
        partial.replace(path)
        flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def check_output(file: Path, *endings: str) -> Path:
    """Find out whether a file can be written, before the work that fills it, and give it back.

    Parameters
    ----------
    file
        The file.
    endings
        How its name may end, such as ``".csv"``; in any way, if none is given.

    Raises
    ------
    ValueError
        If it is a folder, its name ends otherwise, or there can be no such file.
    """
    if file.is_dir():
        raise ValueError(f"{file} is a folder: name a file, such as {file / 'NAME'}.")
    if endings and file.suffix.lower() not in endings:
        raise ValueError(f"{file} must end in {' or '.join(endings)}: name it {file.with_suffix(endings[0])}.")
    _check_writable(file.absolute().parent, f"name another file than {file}")
    return file


def check_output_folder(folder: Path, option: str) -> None:
    """Find out whether a folder can be written to, or be made, before the work that fills it.

    Parameters
    ----------
    folder
        The folder.
    option
        What names another one, such as ``"--out"``.

    Raises
    ------
    ValueError
        If it is a file, or there can be no such folder.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: choose a folder with {option}.")
    _check_writable(folder.absolute(), f"choose another folder than {folder} with {option}")


def _check_writable(folder: Path, remedy: str) -> None:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ValueError(f"Nothing can be written to {there}: {remedy}.")


def flush(path: Path) -> None:
    """Bring what was written to a file, or the names in a folder, to the disk: a power cut does not take it then."""
    if path.is_dir() and os.name != "posix":
        return  # elsewhere a folder cannot be opened
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process of this machine holds the path, and hold it."""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"lcd-{name}.lock"):
        yield


def is_partial(path: Path) -> bool:
    """Whether a file is what a process that was killed left of one that `replacing` would have written."""
    return re.fullmatch(r"\..+\.\d+(\.\w+)?", path.name) is not None


def checksum(path: Path) -> str:
    """SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
