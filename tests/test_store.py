"""Runs in a store: damage to them is noticed, and what a process left behind is removed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lcd.experiments.execution import Event, execute
from lcd.experiments.plan import Plan
from lcd.experiments.store import Store, StoreError, _checksum_of

pytestmark = pytest.mark.costly()

pytest_plugins = ["trained"]


def test_who_finishes_a_run_second_leaves_no_workspace(copied, game_plan):
    run = game_plan.cells[0]
    before = copied.load(run)
    with copied.workspace(run) as workspace:
        copied.finish(run, workspace, before.episodes, 2 * before.seconds, None, {"threads": 1})
        assert not workspace.exists()
    assert list((copied.root / ".unfinished").iterdir()) == []
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


def rewrite(run, change):
    """Change a run's record, as somebody would who knows of its checksum."""
    record = json.loads((run / "run.json").read_text())
    change(record)
    del record["checksum"]
    record["checksum"] = _checksum_of(record)
    (run / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda record: record.pop("seconds"), "'seconds' is missing"),
        (lambda record: record.pop("settings"), "'settings' is missing"),
        (lambda record: record.pop("files"), "'files' is missing"),
        (lambda record: record.pop("rows"), "'rows' is missing"),
        (lambda record: record.pop("format"), "no record of this version"),
        (lambda record: record["machine"].pop("threads"), "'threads' is missing"),
        (lambda record: record["teacher"].pop("step"), "step"),
        (lambda record: record.update(teacher=None), "no teacher's scores"),
        (lambda record: record.update(seconds="long"), "long"),
        (lambda record: record.update(seconds=float("nan")), "its seconds must be finite, not nan"),
        (lambda record: record.update(rows="many"), "its rows must be a whole number, not 'many'"),
        (lambda record: record.update(divergences=-1), "its divergences must be at least 0, not -1"),
        (lambda record: record.update(machine=[]), "list"),
        (lambda record: record.update(seconds=10**400), "beyond 64 bits"),
        (lambda record: record["settings"].update(encoder=3), "must be a text"),
        (lambda record: record["files"].update({"../other": "0" * 64}), "not in its folder"),
    ],
)
def test_a_record_that_lacks_something_is_one_clear_sentence(copied, game_plan, change, why):
    run = game_plan.teacher_run
    rewrite(copied.folder(run), change)
    with pytest.raises(StoreError, match=rf"^The run {run.name} is damaged \([^\n]*{why}[^\n]*remove [^\n]*\.$"):
        copied.load(run)


