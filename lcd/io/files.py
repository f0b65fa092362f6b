"""Atomic writing of files, locks, checksums, and the default store."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

DEFAULT_STORE = Path("lcd-runs")
"""Folder of the runs, unless another is named."""

LARGEST_FILE = 2**34
"""Limit of the bytes of a file whose checksum is computed, 16 GiB: weights are the largest."""

LOCK = ".lock"
"""Name of a lock file within the locked folder."""

_PARTIAL = re.compile(r"\..+\.(\d+|[0-9a-f]{16})(\.\w+)?")
"""Pattern of the names of `partial_of`; earlier versions have a process id in place of the token."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file's name to system errors, which those of a full disk lack."""
    try:
        yield
    except OSError as error:
        if error.errno is None or (error.filename is not None and Path(error.filename).parent != path.parent):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def token() -> str:
    """Unique random token."""
    return secrets.token_hex(8)


def partial_of(path: Path) -> Path:
    """New hidden name beside a file, with the same suffix, for its unfinished content."""
    return path.with_name(f".{path.stem}.{token()}{path.suffix}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file atomically: yields a temporary path that replaces `path`, or what it links to, at the end."""
    path = path.resolve() if path.is_symlink() else path
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


def check_output(file: Path, *endings: str, inputs: Iterable[Path | str | None] = ()) -> Path:
    """Check before the work that an output file can be written, and return it.

    Parameters
    ----------
    file
        The file.
    endings
        How its name may end, such as ``".csv"``; in any way, if none is given.
    inputs
        Files that the work reads, and that it must not overwrite, or folders of such files, into which it writes
        nothing; None and names of neither are left alone.

    Raises
    ------
    ValueError
        If it is a folder, a pipe, a device or one of the inputs or in one, its name ends otherwise, or there can be no
        such file.
    """
    if file.exists() and not (file.is_file() or file.is_dir()):
        raise ValueError(f"{file} is a pipe, a device or a socket, which a file would replace: name another.")
    for given in inputs:
        if given is None or not Path(given).exists():
            continue
        if Path(os.path.realpath(file)).is_relative_to(os.path.realpath(given)):
            where = f"in {given}, whose files are read" if Path(given).is_dir() else "read as well"
            raise ValueError(f"{file} is {where}, and would be overwritten: name another file.")
    if file.is_dir():
        raise ValueError(f"{file} is a folder: name a file, such as {file / 'NAME'}.")
    if endings and file.suffix.lower() not in endings:
        raise ValueError(f"{file} must end in {' or '.join(endings)}: name it {file.with_suffix(endings[0])}.")
    try:
        target = file.resolve() if file.is_symlink() else file.absolute()
    except (RuntimeError, OSError):
        raise ValueError(f"{file} is a link in a circle: name another file.") from None
    _check_writable(target.parent, f"name another file than {file}")
    return file


def check_output_folder(folder: Path, option: str) -> None:
    """Check before the work that an output folder can be written to, or be made.

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
    """Flush a file or folder to the disk (fsync)."""
    if path.is_dir() and os.name != "posix":
        return  # elsewhere a folder cannot be opened
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def held(lock: Path, *, wait: bool = True) -> Iterator[bool]:
    """Acquire a lock file that excludes threads, processes and containers sharing its folder.

    The system releases it when its process ends, however it ends. No process id is stored, which another container
    could reuse.

    Parameters
    ----------
    lock
        The file; its folder exists. It is removed on release.
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
    """Lock a folder, after waiting for other holders.

    The lock lies beside the folder, or in it where its parent is not writable, so that all writers use the same one.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f".{folder.name}.lock")
    if not os.access(folder.parent, os.W_OK):
        lock = folder / LOCK
    with held(lock):
        yield


def is_partial(path: Path) -> bool:
    """Whether a file is a partial file or a lock."""
    return path.name == LOCK or _PARTIAL.fullmatch(path.name) is not None


def checksum(content: Path | bytes) -> str:
    """SHA-256 of bytes or of a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    lcd.io.untrusted.UnreadableFileError
        If it cannot be read, is no ordinary file (a pipe would be waited for, and some devices have no end), or is
        larger than any file here.
    """
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    from lcd.io.untrusted.opening import opened

    content.stat()  # a file that is not there yet is another matter than one that cannot be read
    found = hashlib.sha256()
    with opened(content, LARGEST_FILE) as file:
        while part := file.read(2**20):
            found.update(part)
    return found.hexdigest()
