"""Readers of untrusted archives."""

from __future__ import annotations

import bz2
import io
import re
import shutil
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

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


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class _File(tarfile.TarInfo):
    """Archive member that is a regular file with a short name, and nothing else."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _File:
        member = super().frombuf(buf, encoding, errors)
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):  # links, devices, folders, long names, attributes
            raise tarfile.ReadError(f"{member.name[:100]!r} in it is no regular file")
        if not _NAME.fullmatch(member.name):
            raise tarfile.ReadError(f"{member.name[:100]!r} in it is no name of a file")
        if member.size < 0:
            raise tarfile.ReadError(f"{member.name!r} declares {member.size:,} bytes")
        return member


def unpack_files(archive: Path, folder: Path, *, most: int, most_files: int, remedy: str = REMEDY) -> None:
    """Write the files of an uncompressed ``.tar`` into an empty folder, and nothing outside of it.

    Parameters
    ----------
    archive
        The archive: regular files only, whose names have no folders.
    folder
        Where they are written.
    most
        Limit of its bytes, which those of its files cannot exceed.
    most_files
        Limit of their number.
    remedy
        Remedy in the message, as the end of a sentence.

    Raises
    ------
    UnreadableFileError
        If it is something else, or cut short.
    OSError
        If a file cannot be written.
    """
    with opened(archive, most, remedy=remedy) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:", tarinfo=_File) as files:
                members = []
                while (member := files.next()) is not None:
                    members.append(member)
                    if len(members) > most_files:
                        raise tarfile.ReadError(f"it has more than {most_files:,} files")
                end = members[-1].offset_data + members[-1].size if members else 0
                if end > archive.stat().st_size:
                    raise tarfile.ReadError("it is cut short")
                if len({member.name for member in members}) < len(members):
                    raise tarfile.ReadError("two of its files have the same name")
        except (tarfile.TarError, EOFError, ValueError, OverflowError, MemoryError, RecursionError) as error:
            raise UnreadableFileError(f"{archive} cannot be unpacked ({in_short(error)}): {remedy}.") from None
        for member in members:
            file.seek(member.offset_data)
            with (folder / member.name).open("xb") as written:
                shutil.copyfileobj(_Part(file, member.size), written, MIB)


class _Part:
    """The next bytes of a file, up to a number of them."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        found = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(found)
        return found
