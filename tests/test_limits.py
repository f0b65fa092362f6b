"""What is asked for in numbers that no machine gets through, or in another kind of value, is refused in a sentence."""

from __future__ import annotations

import errno
import inspect
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from limited import little
from tiny import TINY

import lcd
from lcd.agents import EncoderName, EncoderPolicy, parse_encoder
from lcd.alignment.classifiers import Harmonization
from lcd.cli.errors import exit_status, sentence
from lcd.envs import GAMES, ProcgenBatch, ProcgenOptions, get_game
from lcd.experiments.plan import Plan, plan_game
from lcd.experiments.presets import PRESETS
from lcd.experiments.settings import Evaluation, Hyperparameters, RunSettings
from lcd.experiments.store import StoreError
from lcd.experiments.timing import _shortened
from lcd.io.files import naming, replacing
from lcd.io.limits import (
    MOST_EVALUATIONS,
    MOST_FACTOR,
    MOST_GAMES_AT_ONCE,
    MOST_SEEDS,
    MOST_STEPS,
    path,
    real_number,
    short,
    text,
    texts,
    whole_number,
)
from lcd.measurement.scores import Normalisation
from lcd.pretraining.pretraining import Pretraining
from lcd.studies.survey.plan import Survey

ODD = [
    None,
    3,
    1.5,
    True,
    b"maze",
    ["maze"],
    {"game": "maze"},
    ("maze",),
    object(),
    Path("maze"),
    float("nan"),
    10**400,
]


@pytest.mark.parametrize("game", ODD)
def test_a_game_that_is_no_text_is_refused_wherever_games_are_named(game):
    asked = [lcd.diagnose, get_game, ProcgenOptions, lambda game: plan_game(game, TINY), lambda game: Survey((game,))]
    for ask in asked:
        with pytest.raises(ValueError, match=r"^[^\n]*(must be a text|names, each in quotation marks)[^\n]*$"):
            ask(game)


IN_THEIR_PLACE = {
    "preset": ODD,
    "steps": ["many", 1.5, True, 0, -1, 10**13, 10**400, float("nan"), [1]],
    "seeds": ["2", 2.0, True, 0, 10**8],
    "encoder": [3, True, ["nature"], b"nature"],
    "algorithm": [3, True, ["phasic"], "no-such", "no_such:THING", "shorter-credit", "augment-crop"],
    "hyperparameters": [3, True, ["gamma"], "gamma", {"gamma": 2}, {"momentum": 0.9}, {"gamma": "0.9"}],
    "levels": ["2", 1.5, True, -1, 10**13],
    "teacher": [3, True, ["a"], b"a"],
    "train_teacher": ["no", 1, None],
    "executor": [3, None, "raid", "local:4", "slurm:time=soon"],
    "teacher_factor": ["2", 0, 1.5, 10**8],
    "distribution_mode": [each for each in ODD if each is not None],
    "appearance": [3, "monochrome", [3], None, [["monochrome"]]],
    "ladder": ["no", 1, None],
    "baselines": ["no", 1, None],
    "encoders": [3, "random", [3], None, [["random"]]],
    "out": [3, ["a"], b"a"],
    "env_kwargs": [3, "[1]", "{", {"size": 3}],
    "image_key": [3, "image"],
    "semantic": [3, "where"],
    "max_episode_steps": [0, 1.5, "10", 10],
    "wrappers": [3, "atari"],
    "sticky_actions": ["0.25", -0.1, 1, float("nan"), True, 0.25],
    "frame_skip": [0, 1.5, "4", 10**4, 4],
    "action_values": [1, 1.5, "5", 10**4, 5],
    "random": ["0", float("nan"), True, 10**400],
    "best": ["1", float("inf"), True, -(10**400)],
    "store": [3, None, ["a"], b"a"],
    "workers": ["2", 0, 1.5, 10**8, True],
    "threads": ["2", 0, 1.5, 10**8, True],
    "precision": [3, True, "half", "", ["float32"]],
    "step_limit": ["300", 0, True, float("nan"), 10**9],
    "progress": ["no", 1, None],
    "device": ODD,
}


