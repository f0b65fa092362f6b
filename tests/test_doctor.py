import multiprocessing
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from lcd.cli.main import app
from lcd.envs.family import game_options
from lcd.io.watching import WATCH
from lcd.studies import doctor, game_checks
from lcd.studies.doctor import examine
from lcd.studies.game_checks import examined_here
from lcd.studies.random_play import Played, first_difference

pytestmark = pytest.mark.costly("envs/external/*.py")


def findings(game, encoder="nature", **settings):
    return {finding.what: finding for finding in examined_here(game_options(game, **settings), encoder)}


def test_a_good_game_passes():
    found = findings("own_games:Grid")
    assert {finding.status for finding in found.values()} == {"ok"}
    assert {"frames", "actions", "privileged view", "determinism", "views", "levels", "memory", "speed"} <= found.keys()


@pytest.mark.parametrize(
    ("game", "settings", "what", "status", "words"),
    [
        ("own_games:Odd", {"env_kwargs": {"how": "print"}}, "prints", "note", "'step 0"),
        ("own_games:Odd", {"env_kwargs": {"how": "print"}}, "prints", "note", "first in step 1 of level"),
        ("own_games:Odd", {"env_kwargs": {"how": "leak"}}, "memory", "problem", "MB from step 100 to 400 of 4 games"),
        ("own_games:Broken", {"env_kwargs": {"how": "crash"}}, "fails", "problem", "no floor"),
        ("own_games:Broken", {"env_kwargs": {"how": "nan"}}, "fails", "problem", "reward of nan in step 3"),
        ("own_games:Chance", {}, "determinism", "note", "cannot be repeated"),
        ("own_games:Chance", {}, "views", "note", "not the same from one time to the next"),
        ("own_games:Meddling", {}, "determinism", "ok", "the same frames"),
        ("own_games:Meddling", {}, "views", "problem", "With images and with the privileged view the same seeds and"),
        ("own_games:Frozen", {}, "privileged view", "problem", "was the same in all of the 11 steps"),
        ("own_games:Hidden", {}, "privileged view", "note", "label_map"),
        ("own_games:Alike", {}, "levels", "note", "nothing of generalisation"),
        ("own_games:Grid", {"env_kwargs": {"cell": 3}}, "encoder", "problem", "too small"),
    ],
)
def test_what_is_wrong_with_a_game_is_found(game, settings, what, status, words):
    found = findings(game, **settings)
    assert found[what].status == status
    assert words in found[what].sentence


def test_an_encoder_of_ones_own_is_tried():
    assert findings("own_games:Grid", "own_encoders:Tiny")["encoder"].status == "ok"
    assert findings("own_games:Grid", "own_encoders:Nothing")["encoder"].status == "problem"
    with pytest.raises(ValueError, match="no_such_module"):
        examine("own_games:Grid", encoder="no_such_module:Tiny")


def test_the_entry_that_holds_the_image_is_named():
    assert findings("own_games:Dictionary")["frames"].sentence.endswith(
        "channels, the entry 'image' of the observations."
    )
    assert findings("own_games:Grid")["frames"].sentence.endswith("channels.")


def test_actions_are_named_where_the_game_names_them():
    assert findings("tracker")["actions"].sentence.startswith("5 actions: ")
    assert findings("own_games:Grid")["actions"].sentence == "4 actions."


def play(rewards, ended=None, views=None):
    shape = np.shape(rewards)
    ended = np.zeros(shape, bool) if ended is None else np.array(ended)
    steps, levels = np.arange(1, 1 + shape[0])[:, None] + np.zeros(shape, int), np.full(shape, 30) + np.arange(shape[1])
    return Played(views or {}, np.array(rewards), ended, levels, steps, [], [], 1.0, 0.0)


