"""The tracking study: its measures on known phases, its conditions, and the command."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import lcd

pytest.importorskip("sb3_contrib")

from lcd.analyses.tracking_figure import draw_tracking
from lcd.envs.calibration.tracker import EPISODE, Tracker
from lcd.envs.calibration.tracker_drawing import TrackerDrawing
from lcd.studies.tracking import training
from lcd.studies.tracking.analysis import differences
from lcd.studies.tracking.conditions import TESTS, Condition
from lcd.studies.tracking.rules import RULES, rule_returns
from lcd.studies.tracking.synchrony import Synchrony, _Total, synchrony, units_of
from lcd.studies.tracking.tracking import conditions_of, tracking

pytestmark = pytest.mark.costly("analyses/tracking_figure.py")


def scene():
    """One game with two objects of 2 × 2 and 2 × 1 units, each unit of 4 × 4 pixels."""
    objects = np.zeros((1, 32, 32), np.uint8)
    objects[0, 0:8, 0:8], objects[0, 16:24, 16:20] = 1, 2
    return objects


def phases_of(angles):
    return np.stack([np.cos(angles), np.sin(angles)])[None].astype(np.float32)


def cosines(angles, first):
    sums, pairs = synchrony(phases_of(angles), scene(), np.array([first]))
    return Synchrony(*(sums / pairs))


def test_units_belong_to_the_object_that_covers_them():
    angles = np.zeros((8, 8))
    angles[:2, :2] = np.pi / 2
    sums, counts = units_of(phases_of(angles), scene())
    assert counts.tolist() == [[4, 2]]
    assert sums == pytest.approx(np.array([[[0, 4], [2, 0]]]), abs=1e-6)


def test_cosines_of_known_phases():
    angles = np.random.default_rng(0).uniform(0, 7, (8, 8))
    angles[:2, :2], angles[4:6, 4] = 1.0, 1.0 + np.pi
    opposed = cosines(angles, (np.cos(1.0), np.sin(1.0)))
    assert opposed == pytest.approx((1, -1, -1, 1, -1), abs=1e-5)
    angles[:2, :2] = [[0, np.pi / 2], [np.pi, 3 * np.pi / 2]]
    scattered = cosines(angles, (1.0, 0.0))
    assert scattered.target == pytest.approx(0, abs=1e-6)
    assert scattered.kept == pytest.approx(0, abs=1e-6)
    assert scattered.within == pytest.approx((12 * -1 / 3 + 2 * 1) / 14)  # pairs of the four, and of the two


def scenes(games=30, distractors=6):
    """Objects in some games of Tracker, and in the same games later."""
    tracker, drawing = Tracker(distractors, np.arange(games)), TrackerDrawing(Condition("phase").training_game())
    now = drawing.objects(tracker, np.arange(games))
    for _ in range(30):
        tracker.step(np.zeros(games, int))
    return now, drawing.objects(tracker, np.arange(games))


def measured_and_elsewhere(phases, shown):
    """What `measure_synchrony` says of given phases, shape (2, games, 2, 16, 16)."""
    places = (_Total(), _Total())
    for each, objects in zip(phases, shown, strict=True):
        for total, where in zip(places, (objects, np.roll(objects, 1, axis=0)), strict=True):
            total.add(each, where)
    return [total.mean() for total in places]


def test_units_that_are_alike_because_they_are_near_exceed_nothing():
    shown = scenes()
    rows, columns = np.mgrid[:16, :16] / 4
    angles = np.random.default_rng(0).uniform(0, 7, (2, 30, 1, 1)) + rows + 0.7 * columns
    smooth = np.stack([np.cos(angles), np.sin(angles)], axis=2).astype(np.float32)
    measured, elsewhere = measured_and_elsewhere(smooth, shown)
    assert measured.within > 0.7
    assert measured[:3] == pytest.approx(elsewhere[:3], abs=0.01)
    assert abs(measured.kept - elsewhere.kept) < 0.3  # of 30 games, whose phases turn anyhow


def test_units_of_an_object_that_share_a_phase_exceed_those_elsewhere():
    shown = scenes()
    angles = np.random.default_rng(0).uniform(0, 7, (30, 8))
    fields = []
    for objects in shown:
        tiles = objects.reshape(30, 16, 4, 16, 4)
        shares = np.stack([(tiles == thing).mean(axis=(2, 4)) for thing in range(8)])
        shares[0] -= 0.01  # half a unit is an object's
        fields.append(np.take_along_axis(angles, shares.argmax(axis=0).reshape(30, -1), axis=1).reshape(30, 16, 16))
    phases = np.stack([np.stack([np.cos(each), np.sin(each)], axis=1) for each in fields]).astype(np.float32)
    measured, elsewhere = measured_and_elsewhere(phases, shown)
    assert measured.within == pytest.approx(1, abs=0.05)
    assert measured.kept == pytest.approx(1, abs=0.05)
    assert abs(measured.target) < 0.2
    assert elsewhere.within < 0.8
    assert elsewhere.kept < 0.7  # where there is no object, units share a phase, too


def test_a_first_frame_without_the_target_counts_nothing():
    _, pairs = synchrony(phases_of(np.zeros((8, 8))), scene(), np.full((1, 2), np.nan))
    assert pairs.tolist() == [14, 16, 8, 0, 0]


def test_tests_differ_in_what_is_held_out_and_levels_are_unseen():
    condition = Condition("convolutional")
    trained = condition.training_game()
    for test in TESTS:
        game = condition.test_game(test)
        assert set(game.levels).isdisjoint(trained.levels)
        changed = {name for name in ("colours", "shapes", "textures") if getattr(game, name) != getattr(trained, name)}
        assert changed == {"seen": set(), "all": {"colours", "shapes", "textures"}}.get(test, {test})


def test_training_games_are_at_all_times_of_their_episodes_and_the_cursor_on_its_target(monkeypatch):
    monkeypatch.setattr(training, "GAMES", 16)
    condition = Condition("none=small")
    env = training.games_of(condition, condition.training_game(), 0, trains=True)
    env.reset()
    ends, paid = [], []
    for _ in range(EPISODE):
        _, rewards, dones, _ = env.step(np.zeros(16, int))
        ends.append(int(dones.sum()))
        paid.append(rewards[0])
    assert max(ends) == 1
    assert sum(ends) == 16
    assert paid[0] > 0


def test_the_same_agent_is_trained_once():
    twice = conditions_of(["none=small"] * 2, ["imitation"], ["pixels"], [5, 5], [1.0], 1000, 1, 1)
    assert len(twice) == 1


def test_every_setting_is_another_agent():
    agents = [
        Condition("convolutional"),
        Condition("phase"),
        Condition("phase", "reward"),
        Condition("phase", view="semantic"),
        Condition("phase", distractors=3),
        Condition("phase", change=0.5),
        Condition("phase", steps=5),
        Condition("phase", evaluations=1),
        Condition("phase", seed=1),
    ]
    assert len({each.identity for each in agents}) == len(agents)
    assert Condition("phase", change=1).identity == Condition("phase", change=1.0).identity


def measured(returns):
    """Rows of finished agents: network, view, seed and return."""
    usual = {"learner": "imitation", "distractors": 5, "change": 1.0, "steps": 10, "step": 10, "test": "seen"}
    rows = [
        usual | {"network": network, "view": view, "seed": seed, "measure": "return", "value": value}
        for network, view, seed, value in returns
    ]
    return pd.DataFrame(rows)


def test_differences_are_paired_by_seed():
    table = differences(
        measured(
            [("convolutional", "pixels", seed, seed / 10) for seed in range(4)]
            + [("phase+convolutional", "pixels", seed, seed / 10 + 0.2 + 0.01 * (-1) ** seed) for seed in range(3)]
            + [("convolutional", "semantic", seed, 0.9) for seed in range(4)]
        )
    )
    phase, maps = table.to_dict("records")
    assert (phase["compared"], phase["with"], phase["seeds"]) == ("phase+convolutional", "convolutional", 3)
    assert phase["difference"] == pytest.approx(0.2 + 0.01 / 3, abs=1e-5)
    assert phase["low"] < phase["difference"] < phase["high"] < 0.25
    assert (maps["compared"], maps["difference"]) == ("convolutional, label maps", pytest.approx(0.75))


def test_objects_are_where_the_label_map_has_them():
    everyone = np.arange(20)
    tracker, drawing = Tracker(6, everyone), TrackerDrawing(Condition("phase", distractors=6).training_game())
    objects, labels = drawing.objects(tracker, everyone), drawing.labels(tracker, everyone)
    assert set(np.unique(objects)) == set(range(8))
    for shown, label in (((objects == 1), 2), ((objects > 1), 3), ((objects == 0), 0)):
        assert (shown | (labels == 1))[labels == label].all()
        assert ((labels == label) | (labels == 1))[shown].all()


def test_rules_without_memory_lose_the_target_among_others():
    table = rule_returns([0, 2, 15], levels=200)
    returns = table.pivot_table(index="distractors", columns="rule", values="value")
    assert set(returns) == set(RULES)
    assert returns["target"].to_numpy() == pytest.approx(1)
    assert returns["nearest"][0] == pytest.approx(1)  # of one object, the nearest is the target
    assert 1 > returns["nearest"][2] > returns["nearest"][15] > 0.4
    assert (returns["random"] < 0.2).all()
    assert (table.loc[table["distractors"] == 15, "error"] < 0.03).all()


@pytest.fixture
def short_tests(monkeypatch):
    monkeypatch.setattr(training, "EPISODES", 16)
    monkeypatch.setattr(training, "GAMES", 16)


def test_the_command_trains_compares_and_resumes(tmp_path, short_tests, monkeypatch):
    asked = ["tracking", "none=small", "convolutional", "phase+convolutional", "--distractors", "2", "--steps", "1024"]
    asked += ["--seeds", "2", "--evaluations", "1", "--out", "found", "--figure", "found/figure.png"]
    ended = lcd(*asked, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "phase+convolutional" in ended.stdout
    assert "from the true places of 3 objects" in ended.stdout
    before = {file.name: file.read_bytes() for file in (tmp_path / "found").rglob("*.csv")}
    assert len(before) == 3 + 6
    table = pd.read_csv(tmp_path / "found/measurements.csv")
    assert set(table["test"]) == set(TESTS)
    assert set(table.loc[table["network"] == "phase+convolutional", "measure"]) == {
        "return", *Synchrony._fields, *(f"elsewhere_{name}" for name in Synchrony._fields)
    }  # fmt: skip
    assert sorted(set(table["step"])) == [0, 1024]
    assert set(table.loc[table["measure"] == "within", "test"]) == set(training.MEASURED)
    assert table.loc[table["measure"] == "return", "value"].between(0, 1).all()
    draw_tracking(table, pd.read_csv(tmp_path / "found/rules.csv"))
    monkeypatch.setattr(training, "train", None)  # nothing is left to be trained
    assert lcd(*asked, cwd=tmp_path).returncode == 0
    assert {file.name: file.read_bytes() for file in (tmp_path / "found").rglob("*.csv")} == before
    finished = next((tmp_path / "found" / "agents").iterdir())
    whole = finished.read_bytes()
    lines = whole.splitlines(keepends=True)
    for damaged in (
        b"",
        b"\xff\x00",
        b"game,gain\nmaze,1\n",
        b"".join(lines[:-1]),
        lines[0],
        whole.replace(b",return,0", b",return,x"),
        whole.replace(b"imitation", b"reward"),
    ):
        finished.write_bytes(damaged)
        ended = lcd(*asked, cwd=tmp_path)
        assert (ended.returncode, len(ended.stderr.strip().splitlines())) == (2, 1)
        assert f"{finished.name}" in ended.stderr
        assert "remove it, and the agent is trained again" in ended.stderr


def test_agents_that_nobody_waits_for_are_not_trained_on(tmp_path):
    command = ["-m", "lcd.cli.main", "tracking", "none=small", "convolutional", "--steps", "100k", "--workers", "2"]
    process = subprocess.Popen([sys.executable, *command], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        started = wait_for(lambda: len(children.read_text().split()) >= 3, 60)  # two agents, and Python's tracker
        workers = [Path("/proc") / pid for pid in children.read_text().split()]
    finally:
        process.kill()
        process.wait()
    assert started
    assert wait_for(lambda: not any(worker.exists() for worker in workers), 30)


def wait_for(holds, seconds):
    """Whether something comes to hold within some time."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.2)
    return holds()


@pytest.mark.parametrize(
    ("name", "alone"),
    [
        ("networks", "none=nature"),
        ("learners", "reward"),
        ("views", "pixels"),
        ("distractors", 5),
        ("changes", 1.0),
    ],
)
def test_what_stands_alone_is_no_list(name, alone, tmp_path):
    with pytest.raises(ValueError, match=f"{name} must be a list"):
        tracking(**{name: alone}, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["gru=nature"],
        ["none=natur"],
        ["--learner", "both"],
        ["--distractors", "16"],
        ["--change", "2"],
        ["--view", "x"],
        ["none=mlp"],
        ["none=nature+frozen"],
        ["stacked=nature", "--view", "semantic"],
        ["none=nature", "--view", "semantic", "--figure", "one.png"],
        ["none=nature", "--figure", "one.txt"],
    ],
)
def test_bad_input_is_one_sentence(tmp_path, arguments):
    ended = lcd("tracking", *arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