@pytest.mark.parametrize(
    "name", [name for name in inspect.signature(lcd.diagnose).parameters if name in IN_THEIR_PLACE]
)
def test_arguments_of_another_kind_are_refused_before_anything_is_made(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in IN_THEIR_PLACE[name]:
        asked = {"preset": "smoke"} | ({"train_teacher": True} if name == "teacher_factor" else {}) | {name: value}
        with little(), pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
            lcd.diagnose("maze", **asked)
        assert len(str(caught.value)) < 500
    assert list(tmp_path.iterdir()) == []


def test_every_argument_of_a_diagnosis_is_tried():
    assert inspect.signature(lcd.diagnose).parameters.keys() - IN_THEIR_PLACE.keys() == {"game", "listener"}


MOST = {
    "steps": MOST_STEPS,
    "seeds": MOST_SEEDS,
    "evaluations": MOST_EVALUATIONS,
    "evaluation_episodes": MOST_GAMES_AT_ONCE,
    "teacher_factor": MOST_FACTOR,
}


@pytest.mark.parametrize("name", MOST)
def test_numbers_of_a_plan_end_somewhere(name):
    with little(), pytest.raises(ValueError, match=f"{name} must be at most {MOST[name]:,}, not"):
        plan_game("maze", replace(TINY, **{name: MOST[name] + 1}))


def test_the_largest_number_of_seeds_is_planned_in_seconds():
    with little(seconds=30):
        plan = Plan((plan_game("maze", replace(PRESETS["standard"], seeds=MOST["seeds"])),))
        assert len({run.name for run in plan.runs}) == 4 * MOST["seeds"] + 1  # and the teacher's


def test_the_id_that_games_are_listed_with_names_them():
    for game in GAMES.values():
        for name in (f"lcd/{game.title}-v0", f"LCD/{game.title}-V0", game.title, game.name):
            assert get_game(name) is game
    assert plan_game("lcd/StarPilot-v0", TINY) == plan_game("starpilot", TINY)
    assert Survey(("lcd/StarPilot-v0",)).games == ("starpilot",)
    for name in ("lcd/StarPilot-v1", "lcd/-v0", "lcd/Courier-v0", "starpilot-v0", "my/StarPilot-v0"):
        with pytest.raises(ValueError, match="Unknown game"):
            get_game(name)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": "0"},
        {"seed": -1},
        {"seed": 2**31},
        {"seed": 10**400},
        {"seed": True},
        {"steps": 1.0},
        {"steps": float("inf")},
        {"game": ["maze"]},
        {"view": ["pixels"]},
        {"learning": None},
        {"encoder": 3},
        {"teacher": 3},
        {"encoder_checksum": 3},
        {"keep_best": "no"},
        {"appearance": "monochrome"},
        {"appearance": [["monochrome"]]},
        {"appearance": 3},
        {"harmonizer": "much"},
        {"harmonizer": float("nan")},
        {"num_levels": 10**12},
        {"num_levels": "200"},
        {"dials": []},
        {"dials": {"noise": "much"}},
        {"evaluation": []},
        {"evaluation": {"steps": "012"}},
        {"evaluation": {"steps": [0, "a"]}},
        {"evaluation": {"steps": [0, 1e400]}},
        {"evaluation": {"steps": list(range(10**6))}},
        {"evaluation": {"steps": [0, 1], "num_envs": 10**12}},
        {"hyperparameters": None},
        {"hyperparameters": {"num_envs": 10**12}},
        {"hyperparameters": {"num_envs": 0.5}},
        {"hyperparameters": {"learning_rate": "fast"}},
        {"hyperparameters": {"learning_rate": float("nan")}},
        {"hyperparameters": {"gamma": 2}},
        {3: 4},
    ],
)
def test_settings_of_a_run_of_another_kind_are_refused(changes):
    data = plan_game("maze", TINY).cells[0].as_dict()
    with little(), pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        RunSettings.from_dict(data | changes)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("data", [None, [], "text", 3, [["game", "maze"]]])
def test_settings_that_are_no_object_are_refused(data):
    with pytest.raises(ValueError, match="must be an object"):
        RunSettings.from_dict(data)


def _policy(encoder: str, side: int) -> EncoderPolicy:
    frames = spaces.Box(0, 255, (3, side, side), np.uint8)
    return EncoderPolicy(frames, spaces.Discrete(15), lambda _: 1e-3, encoder=encoder)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (Pretraining, {"objective": "autoencoding", "frames": 10**12}),
        (Pretraining, {"objective": "autoencoding", "frames": "many"}),
        (Pretraining, {"objective": "autoencoding", "epochs": 10**8}),
        (Pretraining, {"objective": "autoencoding", "epochs": 1.5}),
        (Pretraining, {"objective": "autoencoding", "seed": 10**12}),
        (Pretraining, {"objective": "autoencoding", "num_levels": 0.5}),
        (Pretraining, {"objective": "autoencoding", "architecture": 3}),
        (Harmonization, {"epochs": 10**8}),
        (Harmonization, {"weight": "much"}),
        (Harmonization, {"learning_rate": None}),
        (Harmonization, {"seed": -1}),
        (Evaluation, {"steps": (0, 2.0)}),
        (Hyperparameters, {"epochs": 10**9}),
        (Hyperparameters, {"rollout_steps": 10**9}),
        (lambda **sizes: ProcgenBatch(ProcgenOptions("maze"), **sizes), {"num_envs": 10**9}),
        (lambda **sizes: ProcgenBatch(ProcgenOptions("maze"), **sizes), {"num_envs": "2"}),
        (EncoderName.read, {"text": "impala:100000,100000,100000"}),
        (parse_encoder, {"text": "impala:4096,4096,4096"}),
        (parse_encoder, {"text": "impoola:" + ",".join(["4000"] * 16)}),
        (parse_encoder, {"text": "residual:1,4096,4096"}),
        (_policy, {"encoder": "nature:4096", "side": 1000}),
        (EncoderName.read, {"text": "impala:" + ",".join(["8"] * 100)}),
        (EncoderName.read, {"text": "nature:" + "9" * 5000}),
        (EncoderName.read, {"text": 3}),
    ],
)
def test_what_no_machine_gets_through_is_refused_at_once(make, arguments):
    with little(), pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        make(**arguments)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("random", "best"),
    [
        (5, 5.000001),
        (1.0, float(np.nextafter(1.0, 2.0))),
        (1e300, float(np.nextafter(1e300, np.inf))),
        (-1e308, 1e308),
        (0, 0),
        (-1, -2),
        ("1", 2),
        (1, "2"),
        (None, 1),
        (True, 2),
        ([1], 2),
        (float("inf"), float("inf")),
    ],
)
def test_constants_between_which_no_score_can_be_counted_are_refused(random, best):
    with pytest.raises(ValueError, match=r"^best=.* must exceed random=|^(best|random) must be (a number|finite), not"):
        Normalisation(random, best, "measured")


