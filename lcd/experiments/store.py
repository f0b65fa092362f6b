"""The store of runs: one folder a run, written atomically, with the checksums of its files in its record."""

from __future__ import annotations

import copy
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from lcd.experiments.run import POLICY, TEACHER, TeacherScore
from lcd.experiments.settings import RunSettings
from lcd.experiments.versions import versions
from lcd.io import limits
from lcd.io.files import check_output_folder, checksum, flush, held, is_partial, token
from lcd.io.object_storage import is_url
from lcd.io.settings import AS_FLOAT, Count, NotNegative, Text, Whole, from_data, settings
from lcd.io.untrusted import parse_csv, read_bytes, read_json

FORMAT, UNCHECKED_FORMAT = "lcd.run/2", "lcd.run/1"
"""Of a run's record; the earlier one has no checksums. Such runs are still read, with
fewer checks. No flip of a single bit turns one name into the other."""

RECORD, EPISODES = "run.json", "episodes.csv"
"""Names of a run's record, and of the table of its evaluated episodes."""

LARGEST_FILE = 2**30
"""Limit of the bytes of a run's file."""

UNTOUCHED_SECONDS = 24 * 3600
"""Time after which an unlocked workspace of another machine counts as abandoned."""

UNTOUCHED_PARTIAL_SECONDS = 3600
"""Time after which an unfinished checkpoint counts as abandoned: writing one takes seconds."""

_WORKSPACE = re.compile(r".+\.(?P<machine>\w*)-[0-9a-f]{16}")
COLUMN_TYPES = {
    "game": str,
    "view": str,
    "learning": str,
    "seed": "int64",
    "step": "int64",
    "levels": str,
    "rule": str,
    "inverse_temperature": "float64",
    "episode": "int64",
    "level_seed": "int64",
    "return": "float64",
    "length": "int64",
}


UNFINISHED = ".unfinished"
"""Folder of the workspaces within a store."""

FAILURES = ".failures"
"""Folder of the tracebacks of failed runs within a store."""

CHECKPOINTS = ".checkpoints"
"""Folder of the last checkpoints of unfinished runs within a store."""

LEASES = ".leases"
"""Folder of the locks of runs that are being carried out within a store."""


class StoreError(RuntimeError):
    """A run in the store is missing or damaged."""


@settings(called="A run's {}")
class Origin:
    """When, where and by what code a run was made; None where its record does not tell.

    Attributes
    ----------
    commit : str or None
        Of the LCD's checkout, see `lcd.experiments.versions.commit`.
    finished : str or None
        Date and time in UTC, as in ISO 8601.
    machine : str or None
        Name of the processor or of the graphics card.
    """

    commit: Text | None = None
    finished: Text | None = None
    machine: Text | None = None


@dataclass(frozen=True)
class StoredRun:
    """A finished run.

    Attributes
    ----------
    settings
        What was run.
    episodes
        One row an evaluated episode.
    seconds
        Time it took.
    threads
        Threads that it had.
    teacher
        Scores of its best weights (`lcd.experiments.TeacherScore` as a dictionary), if it kept them.
    folder
        Where it lies.
    divergences
        How often frames and label maps of a game diverged and were synchronised again, see `lcd.envs.ProcgenBatch`.
    origin
        Where it comes from.
    """

    settings: RunSettings
    episodes: pd.DataFrame
    seconds: float
    threads: int
    teacher: dict[str, Any] | None
    folder: Path
    divergences: int = 0
    origin: Origin = field(default_factory=Origin)

    @property
    def policy_file(self) -> Path:
        """File of its last weights."""
        return self.folder / POLICY

    @property
    def core_hours(self) -> float:
        """Core-hours of the run, wall-clock time times threads."""
        return self.seconds * self.threads / 3600


