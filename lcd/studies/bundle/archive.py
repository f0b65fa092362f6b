"""An archive whose bytes follow from the names, contents and modes of its files."""

from __future__ import annotations

import lzma
import tarfile
from pathlib import Path

from lcd.io.files import replacing

COMPRESSION = 2
"""A level of xz: its own default, 6, takes three times as long for a tenth less."""


def write_archive(folder: Path, target: Path) -> int:
    """Write a folder as a tar.xz, atomically.

    Owners are root, times are 1970, files come in the order of their names, and of the modes only whether a file is
    executable is kept, so that the same files make the same bytes with the same liblzma.

    Parameters
    ----------
    folder
        The folder; its files and folders are packed under their names within it. Links are followed.
    target
        The archive.

    Returns
    -------
    int
        Bytes of the files before they are packed.
    """
    total = 0
    with (
        replacing(target) as partial,
        lzma.open(partial, "wb", preset=COMPRESSION) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(folder.rglob("*"), key=lambda each: each.relative_to(folder).as_posix()):
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            if path.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
                continue
            member.size = path.stat().st_size
            member.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            with path.open("rb") as content:
                archive.addfile(member, content)
            total += member.size
    return total
