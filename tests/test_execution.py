"""Plans carried out for real, at the smallest size: interrupted, resumed, damaged and shared."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny import TINY

from agents import load_policy, save_policy
from lcd.execution import Event, RunFailed, execute
from lcd.pipeline import read_diagnosis
from lcd.plan import GivenTeacher, Plan, plan_game
from lcd.store import Store, StoreError

GAME = "starpilot"


@pytest.fixture(scope="module")
def game_plan():
    return plan_game(GAME, TINY)


@pytest.fixture(scope="module")
def finished(game_plan, tmp_path_factory):
    """A store with every run of the tiny plan, and the events of making it."""
    store = Store(tmp_path_factory.mktemp("store"))
    events: list[Event] = []
    execute(Plan((game_plan,)), store, workers=2, threads=1, listener=events.append)
    return store, events


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished[0].root, tmp_path / "store")
    return Store(tmp_path / "store")


def test_all_runs_are_made_and_reported(finished, game_plan):
    store, events = finished
    for kind in ("started", "finished"):
        assert sorted(e.run.name for e in events if e.kind == kind) == sorted(run.name for run in game_plan.runs)
    assert {path.name for path in store.root.iterdir()} - {".unfinished"} == {run.name for run in game_plan.runs}
    assert list((store.root / ".unfinished").iterdir()) == []


def test_runs_record_settings_versions_and_machine(finished, game_plan):
    record = json.loads((finished[0].folder(game_plan.cells[0]) / "run.json").read_text())
    assert record["settings"] == game_plan.cells[0].as_dict()
    assert {"python", "torch", "stable-baselines3", "numpy"} <= record["versions"].keys()
    assert record["machine"]["threads"] == 1


def test_a_finished_plan_is_not_trained_again(finished, game_plan):
    events: list[Event] = []
    execute(Plan((game_plan,)), finished[0], listener=events.append)
    assert {event.kind for event in events} == {"reused"}


def test_more_seeds_train_only_the_new_ones(copied, game_plan):
    events: list[Event] = []
    more = plan_game(GAME, replace(TINY, seeds=3))
    execute(Plan((more,)), copied, workers=2, threads=1, listener=events.append)
    assert {event.run.seed for event in events if event.kind == "started"} == {2}
    assert {event.run.seed for event in events if event.kind == "reused"} == {0, 1}


def test_the_same_seed_gives_the_same_run(finished, game_plan, tmp_path):
    again = Store(tmp_path)
    plan = replace(game_plan, cells=tuple(run for run in game_plan.cells if run.seed == 1))
    execute(Plan((plan,)), again, workers=2, threads=1)
    for run in plan.runs:
        first, second = finished[0].load(run), again.load(run)
        pd.testing.assert_frame_equal(first.episodes, second.episodes)
        weights = [(store.folder(run) / "policy.safetensors").read_bytes() for store in (finished[0], again)]
        assert weights[0] == weights[1]


def test_the_teachers_early_curve_is_the_cell_itself(finished, game_plan, tmp_path):
    """Training on beyond the budget, keeping the best weights, changes nothing before the budget."""
    assert game_plan.teacher_run is not None
    evaluation = next(run.evaluation for run in game_plan.cells)
    cell = replace(game_plan.teacher_run, steps=game_plan.budget, evaluation=evaluation, keep_best=False)
    execute(Plan((replace(game_plan, teacher_run=None, cells=(cell,)),)), Store(tmp_path), workers=1, threads=1)
    long = finished[0].load(game_plan.teacher_run).episodes
    early = long[long["step"] <= game_plan.budget].reset_index(drop=True)
    pd.testing.assert_frame_equal(early, Store(tmp_path).load(cell).episodes)


def test_all_cells_of_a_seed_are_evaluated_on_the_same_levels(finished, game_plan):
    table = read_diagnosis(game_plan, finished[0]).episodes
    keys = ["seed", "levels", "episode"]
    first_cell = table.groupby(keys)["level_seed"].transform("first")
    assert (table["level_seed"] == first_cell).all()
    assert table.loc[table["levels"] == "training", "level_seed"].max() < 200
    assert table.loc[table["levels"] == "unseen", "level_seed"].min() >= 200


def test_the_diagnosis_adds_up(finished, game_plan):
    diagnosis = read_diagnosis(game_plan, finished[0])
    parts = diagnosis.perceptual, diagnosis.policy, diagnosis.joint
    assert sum(part.estimate for part in parts) == pytest.approx(diagnosis.gap.estimate)
    assert diagnosis.teacher is not None
    assert set(diagnosis.curves["step"]) == {0, 256, 512}


def test_a_run_that_another_process_finishes_meanwhile_is_not_trained_again(copied, game_plan, tmp_path):
    first, second = game_plan.cells[:2]
    shutil.rmtree(copied.folder(first))
    elsewhere = copied.folder(second).rename(tmp_path / second.name)
    events: list[Event] = []

    def finish_the_second(event: Event) -> None:
        events.append(event)
        if event == Event("started", first):
            elsewhere.rename(copied.folder(second))

    execute(Plan((game_plan,)), copied, workers=1, threads=1, listener=finish_the_second)
    assert [event.run for event in events if event.kind == "started"] == [first]
    assert events[-1] == Event("reused", second)


def test_who_finishes_a_run_second_leaves_no_workspace(copied, game_plan):
    run = game_plan.cells[0]
    before = copied.load(run)
    workspace = copied.workspace(run)
    copied.finish(run, workspace, before.episodes, 2 * before.seconds, None, {"threads": 1})
    assert not workspace.exists()
    assert copied.load(run).seconds == before.seconds


@pytest.mark.parametrize("damage", ["table cut short", "record broken", "other settings", "weights lost"])
def test_damaged_runs_are_named_before_anything_is_trained(copied, game_plan, damage):
    assert game_plan.teacher_run is not None
    run = game_plan.teacher_run
    folder = copied.folder(run)
    if damage == "table cut short":
        text = (folder / "episodes.csv").read_text()
        (folder / "episodes.csv").write_text(text[: len(text) // 2])
    elif damage == "record broken":
        (folder / "run.json").write_text("{")
    elif damage == "other settings":
        record = json.loads((folder / "run.json").read_text())
        record["settings"]["seed"] = 99
        (folder / "run.json").write_text(json.dumps(record))
    else:
        (folder / "teacher.safetensors").unlink()
    events: list[Event] = []
    with pytest.raises(StoreError, match=run.name) as caught:
        execute(Plan((game_plan,)), copied, listener=events.append)
    assert "remove" in str(caught.value)
    assert not any(event.kind == "started" for event in events)


def test_a_worker_that_dies_is_reported_and_finished_runs_are_kept(copied, game_plan):
    missing = game_plan.cells[-2:]
    for run in missing:
        shutil.rmtree(copied.folder(run))

    def kill_the_first(event: Event) -> None:
        if event.kind == "progress" and event.run == missing[0]:
            import multiprocessing

            (victim,) = [p for p in multiprocessing.active_children() if p.name == missing[0].name]
            os.kill(victim.pid, signal.SIGKILL)

    with pytest.raises(RunFailed, match="SIGKILL"):
        execute(Plan((game_plan,)), copied, workers=1, threads=1, listener=kill_the_first)
    assert not copied.has(missing[0])
    assert all(copied.has(run) for run in game_plan.runs if run not in missing)
    assert list((copied.root / ".unfinished").iterdir()) == []


@pytest.mark.parametrize("loss", ["gone", "changed"])
def test_a_teacher_that_is_lost_on_the_way_is_reported(game_plan, finished, tmp_path, loss):
    file = tmp_path / "teacher.safetensors"
    shutil.copy(finished[0].teacher_file(game_plan.teacher_run), file)
    plan = plan_game(GAME, replace(TINY, seeds=1), teacher=GivenTeacher.from_file(file))
    if loss == "gone":
        file.unlink()
    else:
        other = load_policy(file)[0]
        with torch.no_grad():
            next(other.parameters()).add_(1)
        save_policy(other, file, {})
    with pytest.raises(RunFailed, match=rf"teacher\.safetensors .*{loss}"):
        execute(Plan((plan,)), Store(tmp_path / "runs"), workers=2, threads=1)


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"threads": -1}])
def test_there_is_no_work_without_workers(game_plan, tmp_path, wrong):
    with pytest.raises(ValueError, match="must be at least 1, not"):
        execute(Plan((game_plan,)), Store(tmp_path), **wrong)


def test_the_workspaces_of_other_machines_are_left_alone(game_plan, tmp_path, monkeypatch):
    store = Store(tmp_path)
    monkeypatch.setattr("platform.node", lambda: "elsewhere.org")
    there = store.workspace(game_plan.cells[0])
    monkeypatch.setattr("platform.node", lambda: "here.org")
    here = store.workspace(game_plan.cells[0])
    store.clear_unfinished()
    assert (there.exists(), here.exists()) == (True, False)


def test_a_plain_script_can_diagnose(copied, game_plan, tmp_path):
    """Without the guard for the main module, which notebooks do not have and scripts forget."""
    run = game_plan.cells[0]
    shutil.rmtree(copied.folder(run))
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import tiny, lcd\n"
        "from lcd.execution import execute\n"
        "from lcd.plan import plan_game\n"
        f"plan = plan_game({GAME!r}, tiny.TINY)\n"
        f"execute(lcd.Plan((plan,)), lcd.Store({str(copied.root)!r}), workers=1)\n"
        "print('done')\n"
    )
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=400)
    assert result.stdout == "done\n", result.stderr
    assert copied.has(run)


def _command(folder: Path) -> list[str]:
    """The command line of the tiny plan, in a process of its own."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import tiny, lcd.presets, lcd.pipeline as p;"
        "p.PRESETS = dict(p.PRESETS, tiny=tiny.TINY); from lcd.command_line import main; main()"
    )
    where = ["--store", str(folder / "runs"), "--out", str(folder / "out"), "--workers", "2"]
    return [
        sys.executable,
        "-c",
        code,
        str(Path(__file__).parent),
        "diagnose",
        GAME,
        "--preset",
        "tiny",
        "--train-teacher",
        *where,
    ]


