"""A finished run as one archive: a tar file whose bytes follow from the run's files alone."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from lcd.io.object_storage import LARGEST_OBJECT
from lcd.io.untrusted.archives import unpack_files

LARGEST_ARCHIVE = LARGEST_OBJECT
"""Limit of an archive's bytes, which its files cannot exceed, for nothing is packed."""

MOST_FILES = 64


def pack(folder: Path) -> bytes:
    """A run's folder as a tar file, with names in order and without owners and times."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.iterdir()):
            member = tarfile.TarInfo(path.name)
            member.size, member.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                archive.addfile(member, file)
    return made.getvalue()


def unpack(archive: Path, folder: Path) -> None:
    """Write the files of an archive that anybody may have made into an empty folder.

    Raises
    ------
    ValueError
        If it is damaged, or holds something else than a run's files.
    """
    unpack_files(archive, folder, most=LARGEST_ARCHIVE, most_files=MOST_FILES, remedy="it is no run")