@pytest.mark.parametrize("text", ["[]", "null", "3", "[" * 100_000, '{"run": null}', "\xff"])
def test_what_is_no_record_is_one_clear_sentence(copied, game_plan, text):
    run = game_plan.cells[0]
    (copied.folder(run) / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(StoreError, match=rf"^The run {run.name} is damaged \([^\n]*remove [^\n]*\.$"):
        copied.load(run)


def flip(file, place):
    """Turn one bit of a file around."""
    data = bytearray(file.read_bytes())
    bit = place % (8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["run.json", "episodes.csv", "progress.csv", "policy.safetensors", "teacher.safetensors"]
)
def test_a_bit_that_flips_is_noticed_or_changes_nothing(copied, game_plan, name):
    run = game_plan.teacher_run
    file = copied.folder(run) / name
    whole, expected = file.read_bytes(), copied.load(run)
    refused = 0
    for place in np.random.default_rng(0).integers(2**31, size=40):
        flip(file, int(place))
        try:
            found = copied.load(run)
        except StoreError as error:
            assert run.name in str(error)
            assert "\n" not in str(error)
            refused += 1
        else:
            assert name == "run.json"  # blanks and capitals of a number, say
            assert replace(found, episodes=None) == replace(expected, episodes=None)
            pd.testing.assert_frame_equal(found.episodes, expected.episodes)
        file.write_bytes(whole)
    assert refused == 40 if name != "run.json" else refused > 20


def test_a_run_made_before_there_were_checksums_is_read(copied, game_plan):
    run = game_plan.cells[0]
    expected = copied.load(run)
    record = json.loads((copied.folder(run) / "run.json").read_text())
    del record["files"], record["checksum"]
    (copied.folder(run) / "run.json").write_text(json.dumps(record | {"format": "lcd.run/1"}))
    pd.testing.assert_frame_equal(copied.load(run).episodes, expected.episodes)
    (copied.folder(run) / "episodes.csv").write_text("game,step\n")
    with pytest.raises(StoreError, match="damaged"):
        copied.load(run)


def test_a_teacher_damaged_after_its_run_teaches_nobody(copied, game_plan):
    """Its weights are compared with their checksum again before each run that imitates it."""
    teacher, first = game_plan.teacher_run, next(run for run in game_plan.cells if run.learning == "rl")
    imitating = [run for run in game_plan.cells if run.learning == "imitation"]
    for run in (first, *imitating):
        shutil.rmtree(copied.folder(run))
    started = []

    def damage(event):
        if event.kind == "started":
            started.append(event.run)
        if event == Event("finished", first):
            flip(copied.teacher_file(teacher), 12_345_678)

    with pytest.raises(StoreError, match=r"teacher\.safetensors is not what was written"):
        execute(Plan((game_plan,)), copied, workers=1, threads=1, listener=damage)
    assert started == [first]


def left_behind(store, run):
    """A workspace of a process that was killed."""
    receiver, sender = os.pipe()
    if not (child := os.fork()):
        holding = store.workspace(run)
        workspace = holding.__enter__()
        (workspace / "progress.csv").write_text("half a lin")
        os.write(sender, str(workspace).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(sender)
    return Path(os.read(receiver, 4096).decode())


def test_only_workspaces_that_nobody_holds_are_removed(game_plan, tmp_path):
    store, run = Store(tmp_path), game_plan.cells[0]
    dead = left_behind(store, run)
    assert (dead / "progress.csv").exists()
    assert dead.with_name(f"{dead.name}.lock").exists()
    with store.workspace(run) as held, store.workspace(run) as another:
        assert held != another
        Store(tmp_path).clear_unfinished()  # in the same thread
        with ThreadPoolExecutor(1) as other:
            other.submit(Store(tmp_path).clear_unfinished).result()
        code = "import sys; from lcd.experiments.store import Store; Store(sys.argv[1]).clear_unfinished()"
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        assert (dead.exists(), held.exists(), another.exists()) == (False, True, True)
        (another / "run.json").mkdir()
    assert list((tmp_path / ".unfinished").iterdir()) == []  # whoever fails removes its own


def test_a_container_with_the_same_host_and_process_number_does_not_remove_a_running_workspace(game_plan, tmp_path):
    """Two process namespaces that share the store, where each process is number 1."""
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no process namespaces can be made here")
    (tmp_path / "run.json").write_text(json.dumps(game_plan.cells[0].as_dict()))
    code = (
        "import json, os, sys\n"
        "from lcd.experiments.store import Store\n"
        "from lcd.experiments.settings import RunSettings\n"
        "store = Store(sys.argv[1])\n"
        "if sys.argv[2] == 'clear':\n"
        "    store.clear_unfinished()\n"
        "    print(os.getpid())\n"
        "else:\n"
        "    run = RunSettings.from_dict(json.load(open(sys.argv[2])))\n"
        "    with store.workspace(run) as workspace:\n"
        "        print(os.getpid(), flush=True)\n"
        "        input()\n"
        "        print(workspace.is_dir())\n"
    )
    command = [*unshare, sys.executable, "-c", code, str(tmp_path / "store")]
    with subprocess.Popen(
        [*command, str(tmp_path / "run.json")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as working:
        number = working.stdout.readline()
        second = subprocess.run([*command, "clear"], capture_output=True, text=True, check=True)
        assert number == second.stdout == "1\n"
        assert working.communicate("\n", timeout=60)[0] == "True\n"


def test_workspaces_of_another_machine_are_left_until_nothing_was_written_for_a_day(game_plan, tmp_path, monkeypatch):
    """It may not share its locks."""
    store = Store(tmp_path)
    monkeypatch.setattr("platform.node", lambda: "elsewhere.org")
    running, dead = (left_behind(store, game_plan.cells[0]) for _ in range(2))
    monkeypatch.setattr("platform.node", lambda: "here.org")
    for path in (dead, dead / "progress.csv", dead.with_name(f"{dead.name}.lock")):
        os.utime(path, (time.time() - 100_000,) * 2)
    store.clear_unfinished()
    assert (running.exists(), dead.exists()) == (True, False)


def test_checkpoints_that_nobody_goes_on_from_are_removed(copied, game_plan):
    finished, waiting = game_plan.cells[0], replace(game_plan.cells[0], seed=99)
    old, new = (copied.checkpoint_file(waiting).with_name(f".{waiting.name}.{digit * 16}.pt") for digit in "01")
    files = [copied.checkpoint_file(finished), copied.checkpoint_file(waiting), old, new]
    files[0].parent.mkdir(exist_ok=True)
    for file in files:
        file.write_bytes(b"")
    os.utime(old, (time.time() - 4_000,) * 2)
    with copied.lease(waiting), copied.lease(finished):
        copied.clear_unfinished()
        assert all(file.exists() for file in files)
    copied.clear_unfinished()
    assert [file.exists() for file in files] == [False, True, False, True]


@pytest.mark.parametrize("name", ["notes.HOST-x", "notes", "notes.lock", ".notes.here-12", "maze.here-1234"])
def test_what_is_no_workspace_is_left_alone(tmp_path, name, monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "HOST")
    (tmp_path / ".unfinished" / name).mkdir(parents=True)
    Store(tmp_path).clear_unfinished()
    assert (tmp_path / ".unfinished" / name).is_dir()
