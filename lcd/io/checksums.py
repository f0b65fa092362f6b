"""Files of a folder that are written together, and whose damage is noticed: SHA256SUMS lists what they hold.

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
from lcd.io.untrusted import read_bytes
from lcd.io.untrusted.tables import LARGEST_TABLE

SUMS = "SHA256SUMS"
"""Name of the list, a line a file, in the format of `sha256sum`."""

_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\\\0]+)")
_TRIES, _PAUSE = 5, 0.05


def write_together(folder: Path, files: Mapping[str, Callable[[Path], object]]) -> None:
    """Write files and their checksums: whenever a process is killed, all of the files are new or all are old.

    The checksums of new files that lie ready beside the old ones decide: once these are written, the new files count,
    and whoever reads them next puts those in their places that are not there yet.

    Parameters
    ----------
    folder
        Where they go; made if need be. Nobody else writes them meanwhile, see `lcd.io.files.locked`.
    files
        What writes each of them to a path, by their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partials = {name: partial_of(folder / name) for name in files}
    sums: dict[str, str] = {}
    try:
        for name, write in files.items():
            with naming(folder / name):
                write(partials[name])
                flush(partials[name])
            sums[name] = checksum(partials[name])
        with replacing(folder / SUMS) as file:
            file.write_text("".join(f"{found}  {name}\n" for name, found in sums.items()), encoding="utf-8")
    except BaseException:
        if len(sums) < len(files) or _listed(folder) != sums:  # else the new files count already
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
    """What files of a folder held at one moment.

    Attributes
    ----------
    folder
        The folder.
    files
        What each file holds, by name.
    sums
        What the folder lists as their checksums.
    """

    folder: Path
    files: Mapping[str, bytes]
    sums: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path, names: Iterable[str]) -> Contents:
        """Read files of a folder, though `write_together` may be at work there or was killed.

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
        """Name of a file that is not what the list says; a file that is not in the list is taken as it is."""
        return next(
            (name for name, data in self.files.items() if self.sums.get(name) not in (None, checksum(data))), None
        )

    def check(self, remedy: str) -> None:
        """Refuse what differs from its checksum: best after whoever reads it could say more clearly what is wrong.

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
    """What a file holds, within the limits of files that somebody else may have made."""
    file.stat()  # a file that is not there yet is another matter than one that cannot be read
    return read_bytes(file, LARGEST_TABLE)


def finish(folder: Path) -> None:
    """Put in its place what a `write_together` that was killed left ready.

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


def _listed(folder: Path) -> dict[str, str] | None:
    """The checksums that a folder lists, None if the list is damaged."""
    try:
        return _sums(folder)
    except ValueError:
        return None


def _sums(folder: Path) -> dict[str, str]:
    """The checksums that a folder lists, by name; none, if there is no list."""
    try:
        lines = (folder / SUMS).read_text("utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    found = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{folder / SUMS} is damaged in line {number}: restore or remove it.")
        found[match[2]] = match[1]
    return found


def _partials(file: Path) -> list[Path]:
    """What processes that were killed left of a file that they were writing."""
    return [
        path
        for path in file.parent.iterdir()
        if is_partial(path) and path.name.startswith(f".{file.stem}.") and path.name.endswith(file.suffix)
    ]


def _holds(file: Path, wanted: str) -> bool:
    try:
        return checksum(file) == wanted
    except FileNotFoundError:
        return False
