"""Opening of untrusted files: regular files up to a limit of bytes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

KIB, MIB, GIB = 2**10, 2**20, 2**30

REMEDY, LOST = "name another file", "check the path"

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class UnreadableFileError(ValueError):
    """An untrusted file that cannot be read; the message names the file and the remedy."""


def in_short(error: BaseException) -> str:
    """Message of an error, on one line and without a full stop."""
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = " ".join(str(error).split())
    return (said[:200] + "..." * (len(said) > 200)).rstrip(".") or type(error).__name__


def bytes_text(number: int) -> str:
    """Format a number of bytes, such as ``64 MiB``."""
    for size, unit in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if number >= size:
            return f"{number / size:.3g} {unit}" if number < 1000 * size else f"{number // size:,} {unit}"
    return f"{number} bytes"


def memory() -> int:
    """Memory limit of this process in bytes: that of the machine, or a lower resource limit."""
    found = [2**63 - 1]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        import resource
    except ImportError:  # as on Windows
        return min(found)
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return min(found) if limit == resource.RLIM_INFINITY else min(*found, limit)


def check_file(path: Path, most: int, *, what: str = "file", remedy: str = REMEDY, lost: str = LOST) -> int:
    """Check that a path is a regular file within a limit, and return its size in bytes.

    Parameters
    ----------
    path
        The file, or a link to it.
    most
        Limit of its bytes.
    what
        What it should be, such as ``"policy file"``.
    remedy
        Remedy in the message, as the end of a sentence.
    lost
        What to do where there is none.

    Raises
    ------
    UnreadableFileError
        If there is none, it is something else than an ordinary file, or larger.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableFileError(f"There is no {what} {path}: {lost}.") from None
    except (OSError, ValueError) as error:  # a name that is too long or has a zero in it, links in a circle, no right
        raise UnreadableFileError(f"{path} cannot be read ({in_short(error)}): {remedy}.") from None
    return _checked(path, found, most, what, remedy, lost)


def _checked(path: Path, found: os.stat_result, most: int, what: str, remedy: str, lost: str) -> int:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise UnreadableFileError(f"There is no {what} {path}, for that is {kind}: {lost}.")
    if found.st_size > most:
        raise UnreadableFileError(
            f"{path} has {bytes_text(found.st_size)}, where such a file has at most {bytes_text(most)}: {remedy}."
        )
    return found.st_size


def opened(path: Path, most: int, *, remedy: str = REMEDY) -> BinaryIO:
    """Open a regular file for reading; pipes and devices are not opened, as they could block or act.

    Raises
    ------
    UnreadableFileError
        As `check_file` says, or if it cannot be opened.
    """
    check_file(path, most, remedy=remedy)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = os.fdopen(os.open(path, flags), "rb")
    except OSError as error:
        raise UnreadableFileError(f"{path} cannot be read ({in_short(error)}): {remedy}.") from None
    try:
        _checked(
            path, os.fstat(file.fileno()), most, "file", remedy, LOST
        )  # of what was opened, should it be another by now
    except UnreadableFileError:
        file.close()
        raise
    return file


def read_bytes(path: Path, most: int, *, remedy: str = REMEDY) -> bytes:
    """Read all bytes of a regular file.

    Raises
    ------
    UnreadableFileError
        As `opened` says, or if it cannot be read to its end.
    """
    with opened(path, most, remedy=remedy) as file:
        try:
            content = file.read(most + 1)
        except (OSError, MemoryError) as error:
            raise UnreadableFileError(f"{path} cannot be read ({in_short(error)}): {remedy}.") from None
    if len(content) > most:  # files that the system makes up say that they are empty
        raise UnreadableFileError(f"{path} has more than {bytes_text(most)}: {remedy}.")
    return content