def _finished_runs(folder: Path) -> int:
    return len(list((folder / "runs").glob(f"{GAME}-*")))


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_plan_stopped_in_the_middle_and_resumed_equals_an_uninterrupted_one(finished, game_plan, tmp_path, sent):
    process = subprocess.Popen(
        _command(tmp_path),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )
    deadline = time.monotonic() + 120
    while _finished_runs(tmp_path) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in errors
    if sent == signal.SIGINT:
        assert "what was finished is found again" in errors
    kept = _finished_runs(tmp_path)
    assert 2 <= kept < len(game_plan.runs)
    assert not (tmp_path / "out" / "diagnosis.json").exists()

    resumed = subprocess.run(_command(tmp_path), capture_output=True, text=True, timeout=240)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr.count("found in the store") >= kept
    assert list((tmp_path / "runs" / ".unfinished").iterdir()) == []
    uninterrupted = read_diagnosis(game_plan, finished[0], {"preset": "tiny"})
    written, expected = json.loads((tmp_path / "out" / "diagnosis.json").read_text()), uninterrupted.to_json()
    assert written["settings"].pop("core_hours") > 0
    assert expected["settings"].pop("core_hours") > 0
    assert written == expected
    assert (tmp_path / "out" / "diagnosis.png").read_bytes().startswith(b"\x89PNG")
