"""Opening a file that somebody else made: an ordinary one, and of no more bytes than such files have."""

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
    """A file that is not what it should be; the message is one sentence that names it and says what to do."""


def in_short(error: BaseException) -> str:
    """What an error says, on one line and without a full stop."""
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = " ".join(str(error).split())
    return (said[:200] + "..." * (len(said) > 200)).rstrip(".") or type(error).__name__


def bytes_text(number: int) -> str:
    """A number of bytes for people, such as ``64 MiB``."""
    for size, unit in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if number >= size:
            return f"{number / size:.3g} {unit}" if number < 1000 * size else f"{number // size:,} {unit}"
    return f"{number} bytes"


def memory() -> int:
    """Bytes that this process may take at the most: those of the machine, or what it was limited to."""
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
    """Size of an ordinary file, in bytes.

    Parameters
    ----------
    path
        The file, or a link to it.
    most
        Bytes that such a file has at the most.
    what
        What it should be, such as ``"policy file"``.
    remedy
        What to do about another one, as the end of a sentence.
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
    """An ordinary file, open to be read; what is none is not even opened, for a pipe would wait and a device might act.

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
    """All bytes of an ordinary file.

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
