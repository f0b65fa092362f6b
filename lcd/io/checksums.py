"""Atomic writing of several files to a folder, with their checksums in SHA256SUMS.

`sha256sum --check SHA256SUMS` verifies such a folder without the LCD.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lcd.io.files import checksum, flush, is_partial, naming, partial_of, replacing
from lcd.io.untrusted import UnreadableFileError, read_bytes
from lcd.io.untrusted.tables import LARGEST_TABLE

SUMS = "SHA256SUMS"
"""Name of the list, a line a file, in the format of `sha256sum`."""

LARGEST_LIST = 2**20
"""Limit of the bytes of such a list."""

_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\\\0]+)")
_TRIES, _PAUSE = 5, 0.05


def write_together(folder: Path, files: Mapping[str, Callable[[Path], object]]) -> None:
    """Write several files and their checksums atomically: after a kill, all of them are new or all are old.

    New files are prepared beside the old ones. Writing their checksums commits them; a reader moves committed files to
    their places if the writer did not. Other files that were listed stay so.

    Parameters
    ----------
    folder
        Folder of the files; made if need be. The caller must hold its lock, see `lcd.io.files.locked`.
    files
        Functions that write each file to a path, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(ValueError):  # a damaged list is replaced
        finish(folder)
    known = _listed(folder) or {}
    kept = {name: found for name, found in known.items() if name not in files and (folder / name).exists()}
    partials = {name: partial_of(folder / name) for name in files}
    sums: dict[str, str] = {}
    try:
        for name, write in files.items():
            with naming(folder / name):
                write(partials[name])
                flush(partials[name])
            sums[name] = checksum(partials[name])
        with replacing(folder / SUMS) as file:
            listed = sums | kept
            file.write_text("".join(f"{found}  {name}\n" for name, found in listed.items()), encoding="utf-8")
    except BaseException:
        if len(sums) < len(files) or _listed(folder) != sums | kept:  # else the new files count already
            for partial in partials.values():
                partial.unlink(missing_ok=True)
        raise
    for name, partial in partials.items():
        with suppress(FileNotFoundError):  # a reader has put it in its place
            partial.replace(folder / name)
    flush(folder)
    for name in (*files, SUMS):
        for left in _partials(folder / name):
            left.unlink(missing_ok=True)


@dataclass(frozen=True)
class Contents:
    """Consistent snapshot of files of a folder.

    Attributes
    ----------
    folder
        The folder.
    files
        Content of each file, by name.
    sums
        Checksums listed in the folder, by name.
    """

    folder: Path
    files: Mapping[str, bytes]
    sums: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path, names: Iterable[str]) -> Contents:
        """Read files of a folder, also while `write_together` is running or after it was killed.

        Raises
        ------
        OSError
            If one cannot be read.
        ValueError
            If the list of checksums is damaged.
        """
        names = list(names)
        for left in reversed(range(_TRIES)):
            finish(folder)
            sums = _sums(folder)
            try:
                found = cls(folder, {name: _content(folder / name) for name in names}, sums)
            except FileNotFoundError:
                if not left or not sums:
                    raise
            else:
                if not left or found.differing is None:
                    return found
            time.sleep(_PAUSE)
        raise AssertionError  # the last try has returned or raised

    @property
    def differing(self) -> str | None:
        """Name of a file that differs from its listed checksum, None if there is none."""
        return next(
            (name for name, data in self.files.items() if self.sums.get(name) not in (None, checksum(data))), None
        )

    def check(self, remedy: str) -> None:
        """Check the content against the checksums; call it after more specific checks.

        Raises
        ------
        ValueError
            If a file differs.
        """
        if (name := self.differing) is not None:
            raise ValueError(
                f"{self.folder / name} has changed since it was written, as {SUMS} beside it tells: {remedy}, or "
                f"remove {SUMS} if you changed it on purpose."
            )


def _content(file: Path) -> bytes:
    """Content of a file, within the limits of untrusted files."""
    file.stat()  # a file that is not there yet is another matter than one that cannot be read
    return read_bytes(file, LARGEST_TABLE)


def finish(folder: Path) -> None:
    """Complete a committed `write_together` that was killed.

    Raises
    ------
    ValueError
        If the list of checksums is damaged.
    """
    for name, wanted in _sums(folder).items():
        if waiting := _partials(folder / name):
            ready = next((partial for partial in waiting if _holds(partial, wanted)), None)
            if ready is not None and not _holds(folder / name, wanted):
                with suppress(OSError):  # a folder that cannot be written to is read as it is
                    ready.replace(folder / name)


def is_listed(folder: Path, name: str) -> bool:
    """Whether the checksums of a folder name a file, so that it must be there."""
    return name in (_listed(folder) or {})


def _listed(folder: Path) -> dict[str, str] | None:
    """Listed checksums of a folder, None if the list is damaged."""
    try:
        return _sums(folder)
    except ValueError:
        return None


def _sums(folder: Path) -> dict[str, str]:
    """Listed checksums of a folder by name, empty without a list."""
    try:
        (folder / SUMS).stat()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError:
        pass  # the reader says what is wrong
    lines = read_bytes(folder / SUMS, LARGEST_LIST).decode("utf-8", errors="replace").splitlines()
    found = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{folder / SUMS} is damaged in line {number}: restore or remove it.")
        found[match[2]] = match[1]
    return found


def _partials(file: Path) -> list[Path]:
    """Partial files of a file that killed processes have left."""
    return [
        path
        for path in file.parent.iterdir()
        if is_partial(path) and path.name.startswith(f".{file.stem}.") and path.name.endswith(file.suffix)
    ]


def _holds(file: Path, wanted: str) -> bool:
    try:
        return checksum(file) == wanted
    except (OSError, UnreadableFileError):
        return False
