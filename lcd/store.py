"""The store of runs: a folder each, written whole or not at all."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from lcd.files import check_output_folder, flush
from lcd.training.settings import RunSettings

FORMAT = "lcd.run/1"
PACKAGES = (
    "learning-challenge-diagnosticator",
    "torch",
    "stable-baselines3",
    "gymnasium",
    "procgen",
    "procgen-mirror",
    "numpy",
)
COLUMN_TYPES = {
    "game": str,
    "view": str,
    "learning": str,
    "seed": "int64",
    "step": "int64",
    "levels": str,
    "episode": "int64",
    "level_seed": "int64",
    "return": "float64",
    "length": "int64",
}


class StoreError(RuntimeError):
    """A folder of the store does not hold what it should."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run learns."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


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
        Scores of its best weights (`lcd.training.TeacherScore` as a dictionary), if it kept them.
    folder
        Where it lies.
    """

    settings: RunSettings
    episodes: pd.DataFrame
    seconds: float
    threads: int
    teacher: dict[str, Any] | None
    folder: Path

    @property
    def core_hours(self) -> float:
        """What it cost."""
        return self.seconds * self.threads / 3600


class Store:
    """A folder of finished runs.

    A run is written beside the finished ones and moved to its place when it is whole, so whatever stops a computation,
    a folder with a run's name is a finished run. The name ends in a checksum of all settings: changed settings are
    another run.

    Parameters
    ----------
    root
        The folder; made when something is written.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def folder(self, settings: RunSettings) -> Path:
        """Where a run lies once it is finished."""
        return self.root / settings.name

    def teacher_file(self, settings: RunSettings) -> Path:
        """Where the best weights of a run that keeps them lie once it is finished."""
        return self.folder(settings) / "teacher.safetensors"

    def has(self, settings: RunSettings) -> bool:
        """Whether the run is finished."""
        return self.folder(settings).is_dir()

    def check(self, runs: Iterable[RunSettings]) -> None:
        """Refuse a folder that cannot take those of some runs that it lacks.

        Raises
        ------
        ValueError
            If it cannot.
        """
        if not all(self.has(run) for run in runs):
            check_output_folder(self.root, "--store")

    def load(self, settings: RunSettings) -> StoredRun:
        """Read a finished run.

        Raises
        ------
        StoreError
            If its folder is missing, cut short, or of other settings.
        """
        folder = self.folder(settings)
        remedy = f"remove {folder} to train the run again"
        try:
            record = json.loads((folder / "run.json").read_text())
            recorded = RunSettings.from_dict(record["settings"])
            episodes = pd.read_csv(folder / "episodes.csv", dtype=COLUMN_TYPES)  # type: ignore[arg-type]
        except (OSError, KeyError, TypeError, ValueError, pd.errors.ParserError) as error:
            raise StoreError(f"The run {settings.name} cannot be read ({error}): {remedy}.") from error
        if record.get("format") != FORMAT or recorded.identity != settings.identity:
            raise StoreError(f"The run {settings.name} has other settings than its name says: {remedy}.")
        if len(episodes) != record["rows"] or episodes["step"].max() != settings.steps:
            raise StoreError(f"The table of the run {settings.name} is cut short: {remedy}.")
        if settings.keep_best and not self.teacher_file(settings).is_file():
            raise StoreError(f"The run {settings.name} has lost its teacher's weights: {remedy}.")
        return StoredRun(settings, episodes, record["seconds"], record["machine"]["threads"], record["teacher"], folder)

    def workspace(self, settings: RunSettings) -> Path:
        """Make an empty folder to write a run into; `finish` moves it to its place."""
        folder = self.root / ".unfinished" / f"{settings.name}.{_machine()}-{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def finish(
        self,
        settings: RunSettings,
        workspace: Path,
        episodes: pd.DataFrame,
        seconds: float,
        teacher: dict[str, Any] | None,
        machine: dict[str, Any],
    ) -> None:
        """Write a run's record and tables into its workspace and move that to its place."""
        episodes.to_csv(workspace / "episodes.csv", index=False)
        record = {
            "format": FORMAT,
            "settings": settings.as_dict(),
            "versions": versions(),
            "machine": machine,
            "seconds": seconds,
            "rows": len(episodes),
            "teacher": teacher,
        }
        (workspace / "run.json").write_text(json.dumps(record, indent=1) + "\n")
        for path in (*workspace.iterdir(), workspace):
            flush(path)
        try:
            workspace.rename(self.folder(settings))
        except OSError:
            if not self.has(settings):  # else somebody else finished the same run, which is as good
                raise
            shutil.rmtree(workspace, ignore_errors=True)
        flush(self.root)

    def clear_unfinished(self) -> None:
        """Remove the workspaces of this process, and those of processes of this machine that no longer live.

        Other machines may share the folder, and what runs there cannot be known here.
        """
        for folder in (self.root / ".unfinished").glob("*"):
            machine, _, pid = folder.suffix.removeprefix(".").rpartition("-")
            if machine != _machine():
                continue
            if int(pid) == os.getpid() or not _is_alive(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)


def _machine() -> str:
    """What tells this machine from others, without a dot or a dash."""
    return re.sub(r"\W", "_", platform.node())


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
