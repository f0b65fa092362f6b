"""The soak test itself: it counts what is lost, and finds nothing lost where nothing is."""

from __future__ import annotations

import itertools
import subprocess
import sys

import damaged_files
import interrupted_run
import load
import lockstep
import numpy as np
import pandas as pd
import pytest
import soak
from gymnasium import spaces
from running import run_script
from soaking import flips, memory, surveys
from synthetic_survey import diagnosis

from lcd.agents import EncoderPolicy, save_policy
from lcd.experiments.plan import Plan
from lcd.experiments.store import Store
from lcd.measurement.scores import LEVELS
from lcd.studies.output import OutputFolder
from lcd.studies.survey.plan import Survey
from lcd.studies.survey.tables import SurveyTables

pytestmark = pytest.mark.costly("scripts/*.py", "scripts/*/*.py", "lcd/experiments/*.py")

SURVEY_OF_PROCESSES = """
import json, os, pathlib, sys, time

planner = os.getpid()
if (server := os.fork()) == 0:
    if (trainer := os.fork()) == 0:
        resumed = pathlib.Path("store").exists()
        for number in range(4):
            run = pathlib.Path("store", f"run-{number}")
            if (run / "run.json").exists():
                continue
            time.sleep(0.1)
            run.mkdir(parents=True, exist_ok=True)
            record = {"seconds": time.time(), "checksum": str(time.time()), "files": {"progress.csv": ""}}
            (run / "part").write_text(json.dumps(record | {"result": number + FORGETFUL * resumed}))
            (run / "part").rename(run / "run.json")
        os._exit(0)
    while os.waitpid(trainer, os.WNOHANG) == (0, 0):
        time.sleep(0.01)
        if os.getppid() != planner:
            os.kill(trainer, 9)
    os._exit(0)
os.waitpid(server, 0)
sys.exit(len(list(pathlib.Path("store").glob("*/run.json"))) < 4)
"""
"""In the place of `lcd survey`: a process that plans, a server of processes, and one that makes four runs."""


@pytest.mark.parametrize("forgetful", [False, True])
def test_killed_surveys_are_compared_with_an_undisturbed_one(tmp_path, monkeypatch, forgetful):
    def start(place, workers):
        place.folder.mkdir(parents=True, exist_ok=True)
        with (place.folder / "errors.txt").open("w") as errors:
            code = SURVEY_OF_PROCESSES.replace("FORGETFUL", str(forgetful))
            return subprocess.Popen(
                [sys.executable, "-S", "-c", code], cwd=place.folder, stderr=errors, text=True, start_new_session=True
            )

    monkeypatch.setattr(surveys.Place, "start", start)
    output = tmp_path / "soak.csv"
    status = run_script(soak, "kills", "--kills", 6, "--games", "maze", "--work", tmp_path / "work", "--output", output)
    table = pd.read_csv(output).set_index("what")
    ended = table.loc["surveys that ended all the same"]
    assert table["tried"].sum() - ended["tried"] == 6
    assert ended["tried"] >= 1
    assert table["lost"].drop(ended.name).sum() == 0
    assert (ended["lost"] > 0) == forgetful
    assert status == int(forgetful)


def finished_survey(place):
    """What `lcd survey` leaves in a folder, of runs that nobody trained."""
    place.folder.mkdir(parents=True)
    (place.folder / "plan.toml").write_text(f"games = {list(place.games)}\n{surveys.SURVEY}")
    (place.folder / "seconds.txt").write_text("1.0")
    store, (game,) = Store(place.store), Survey.read(place.folder / "plan.toml").plan.games
    for run in game.runs:
        rows = [
            (run.game, run.view, run.learning, run.seed, step, levels, episode, episode, 5.0, 100)
            for step in run.evaluation.steps
            for levels in LEVELS
            for episode in range(4)
        ]
        names = ["game", "view", "learning", "seed", "step", "levels", "episode", "level_seed", "return", "length"]
        shape, largest = ((64, 64), 64) if run.view == "semantic" else ((3, 64, 64), 255)
        space = spaces.Box(0, largest, shape, np.uint8)
        policy = EncoderPolicy(space, spaces.Discrete(15), lambda left: 0.0, "nature")
        score = {"step": 1024, "training_return": 5.0, "unseen_return": 5.0, "episodes": 4}
        teacher = score if run.keep_best else None
        with store.workspace(run) as workspace:
            save_policy(policy, workspace / "policy.safetensors", {"run": run.as_dict()})
            if run.keep_best:
                save_policy(policy, workspace / "teacher.safetensors", {"run": run.as_dict()})
            store.finish(run, workspace, pd.DataFrame(rows, columns=names), 1.0, teacher, {"threads": 1})
    found = diagnosis(game.game, 0.1, 0.2)
    folder = OutputFolder(place.folder / "out" / game.game)
    folder.claim(Plan((game,)).as_dict())
    folder.write(found)
    SurveyTables.of([found]).write(place.folder / "tables")