def test_the_first_difference_is_named_with_its_step_and_level():
    one, rewarded = play([[0.0, 0.0]] * 3), play([[0.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    ended = play([[0.0, 0.0]] * 3, [[False, False], [True, False], [False, False]])
    assert first_difference(one, play([[0.0, 0.0]] * 3)) is None
    assert first_difference(one, rewarded) == "other rewards, first in step 2 of level 31 (0.0 and 2.0)"
    assert first_difference(one, ended) == "other ends of episodes, first in step 2 of level 30 (False and True)"
    shown = [play([[0.0]], views={1: {"pixels": np.full(4, colour)}}) for colour in (0, 9)]
    assert first_difference(*shown) == "other frames, first seen after 1 steps"


@pytest.mark.parametrize(
    ("how", "words", "limits"),
    [
        ("hang", "in step 4 of level", {"step_limit": 1}),
        ("die", "ended its process (exit code", {}),
    ],
)
def test_a_game_that_hangs_or_dies_takes_nobody_along(how, words, limits):
    *_, last = examine("own_games:Odd", env_kwargs={"how": how}, **limits)
    assert last.status == "problem"
    assert words in last.sentence


def silent_child(out, *further):
    """A game that keeps Python's lock."""
    out.send(doctor.BEAT)
    time.sleep(60)


def test_a_process_without_a_sign_is_taken_to_hang(monkeypatch):
    forked = multiprocessing.get_context("fork")
    monkeypatch.setattr(doctor.multiprocessing, "get_context", lambda kind: forked)
    monkeypatch.setattr(doctor, "_child", silent_child)
    (found,) = examine("own_games:Odd", seconds=1)
    assert (found.what, "For 1 seconds nothing came back: it hangs" in found.sentence) == ("hangs", True)


def late_child(out, *further):
    """A process that takes its time to begin."""
    time.sleep(2)
    out.send(None)


@pytest.mark.parametrize(("starting", "words"), [(60, []), (0.5, ["For 1 seconds nothing came back: its process did"])])
def test_a_busy_machine_is_not_taken_for_a_game_that_hangs(monkeypatch, starting, words):
    forked = multiprocessing.get_context("fork")
    monkeypatch.setattr(doctor.multiprocessing, "get_context", lambda kind: forked)
    monkeypatch.setattr(doctor, "_child", late_child)
    monkeypatch.setattr(doctor, "STARTING", starting)
    assert [each.sentence[: len(words[0])] for each in examine("own_games:Odd", seconds=1)] == words


def slow_child(out, *further):
    """A game that is stepped for longer than the limit, each step for less."""
    for _ in range(20):
        time.sleep(0.1)
        out.send(doctor.BEAT)
    out.send(None)


def test_a_slow_game_is_not_taken_for_one_that_hangs(monkeypatch):
    forked = multiprocessing.get_context("fork")  # starts at once
    monkeypatch.setattr(doctor.multiprocessing, "get_context", lambda kind: forked)
    monkeypatch.setattr(doctor, "_child", slow_child)
    assert examine("own_games:Odd", seconds=1.5) == []


def test_random_play_of_a_slow_game_is_cut_short(monkeypatch):
    monkeypatch.setattr(game_checks, "PLAYED_SECONDS", 0.5)
    monkeypatch.setattr(doctor, "BEAT_SECONDS", 0.1)
    for name in ("limit", "ended", "begun"):  # which belong to the process that is examined
        monkeypatch.setattr(WATCH, name, getattr(WATCH, name))
    monkeypatch.setattr(doctor.signal, "signal", lambda number, handler: None)
    sent = []
    doctor._child(
        SimpleNamespace(send=sent.append), game_options("own_games:Odd", env_kwargs={"how": "slow"}), "nature"
    )
    assert sent.pop() is None
    assert sent.count(doctor.BEAT) >= 4
    found = {each.what: each for each in sent if each != doctor.BEAT}
    assert (found["determinism"].status, found["memory"].status) == ("ok", "note")
    assert int(found["memory"].sentence.split()[1]) <= 14  # of 0.04 s each


def test_the_command_says_by_its_status_whether_a_game_can_be_diagnosed():
    bad = CliRunner().invoke(app, ["doctor", "own_games:Odd", "--env-kwargs", '{"how": "die"}'])
    assert (bad.exit_code, "problem crashes" in bad.output) == (1, True)
    unfit = CliRunner().invoke(app, ["doctor", "CartPole-v1"])
    assert (unfit.exit_code, "problem cannot be diagnosed: " in unfit.output) == (2, True), unfit.output


def test_a_script_without_a_guard_can_examine_a_game(tmp_path):
    """A process that is started must not carry out the script once more."""
    script = tmp_path / "script.py"
    script.write_text("import lcd\nprint(*[found.what for found in lcd.examine('tracker')])\n")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=True)
    assert "frames" in ended.stdout and "crashes" not in ended.stdout, ended.stdout
    assert not ended.stderr
