"""Files that are written whole or not at all, what tells one from another, and where runs are kept."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

DEFAULT_STORE = Path("lcd-runs")
"""Folder of the runs, unless another is named."""

LOCK = ".lock"
"""Name of a lock in the folder that it is of."""

_PARTIAL = re.compile(r"\..+\.(\d+|[0-9a-f]{16})(\.\w+)?")
"""Names that `partial_of` gives; earlier versions put the process's number where the token is."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors of the system that come up while a file is written name the file, which a full disk's do not."""
    try:
        yield
    except OSError as error:
        if error.errno is None or (error.filename is not None and Path(error.filename).parent != path.parent):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def token() -> str:
    """A name that no thread, process, container or machine gives a second time."""
    return secrets.token_hex(8)


def partial_of(path: Path) -> Path:
    """A new hidden name beside a file, with the same ending, for what will become the file when it is whole."""
    return path.with_name(f".{path.stem}.{token()}{path.suffix}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path`, in a folder that is made if need be, when it is written whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(path)
    try:
        with naming(path):
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
def held(lock: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file, alone among the threads, processes and containers that share its folder.

    The system lets go of it when the process that holds it ends, however it ends: no process number is remembered,
    which another process, or one in another container, may have too.

    Parameters
    ----------
    lock
        The file; its folder exists. It is removed when it is let go.
    wait
        Whether to wait for it.

    Yields
    ------
    bool
        Whether it is held; always, if waited for.
    """
    file = FileLock(lock, timeout=-1 if wait else 0)
    try:
        file.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):  # Windows removes no open file
            lock.unlink()  # FileLock takes no lock on a file that was removed meanwhile
        file.release()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until nobody else who shares the folder holds it, and hold it.

    The lock lies beside the folder, or in it where nothing can be written beside it: everybody who writes to the folder
    finds the same one, whatever folder for temporary files they have.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f".{folder.name}.lock")
    if not os.access(folder.parent, os.W_OK):
        lock = folder / LOCK
    with held(lock):
        yield


def is_partial(path: Path) -> bool:
    """Whether a file is what a process that was killed left of one that it was writing, or of a lock."""
    return path.name == LOCK or _PARTIAL.fullmatch(path.name) is not None


def checksum(content: Path | bytes) -> str:
    """SHA-256 of a content, or of that of a file."""
    return hashlib.sha256(content if isinstance(content, bytes) else content.read_bytes()).hexdigest()
