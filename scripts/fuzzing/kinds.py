"""Kinds of files from outside, and the commands that read them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from fuzzing import good_files

_OUT = ("--out", "alignment.csv")


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes
    ----------
    name
        What the table calls it.
    command
        What reads it.
    make
        Makes a good file in an empty folder, and gives its path.
    read
        Reads it; ends as a command does, or raises ValueError for bad input.
    data
        Whether it is JSON or TOML, whose values can be replaced; or a file of safetensors with such metadata.
    """

    name: str
    command: str
    make: Callable[[Path], Path]
    read: Callable[[Path], None]
    data: str = ""


def kinds(folder: Path) -> list[Kind]:
    """All kinds; good files of each are in the folder."""
    good = folder / "good"
    good.mkdir()
    policies, run = good_files.make_policies(good), good_files.make_store(good / "store")
    good_files.make_others(good)

    def align(file: Path) -> None:
        maps = f"{good / 'images'},{good / 'maps'}"
        _lcd("align", file, "--maps", maps, "--source", "human", "--count", 2, "--methods", "gradient", *_OUT)

    def align_images(file: Path) -> None:
        maps = f"{file.parents[1] / 'images'},{file.parents[1] / 'maps'}"
        small = policies / "policy.safetensors"
        _lcd("align", small, "--maps", maps, "--source", "human", "--count", 2, "--methods", "gradient", *_OUT)

    def align_clickme(file: Path) -> None:
        large = policies / "large.safetensors"
        _lcd("align", large, "--maps", file.parent, "--count", 2, "--methods", "gradient", *_OUT)

    def recording(file: Path) -> None:
        _lcd("neural", "small", file, "--folds", 2, "--method", "ridge", "--out", "neural.csv")

    def watch(file: Path) -> None:
        _lcd("watch", "--run", file, "--max-steps", 2, "--out", "film.gif")

    def encoder(file: Path) -> None:
        _lcd("diagnose", "maze", "--preset", "smoke", "--encoder", f"nature@{file}", "--dry-run")

    def survey(file: Path) -> None:
        _lcd("survey", file, "--dry-run")

    def plan(file: Path) -> None:
        _lcd("diagnose", "maze", "--preset", "smoke", "--out", file.parent, "--dry-run")

    def place(file: Path) -> None:
        _lcd("taxonomy", good / "tables", "--place", file.parent)

    def tables(file: Path) -> None:
        _lcd("taxonomy", file.parent, "--place", good / "diagnosis")

    def audit(file: Path) -> None:
        _lcd("audit", file, "--out", "audited")

    def validation(file: Path) -> None:
        from lcd.studies.validation.plan import Validation

        Validation.read(file)

    def evidence(file: Path) -> None:
        from lcd.studies.validation.evidence import read_evidence

        read_evidence(file.parent)

    def tracking(file: Path) -> None:
        if file.is_file():  # else the agent is trained
            settings = ("--distractors", 1, "--steps", 64, "--evaluations", 1, "--seeds", 1)
            _lcd("tracking", "none=nature", *settings, "--out", file.parents[1])

    def store(file: Path) -> None:
        from lcd.cli.errors import exit_status
        from lcd.experiments.store import Store

        try:
            Store(file.parents[1]).load(run)
        except Exception as error:
            if (status := exit_status(error)) is None:
                raise
            print(error, file=sys.stderr)
            raise SystemExit(status) from None

    def trial(file: Path) -> None:
        from lcd.alignment.gaze import read_trial

        read_trial(file.parent / "trial.txt")

    def card(file: Path) -> None:
        from lcd.teachers.library import Card

        Card.read(file)

    def model(file: Path) -> None:
        from lcd.agents import load_model

        load_model(file)

    def checkpoint(file: Path) -> None:
        from fuzzing.good_files import TEACHERS_ENCODER
        from lcd.envs import ProcgenOptions
        from lcd.experiments.settings import Hyperparameters
        from lcd.teachers import training

        run = training.TrainingRun(64, Hyperparameters(num_envs=4, rollout_steps=16, minibatches=2), TEACHERS_ENCODER)
        with mock.patch.object(training, "SEGMENT_STEPS", 64):  # nothing is left to train
            training.train_policy(ProcgenOptions("bigfish", num_levels=50), run, file.parent)

    return [
        Kind("policy", "lcd align", _copied(policies, "policy.safetensors"), align, "safetensors"),
        Kind("policy of a run", "lcd watch", _copied(policies, "run.safetensors"), watch, "safetensors"),
        Kind("encoder, safetensors", "lcd diagnose", _copied(policies, "encoder.safetensors"), encoder, "safetensors"),
        Kind("encoder, torch.save", "lcd diagnose", _copied(policies, "encoder.pt"), encoder),
        Kind("encoder, older torch.save", "lcd diagnose", _copied(policies, "older.pth"), encoder),
        Kind("model of Stable-Baselines3", "load_model", _copied(policies, "model.zip"), model),
        Kind("survey", "lcd survey", _copied(good / "plans", "survey.toml"), survey, "toml"),
        Kind("validation", "lcd validate", _copied(good / "plans", "validation.toml"), validation, "toml"),
        Kind("plan", "lcd diagnose --out", _copied(good / "plans", "plan.json"), plan, "json"),
        Kind("diagnosis", "lcd taxonomy --place", _copied(good / "diagnosis", "diagnosis.json"), place, "json"),
        *(
            Kind(f"table {name}", "lcd taxonomy", _copied(good / "tables", f"{name}.csv"), tables)
            for name in ("games", "scores", "curves", "demands")
        ),
        Kind("table of scores", "lcd audit", _copied(good / "audit", "scores.csv"), audit),
        *(
            Kind(f"evidence, {name}", "lcd diagnose --evidence", _copied(good / "evidence", f"{name}.csv"), evidence)
            for name in ("predictors", "gains")
        ),
        Kind(
            "rows of an agent that tracks",
            "lcd tracking",
            _copied(good / "tracking", f"agents/{good_files.TRACKING.identity}.csv"),
            tracking,
        ),
        Kind("record of a run", "store", _copied(good / "store", f"{run.name}/run.json"), store, "json"),
        Kind("episodes of a run", "store", _copied(good / "store", f"{run.name}/episodes.csv"), store),
        Kind("image", "lcd align --maps", _pictures(good, "images/b.png"), align_images),
        Kind("map", "lcd align --maps", _pictures(good, "maps/b.jpg"), align_images),
        Kind("ClickMe, npz", "lcd align --maps", _copied(good / "npz", "a.npz"), align_clickme),
        Kind("ClickMe, TFRecord", "lcd align --maps", _copied(good / "shards", "a.tfrecords"), align_clickme),
        Kind("recording", "lcd neural", _copied(good / "recording", "a.npz"), recording),
        Kind("gaze, table", "read_trial", _copied(good / "gaze", "trial.txt"), trial),
        Kind("gaze, frames", "read_trial", _copied(good / "gaze", "trial.tar.bz2"), trial),
        Kind("card of a teacher", "lcd teachers", _copied(good / "teachers", "card.json"), card, "json"),
        Kind("checkpoint of a teacher", "lcd teachers train", _copied(good / "teachers", "segment-0.pt"), checkpoint),
    ]


def _lcd(*arguments: object) -> None:
    """Run the command as a process would, but for the process."""
    from lcd.cli.main import main

    with mock.patch.object(sys, "argv", ["lcd", *map(str, arguments)]):
        main()


def _copied(template: Path, name: str) -> Callable[[Path], Path]:
    """What makes a copy of a folder, and gives the path of one of its files."""

    def make(folder: Path) -> Path:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        return folder / name

    return make


def _pictures(good: Path, name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for part in ("images", "maps"):
            shutil.copytree(good / part, folder / part)
        return folder / name

    return make