def test_constants_as_close_as_games_have_them_are_taken():
    assert Normalisation(0, 1e-9, "measured").score(1e-9) == 1
    assert Normalisation(np.float32(99), np.float32(100), "measured").score(100.0) == 1


def test_values_are_named_whatever_they_are():
    assert short("a\nb") == repr("a\nb")
    assert "1,000" in short("x" * 998)
    assert len(short(list(range(10**5)))) < 200
    assert short(10**9000)
    for refuse in (
        lambda: whole_number("n", 10**9000),
        lambda: real_number("n", 10**400),
        lambda: real_number("n", "x"),
    ):
        with pytest.raises(ValueError, match=r"^n must be"):
            refuse()
    assert (whole_number("n", np.int64(3)), real_number("n", np.float32(0.5)), text("n", "x")) == (3, 0.5, "x")
    assert (texts("n", ["a"]), path("n", "a")) == (("a",), Path("a"))


@pytest.mark.parametrize("kind", [("pixels", "rl"), ("semantic", "imitation")])
@pytest.mark.parametrize("preset", ["standard", "paper", "quick", "smoke"])
def test_few_steps_tell_how_fast_a_run_trains(preset, kind):
    run = next(run for run in plan_game("maze", PRESETS[preset]).cells if (run.view, run.learning) == kind)
    batch = run.hyperparameters.rollout // run.hyperparameters.minibatches
    for device, largest in (("cpu", 512), ("cuda", batch)):
        made = _shortened(run, device).hyperparameters
        assert made.rollout == made.rollout // made.minibatches == min(batch, largest)
        assert (made.num_envs, made.epochs) == (run.hyperparameters.num_envs, run.hyperparameters.epochs)


def full(name=None):
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([] if name is None else [str(name)]))


@pytest.mark.parametrize("named", [False, True])
def test_a_full_disk_names_the_file_that_was_written(tmp_path, named):
    with pytest.raises(OSError, match="left") as caught, replacing(tmp_path / "table.csv") as partial:
        partial.write_text("half")
        raise full(partial if named else None)
    assert caught.value.filename == str(tmp_path / "table.csv")
    assert list(tmp_path.iterdir()) == []
    said = (
        f"There is no space left on the disk for {tmp_path / 'table.csv'}: free some and start the same command again."
    )
    assert sentence(caught.value) == said
    assert exit_status(caught.value) == 1


def test_errors_of_other_files_keep_their_names(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, naming(tmp_path / "table.csv"):
        Path("/nowhere/else").read_text()
    assert caught.value.filename == "/nowhere/else"
    assert sentence(caught.value) == "/nowhere/else cannot be used (No such file or directory): name another."


def test_a_full_disk_that_names_nothing_names_the_temporary_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert f"temporary files in {tmp_path}" in sentence(full())
    monkeypatch.setattr("tempfile.gettempdir", lambda: (_ for _ in ()).throw(FileNotFoundError("none")))
    monkeypatch.setenv("TMPDIR", "/full")
    assert "temporary files in /full" in sentence(full())


@pytest.mark.parametrize("said", ["a\nb", "a\x1b[31mb", "x" * 10**6, "", "ü\ud800"])
def test_what_a_foreign_file_makes_an_error_say_is_one_readable_line(said):
    line = sentence(ValueError(said))
    assert line.isprintable()
    assert len(line) < 3000
    assert re.search(r"\S", line)


def test_what_ends_a_command_has_a_status():
    assert [exit_status(error) for error in (ValueError(), StoreError(), MemoryError(), OSError())] == [2, 2, 1, 1]
    assert exit_status(KeyError()) is None
    assert sentence(MemoryError()).startswith("The memory is exhausted")
