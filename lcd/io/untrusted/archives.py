"""Reader of untrusted archives."""

from __future__ import annotations

import bz2
import io
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path

from lcd.io.untrusted.opening import GIB, MIB, REMEDY, UnreadableFileError, bytes_text, in_short, opened

LARGEST_ARCHIVE = 16 * GIB
LARGEST_MEMBER = 64 * MIB
MOST_MEMBERS = 200_000

_MOST_GROWTH = 100
"""Limit of the compression ratio: archives of images hardly compress, so that a higher one is an attack."""

_LARGEST_HEADER = MIB  # of what stands before a member: long names, attributes
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class _Member(tarfile.TarInfo):
    """Archive member whose declared size is checked before it is read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        member = super().frombuf(buf, encoding, errors)
        largest = _LARGEST_HEADER if member.type in _HEADERS else LARGEST_MEMBER
        if not 0 <= member.size <= largest:
            raise tarfile.ReadError(f"a member declares {member.size:,} bytes")
        return member


class _Counted(io.RawIOBase):
    """Stream with a limit of its decompressed size."""

    def __init__(self, stream: bz2.BZ2File, most: int) -> None:
        self._stream, self._left, self._most = stream, most, most

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found = self._stream.read(min(size if size >= 0 else self._left + 1, self._left + 1))
        self._left -= len(found)
        if self._left < 0:
            raise OSError(f"more than {bytes_text(self._most)} come out of it")
        return found


def read_members(archive: Path, stems: Collection[str], *, remedy: str = REMEDY) -> Iterator[tuple[str, bytes]]:
    """Files in an archive ``.tar.bz2``, by their names without folder and ending; nothing is written anywhere.

    Parameters
    ----------
    archive
        The archive.
    stems
        Names of the files that are wanted; all others are passed over.
    remedy
        Remedy in the message, as the end of a sentence.

    Yields
    ------
    tuple of str and bytes
        Name and content.

    Raises
    ------
    UnreadableFileError
        If it cannot be read to its end, or grows more than any such archive.
    """
    with opened(archive, LARGEST_ARCHIVE, remedy=remedy) as file:
        size = archive.stat().st_size
        try:
            with bz2.BZ2File(file) as stream:
                counted = _Counted(stream, LARGEST_MEMBER + _MOST_GROWTH * size)
                with tarfile.open(fileobj=counted, mode="r|", tarinfo=_Member) as files:
                    number = 0
                    while (member := files.next()) is not None:
                        files.members.clear()  # type: ignore[attr-defined]  # a million of them take a gigabyte
                        number += 1
                        if number > MOST_MEMBERS:
                            raise tarfile.ReadError(f"it has more than {MOST_MEMBERS:,} members")
                        stem = Path(member.name).stem
                        if stem not in stems or not member.isreg() or not 0 <= member.size <= LARGEST_MEMBER:
                            continue
                        content = files.extractfile(member)
                        if content is not None:
                            yield stem, content.read(LARGEST_MEMBER)
        except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, MemoryError, RecursionError) as error:
            raise UnreadableFileError(f"{archive} cannot be read to its end ({in_short(error)}): {remedy}.") from None
