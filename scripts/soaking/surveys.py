"""Surveys in processes of their own, and everything that they leave."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lcd.io.checksums import SUMS

SURVEY = 'preset = "smoke"\nseeds = 1\ntrain_teachers = true\n'


@dataclass(frozen=True)
class Place:
    """A folder with a survey's file, its store, its diagnoses and its tables, and the survey's games."""

    folder: Path
    games: tuple[str, ...]

    @property
    def store(self) -> Path:
        """Folder of the runs."""
        return self.folder / "store"

    @property
    def runs(self) -> dict[str, Path]:
        """Folders of the finished runs, by their names."""
        return {path.parent.name: path.parent for path in self.store.glob("*/run.json") if path.parent.name[0] != "."}

    def start(self, workers: int) -> subprocess.Popen[str]:
        """Begin or go on with the survey, in a session of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "plan.toml").write_text(f"games = {list(self.games)}\n{SURVEY}")
        command = [sys.executable, "-m", "lcd.cli.main", "survey", "plan.toml", "--store", "store", "--out", "out"]
        command += ["--tables", "tables", "--workers", str(workers), "--threads", "1", "--device", "cpu"]
        errors = (self.folder / "errors.txt").open("w")
        with errors:
            return subprocess.Popen(
                command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=errors, text=True, start_new_session=True
            )

    def carry_out(self, workers: int) -> float:
        """Carry out the whole survey undisturbed, unless that was done before, and give the seconds that it took."""
        took = self.folder / "seconds.txt"
        if took.exists():
            return float(took.read_text())
        started = time.monotonic()
        process = self.start(workers)
        try:
            if process.wait():
                raise RuntimeError(f"The undisturbed survey ended with {process.returncode}: {self.errors()}")
        except BaseException:
            end_session(process)
            raise
        took.write_text(f"{time.monotonic() - started:.1f}")
        return self.carry_out(workers)

    def errors(self) -> str:
        """What the last command wrote to its standard error stream."""
        return (self.folder / "errors.txt").read_text()


def end_session(process: subprocess.Popen[str]) -> None:
    """Kill a command with all of its processes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def descendants(pid: int) -> list[int]:
    """Processes that a process began, and those that these began; its own children first."""
    try:
        own = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return own + [grandchild for child in own for grandchild in descendants(child)]


def trainers(pid: int) -> list[int]:
    """Processes of a command that train, which the server of processes among its children began."""
    return [worker for child in descendants(pid) for worker in descendants(child)]


def results(place: Place) -> dict[str, bytes | str]:
    """Everything that a survey left, without the times in it, and without what holds checksums of those."""
    found: dict[str, bytes | str] = {}
    for path in sorted(place.folder.rglob("*")):
        if not path.is_file() or path.name in (SUMS, "errors.txt", "seconds.txt", "maze-none.safetensors"):
            continue
        content: bytes | str = path.read_bytes()
        if path.name == "run.json":
            record = json.loads(content)
            for timed in ("seconds", "checksum"):
                del record[timed]
            del record["files"]["progress.csv"]
            content = json.dumps(record)
        elif path.name == "diagnosis.json":
            record = json.loads(content)
            del record["settings"]["core_hours"]
            content = json.dumps(record)
        elif path.name == "progress.csv":
            table = pd.read_csv(path)
            content = table.drop(columns=[name for name in table.columns if str(name).startswith("time/")]).to_csv()
        elif path.parent.name == "tables" and path.name == "games.csv":
            content = pd.read_csv(path).drop(columns="core_hours").to_csv()
        found[str(path.relative_to(place.folder))] = content
    return found


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names that only one of two results has, or whose contents differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