class Store:
    """A folder of finished runs.

    A run is written to a workspace and moved to its place when it is complete, so that a folder with a run's name is
    always a finished run. The name ends in a hash of all settings: changed settings are another run. Threads,
    processes, containers and machines may share the folder.

    Parameters
    ----------
    root
        The folder; made when something is written.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = limits.path("The store", root)
        if is_url(str(root)) or is_url(self.root):
            raise ValueError(f"{limits.short(str(root))} is a URL: open it with lcd.open_store.")

    def __str__(self) -> str:
        return str(self.root)

    def absolute(self) -> Store:
        """The same store, for processes that work in another folder."""
        found = copy.copy(self)
        found.root = self.root.absolute()
        return found

    def folder(self, settings: RunSettings) -> Path:
        """Folder of a finished run."""
        return self.root / settings.name

    def teacher_file(self, settings: RunSettings) -> Path:
        """File of the best weights of a finished run that keeps them."""
        return self.folder(settings) / TEACHER

    def weights_file(self, settings: RunSettings) -> Path:
        """File of the weights that other runs use of a finished run: the best that it kept, or else its last."""
        return self.teacher_file(settings) if settings.keep_best else self.folder(settings) / POLICY

    def checkpoint_file(self, settings: RunSettings) -> Path:
        """Where the last checkpoint of a run lies that is not finished."""
        return self.root / CHECKPOINTS / f"{settings.name}.pt"

    def failure_file(self, settings: RunSettings) -> Path:
        """Where the traceback of a run lies that failed."""
        return self.root / FAILURES / f"{settings.name}.txt"

    def has(self, settings: RunSettings) -> bool:
        """Whether the run is finished."""
        return self.folder(settings).is_dir()

    def check(self, runs: Iterable[RunSettings]) -> None:
        """Check that missing runs can be written to the folder.

        Raises
        ------
        ValueError
            If they cannot.
        """
        missing = [run for run in runs if not self.has(run)]
        if not missing:
            return
        check_output_folder(self.root, "--store")
        for folder in (self.root / UNFINISHED, *map(self.folder, missing)):
            if os.path.lexists(folder) and not folder.is_dir():
                raise ValueError(f"{folder} is a file, where a run's folder belongs: remove it.")

    def load(self, settings: RunSettings) -> StoredRun:
        """Read a finished run after verifying the checksums of its files.

        Raises
        ------
        StoreError
            If its folder is missing, damaged, cut short, or of other settings.
        """
        return self._read(settings, self.folder(settings))

    def _read(self, settings: RunSettings, folder: Path) -> StoredRun:
        """Read a finished run from a folder."""
        with _damage(settings, folder):
            record = _Record.read(folder, settings)
            contents = {name: record.content(folder, name) for name in dict.fromkeys((EPISODES, *record.files))}
            episodes = parse_csv(contents[EPISODES], EPISODES, dtype=COLUMN_TYPES, remedy="train it again")
            if len(episodes) != record.rows or episodes["step"].max() != settings.steps:
                raise ValueError("its table is cut short")
            if settings.keep_best and not (folder / TEACHER).is_file():
                raise ValueError("it has lost its teacher's weights")
        return StoredRun(
            settings,
            episodes,
            record.seconds,
            record.threads,
            record.teacher,
            folder,
            record.divergences,
            record.origin,
        )

    def check_weights(self, settings: RunSettings) -> None:
        """Verify the checksum of the weights that other runs use of a finished run, right before they are used.

        Raises
        ------
        StoreError
            If they are missing or damaged.
        """
        folder = self.folder(settings)
        with _damage(settings, folder):
            _Record.read(folder, settings).content(folder, self.weights_file(settings).name)

    @contextmanager
    def lease(self, settings: RunSettings) -> Iterator[bool]:
        """Hold the right to carry out a run, so that several plans that share a store share their work.

        It is a lock of the file system (flock): it ends with the process that holds it, however that ends. NFS 4
        forgets the locks of a machine that is gone after its lease time, 90 seconds by default. Where a mount keeps
        locks to itself (``nolock``, ``local_lock``), two machines may carry out the same run; the second result is
        dropped.

        Yields
        ------
        bool
            Whether it is held; otherwise somebody else carries the run out.
        """
        with self._lease_of(settings.name) as free:
            yield free

    @contextmanager
    def _lease_of(self, name: str) -> Iterator[bool]:
        """Hold the right to carry out a run of this name, see `lease`."""
        lock = self.root / LEASES / f"{name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with held(lock, wait=False) as free:
            yield free

    def is_leased(self, settings: RunSettings) -> bool:
        """Whether somebody carries the run out at the moment."""
        if not (self.root / LEASES / f"{settings.name}.lock").exists():
            return False
        with self.lease(settings) as free:
            return not free

    @contextmanager
    def workspace(self, settings: RunSettings) -> Iterator[Path]:
        """Lock an empty folder for a run, until `finish` moves it to its place; otherwise it is removed.

        A locked workspace is never removed by others; one abandoned by a killed process may be.
        """
        folder = self.root / UNFINISHED / f"{settings.name}.{_machine()}-{token()}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with held(_lock_of(folder)):
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def finish(
        self,
        settings: RunSettings,
        workspace: Path,
        episodes: pd.DataFrame,
        seconds: float,
        teacher: dict[str, Any] | None,
        machine: dict[str, Any],
        divergences: int = 0,
    ) -> None:
        """Write a run's record and tables into its workspace and move that to its place."""
        episodes.to_csv(workspace / EPISODES, index=False)
        record = {
            "format": FORMAT,
            "settings": settings.as_dict(),
            "versions": versions(),
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": machine,
            "seconds": seconds,
            "rows": len(episodes),
            "teacher": teacher,
            "divergences": divergences,
            "files": {path.name: checksum(path) for path in sorted(workspace.iterdir())},
        }
        record["checksum"] = _checksum_of(record)
        (workspace / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        self._move(settings, workspace)

    def take(self, settings: RunSettings, files: Mapping[str, bytes]) -> None:
        """Put a run into its place that was finished in another store.

        Parameters
        ----------
        settings
            The run.
        files
            Its files, by their names.

        Raises
        ------
        StoreError
            If it is not that run, or damaged.
        """
        with self.workspace(settings) as workspace:
            for name, content in files.items():
                (workspace / Path(name).name).write_bytes(content)
            self._read(settings, workspace)
            self._move(settings, workspace)

    def _move(self, settings: RunSettings, workspace: Path) -> None:
        """Move the complete workspace of a new run to its place."""
        self._place(settings, workspace)
        self.checkpoint_file(settings).unlink(missing_ok=True)

    def _place(self, settings: RunSettings, workspace: Path) -> None:
        """Make a complete workspace the folder of a finished run."""
        for path in (*workspace.iterdir(), workspace):
            flush(path)
        try:
            workspace.rename(self.folder(settings))
        except OSError:
            if not self.folder(settings).is_dir():  # else somebody else finished the same run, which is as good
                raise
            shutil.rmtree(workspace, ignore_errors=True)
        flush(self.root)

    def clear_unfinished(self) -> None:
        """Remove workspaces that killed processes have abandoned.

        Locks identify workspaces in use by threads and containers of this machine. Other machines may share the folder
        without sharing locks: their workspaces are removed when unlocked and unchanged for a day.
        """
        entries = {entry.with_name(entry.name.removesuffix(".lock")) for entry in (self.root / UNFINISHED).glob("*.*")}
        for folder in sorted(entries):
            name = _WORKSPACE.fullmatch(folder.name)
            if name is None or (name["machine"] != _machine() and _age(folder) < UNTOUCHED_SECONDS):
                continue
            with held(_lock_of(folder), wait=False) as free:
                if free:
                    shutil.rmtree(folder, ignore_errors=True)
        self._clear_checkpoints()

    def _clear_checkpoints(self) -> None:
        """Remove checkpoints of finished runs, and unfinished ones that killed processes have left for an hour.

        Both are left alone while somebody carries the run out. Other checkpoints stay: their plans may go on.
        """
        for file in sorted((self.root / CHECKPOINTS).glob("*.pt")) if (self.root / CHECKPOINTS).is_dir() else []:
            left = is_partial(file)
            name = file.stem[1:].rpartition(".")[0] if left else file.stem
            with suppress(FileNotFoundError), self._lease_of(name) as free:
                if free and (_age(file) > UNTOUCHED_PARTIAL_SECONDS if left else (self.root / name).is_dir()):
                    file.unlink()


@settings(called="its {}")
class _Record:
    """Validated content of a run's record.

    Attributes
    ----------
    files
        Checksums of the run's files, by name; none in a record of the earlier format.
    rows
        Of the table of episodes.
    seconds, threads, teacher, divergences, origin
        As in `StoredRun`.
    """

    files: dict[Text, Text]
    rows: Whole
    seconds: Annotated[NotNegative, AS_FLOAT]
    threads: Count
    teacher: dict[Text, Any] | None
    divergences: Annotated[Whole, Field(ge=0)]
    origin: Origin

    @classmethod
    def read(cls, folder: Path, settings: RunSettings) -> _Record:
        """Read the record of a run.

        Raises
        ------
        OSError, KeyError, TypeError, ValueError, RecursionError
            If it cannot be read, or is not the record of a run with these settings.
        """
        data = read_json(folder / RECORD)
        if not isinstance(data, dict) or data.get("format") not in (FORMAT, UNCHECKED_FORMAT):
            raise ValueError(f"{RECORD} is no record of this version, {FORMAT}")
        if data["format"] == FORMAT and data.pop("checksum") != _checksum_of(data):
            raise ValueError(f"{RECORD} is not what was written")
        if RunSettings.from_dict(data["settings"]).identity != settings.identity:
            raise ValueError("it has other settings than its name says")
        teacher = data["teacher"]
        if (teacher is not None) != settings.keep_best:
            raise ValueError(f"{RECORD} has {'a' if teacher else 'no'} teacher's scores")
        if teacher is not None:
            from_data(TeacherScore, teacher)
        files = data["files"] if data["format"] == FORMAT else {}
        threads, divergences = data["machine"]["threads"], data.get("divergences", 0)
        origin = Origin(data["machine"].get("commit"), data.get("finished"), data["machine"].get("processor"))
        return cls(files, data["rows"], data["seconds"], threads, teacher, divergences, origin)

    def content(self, folder: Path, name: str) -> bytes:
        """Content of one of the run's files.

        Raises
        ------
        OSError, KeyError, ValueError
            If it cannot be read, or is not what was written.
        """
        if Path(name).name != name:
            raise ValueError(f"{RECORD} names the file {name!r}, which is not in its folder")
        content = read_bytes(folder / name, LARGEST_FILE)
        if self.files and checksum(content) != self.files[name]:
            raise ValueError(f"{name} is not what was written")
        return content


@contextmanager
def _damage(settings: RunSettings, folder: Path) -> Iterator[None]:
    """Turn any error into a `StoreError` that names the run and the remedy."""
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split()).rstrip(".")
        raise StoreError(
            f"The run {settings.name} is damaged ({why}): remove {folder} to train the run again."
        ) from error


def _checksum_of(record: dict[str, Any]) -> str:
    """SHA-256 of a record's content, independent of order and layout."""
    return checksum(json.dumps(record, sort_keys=True).encode())


def _lock_of(workspace: Path) -> Path:
    return workspace.with_name(f"{workspace.name}.lock")


def _age(workspace: Path) -> float:
    """Seconds since a file, or anything in a workspace, or its lock, was last written."""
    newest, inside = 0.0, []
    with suppress(FileNotFoundError, NotADirectoryError):  # another machine may finish the run at this moment
        inside = list(workspace.iterdir())
    for path in (workspace, _lock_of(workspace), *inside):
        with suppress(FileNotFoundError):
            newest = max(newest, path.stat().st_mtime)
    return time.time() - newest


def _machine() -> str:
    """Name of this machine, without dots and dashes."""
    return re.sub(r"\W", "_", platform.node())