def test_flipped_bits_of_a_survey_are_refused_or_change_nothing(tmp_path, monkeypatch):
    finished_survey(surveys.Place(tmp_path / "work" / "undisturbed", ("maze",)))
    asked = ["flips", "--games", "maze", "--workers", 1, "--work", tmp_path / "work", "--output", tmp_path / "soak.csv"]
    assert run_script(soak, *asked, "--flips", 30) == 0
    table = pd.read_csv(tmp_path / "soak.csv")
    assert table["tried"].sum() == 30
    assert (table["tried"] == table["detected"] + table["unchanged"]).all()
    assert {"a run's run.json", "an encoder's weights", "a survey's games.csv"} <= set(table["what"])
    file = tmp_path / "work" / "anything"
    file.write_bytes(b"whatever it says")
    monkeypatch.setattr(flips, "readers_of", lambda place: [("bytes", file, file.read_bytes)])
    assert run_script(soak, *asked, "--flips", 2) == 1
    (row,) = pd.read_csv(tmp_path / "soak.csv").to_dict("records")
    assert (row["what"], row["tried"], row["lost"]) == ("bytes", 2, 2)
    assert file.read_bytes() == b"whatever it says"


@pytest.mark.parametrize(("growth", "status"), [(0, 0), (20, 1)])
def test_memory_that_grows_is_lost(tmp_path, monkeypatch, growth, status):
    taken = itertools.count(1000, growth)
    monkeypatch.setattr(memory, "resident_mb", lambda: float(next(taken)))
    monkeypatch.setattr(memory.time, "monotonic", itertools.count().__next__)  # a second a step
    assert run_script(soak, "learn", "--minutes", 2, "--output", tmp_path / "soak.csv") == status
    (row,) = pd.read_csv(tmp_path / "soak.csv").to_dict("records")
    assert row["tried"] > 2
    assert (row["growth_mb"] > memory.MOST_GROWTH_MB) == bool(status)
    assert memory.resident_mb() > 0


def test_parts_of_other_scripts_are_entered_and_keep_the_rows_of_the_others(tmp_path, monkeypatch):
    of_files = {"kind": "policy", "command": "lcd align", "tried": 200, "refused": 190, "accepted": 9, "faults": 1}
    monkeypatch.setattr(damaged_files, "rows", lambda count, seed: [of_files | {"examples": ["it hangs"]}])
    of_runs = {"kills": 5, "runs": 2, "lost": 0, "examples": []}
    monkeypatch.setattr(interrupted_run, "rows", lambda kills, seed: iter([of_runs]))
    output = tmp_path / "soak.csv"
    assert run_script(soak, "resume", "--output", output) == 0
    assert run_script(soak, "files", "--files", 400, "--output", output) == 1
    table = pd.read_csv(output)
    assert table[["part", "what", "tried", "detected", "lost"]].to_numpy().tolist() == [
        ["resume", "kills of a run", 5, 0, 0],
        ["resume", "runs that ended", 2, 0, 0],
        ["files", "policy", 400, 380, 2],
    ]
    assert run_script(soak, "unheard-of") == 2


def test_views_stay_in_one_state_under_a_teacher(tmp_path, monkeypatch):
    monkeypatch.setattr(lockstep, "NUM_ENVS", 8)
    asked = ["--games", "maze", "--modes", "easy", "--episodes", 4, "--output", tmp_path / "lockstep.csv"]
    assert run_script(lockstep, *asked) == 0
    (row,) = pd.read_csv(tmp_path / "lockstep.csv").to_dict("records")
    assert (row["game"], row["teacher"], row["divergences"]) == ("maze", "easy", 0)
    assert row["episodes"] >= 4
    assert row["states_compared"] >= row["steps"] / lockstep.STRIDE
    assert row["mean_return"] == 10  # the teacher of maze finds the cheese
    monkeypatch.setattr(lockstep, "play", lambda *_: pytest.fail("played again"))
    assert run_script(lockstep, *asked) == 0


def test_many_runs_load_one_driver(tmp_path, capsys):
    assert run_script(load, "--output", tmp_path / "load.csv", "--runs", 4, "--workers", 2) == 0
    table = pd.read_csv(tmp_path / "load.csv").set_index("measure")["value"]
    assert table["runs"] == 4
    assert table["seconds in all"] > 0
    assert table["start-up of a run after it (s)"] > 0
    assert 0 < table["look-up of half of the runs (s)"] < 1
    assert "start-up" in capsys.readouterr().out
