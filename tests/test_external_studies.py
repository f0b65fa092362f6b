import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import own_games
import pytest
from commands import lcd as lcd_command
from in_process import InProcess
from tiny import TINY

import lcd
from lcd.agents import load_policy
from lcd.alignment.privileged import collect_references
from lcd.analyses.report import _pictures
from lcd.envs import family_of
from lcd.envs.external.game import GameFault
from lcd.envs.family import game_options
from lcd.envs.random_play import random_return
from lcd.experiments.plan import UNMEASURED, Plan, plan_game
from lcd.experiments.presets import PRESETS
from lcd.experiments.store import Store
from lcd.io.watching import WATCH
from lcd.measurement.scores import Normalisation
from lcd.pretraining.frames import collect_frames
from lcd.pretraining.pretraining import Pretraining, pretrain_on_frames
from lcd.studies.aligning import unseen_levels
from lcd.studies.diagnosing import prepare_diagnosis
from lcd.studies.finished_runs import normalisation_of
from lcd.studies.harmonization import prepare_harmonization
from lcd.studies.output import OutputFolder

pytestmark = pytest.mark.costly("envs/external/*.py", "analyses/*.py", "analyses/templates/*")

GRID = "own_games:Grid"


def test_a_random_policy_is_played_where_no_constants_are_known():
    options = game_options(GRID, num_levels=50)
    assert family_of(options).normalisation(options) is None
    plan = plan_game(options, TINY)
    assert plan.normalisation is None
    assert plan.measures_random
    assert plan.random_return == random_return(options.training_levels(TINY.num_levels))
    assert 0 < plan.random_return < 1
    given = plan_game(options, TINY, random=0.1, best=0.9).normalisation
    assert (given.random, given.best, given.source) == (0.1, 0.9, "given")


def test_a_plan_does_not_play_the_random_policy_until_it_is_carried_out(monkeypatch, tmp_path):
    """In slow games that takes a minute, which neither a dry run nor the check of a folder is worth."""
    plan = plan_game(game_options(GRID), PRESETS["smoke"], best=0.9)
    folder = OutputFolder(tmp_path / "out")
    folder.claim(Plan((plan,)).as_dict())
    assert normalisation_of(plan, Store(tmp_path)) == Normalisation(plan.random_return, 0.9, source="given")

    def refuse(options):
        raise AssertionError("played")

    monkeypatch.setattr("lcd.experiments.plan.random_return", refuse)
    again = prepare_diagnosis(GRID, "smoke", best=0.9, store=tmp_path / "store")
    assert again.game_plan.constants(measure=False) == {"random": UNMEASURED, "best": 0.9, "source": "given"}
    assert again.writing_to(tmp_path / "out").game_plan.random_return == plan.random_return  # it is not played again
    OutputFolder(tmp_path / "given").claim(Plan((replace(plan, random=-3.0),)).as_dict())
    assert again.writing_to(tmp_path / "given").game_plan.measured_random is None  # nobody measured it
    with pytest.raises(ValueError, match=r"normalisation.best was 0.9 and is None"):
        prepare_diagnosis(GRID, "smoke", store=tmp_path / "store").writing_to(tmp_path / "out")


def test_a_best_return_below_that_of_a_random_policy_is_refused_before_anything_trains(tmp_path):
    prepared = prepare_diagnosis(GRID, "smoke", best=-5.0, store=tmp_path / "store")
    with pytest.raises(ValueError, match=r"best=-5.0 must exceed random="):
        prepared.diagnose()
    assert not (tmp_path / "store").exists()


def test_an_episode_without_end_is_found_before_anything_trains(monkeypatch):
    monkeypatch.setattr("lcd.envs.random_play.MOST_STEPS", 200)
    with pytest.raises(ValueError, match="does not end within"):
        random_return(game_options("own_games:Broken", env_kwargs={"how": "endless", "limit": 10**9}))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("die", r"own_games:Odd ended its process \(exit code 3\)"),
        ("interrupt", r"own_games:Odd fails in step 1 of level \d+ \(KeyboardInterrupt"),
        ("hang", r"own_games:Odd in step 4 of level \d+ has not come back for 1 seconds: it hangs"),
    ],
)
def test_a_game_that_fails_while_it_is_planned_takes_nobody_along(how, words, monkeypatch):
    monkeypatch.setattr(WATCH, "limit", 1.0)
    options = game_options("own_games:Odd", num_levels=20, env_kwargs={"how": how})
    with pytest.raises(GameFault, match=words):
        family_of(options).levels_differ(options)
    with pytest.raises(GameFault, match=words):
        random_return(options)


@pytest.fixture(scope="module")
def diagnosed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    return folder, lcd.diagnose(
        own_games.Grid, "smoke", seeds=2, out=folder / "out", store=folder / "store", workers=1, threads=1
    )


def test_a_game_of_somebody_else_is_diagnosed(diagnosed):
    folder, diagnosis = diagnosed
    assert diagnosis.game == GRID
    assert diagnosis.normalisation.source == "measured"
    assert 0 < diagnosis.normalisation.random < diagnosis.normalisation.best <= 1
    assert diagnosis.teacher.source == "trained"
    assert set(diagnosis.scores["view"]) == {"pixels", "semantic"}
    assert (folder / "out" / "diagnosis.png").is_file()
    assert json.loads(Path(folder / "out" / "plan.json").read_text())["games"][0]["runs"][0]["game"] == GRID


def test_a_game_whose_privileged_view_is_a_vector_is_diagnosed(tmp_path, monkeypatch, tiny_preset):
    monkeypatch.setattr("lcd.experiments.processes.LocalProcesses", InProcess)
    diagnosis = lcd.diagnose("own_games:Remembered", tiny_preset, store=tmp_path, random=0.0, best=1.0)
    assert diagnosis.teacher.source == "trained"
    assert set(diagnosis.scores["view"]) == {"pixels", "semantic"}


def test_a_film_shows_a_game_of_somebody_else_where_its_user_names_it(diagnosed, monkeypatch):
    folder, _ = diagnosed
    (run,) = (folder / "store").glob("Grid-pixels-imitation-seed0-*")
    monkeypatch.chdir(folder)
    refused = lcd_command("watch", "--run", run, "--max-steps", 4, cwd=folder)
    assert (refused.returncode, "whose code would be run: if you trust it, give --trust" in refused.stderr) == (
        2,
        True,
    )
    done = lcd_command("watch", GRID, "--run", run, "--max-steps", 4, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "Grid.gif").is_file()


def test_a_file_alone_never_makes_a_game_of_another_package(diagnosed, monkeypatch):
    folder, _ = diagnosed
    (run,) = (folder / "store").glob("Grid-pixels-imitation-seed0-*")
    _, card = load_policy(run / "policy.safetensors")
    assert unseen_levels(card) is None
    assert unseen_levels(card, trusted=True).game == GRID
    assert unseen_levels({"game": "own_games:Grid"}) is None
    assert unseen_levels({"game": "maze"}).game == "maze"
    monkeypatch.setattr("lcd.analyses.report.twin_frames", lambda options: pytest.fail("made"))
    assert _pictures({"game": GRID, "mode": None, "appearance": None}) is None


@pytest.mark.parametrize("game", ["own_games:Remembered", "own_games:Hidden"])
def test_a_game_without_label_maps_is_not_harmonized(game, tmp_path):
    refused = lcd_command("harmonize", game, "--preset", "smoke", cwd=tmp_path)
    assert (refused.returncode, list(tmp_path.iterdir())) == (2, [])
    assert f"made of label maps, and {game} has none: name one that has them with semantic" in refused.stderr
    with pytest.raises(ValueError, match=f"made of label maps, and {game} has none"):
        collect_references(game_options(game), 8)


def test_studies_of_encoders_take_a_game_with_its_settings(tmp_path):
    settings = {"env_kwargs": {"limit": 5}, "semantic": "own_games:Labelled"}
    prepared = prepare_harmonization("own_games:Hidden", preset="smoke", store=tmp_path, **settings)
    assert {run.game for run in prepared.plan.runs} == {"own_games:Hidden"}
    assert any(run.harmonizer for run in prepared.plan.runs)
    options = ["--env-kwargs", '{"limit": 5}', "--semantic", "own_games:Labelled", "--frames", "2048", "--epochs", "1"]
    made = lcd_command("pretrain", "own_games:Hidden", "--objective", "segmentation", *options, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert ", privileged (untrained" in made.stdout


def test_a_game_without_a_teacher_of_the_package_is_watched_by_a_run(tmp_path):
    refused = lcd_command("watch", GRID, cwd=tmp_path)
    assert refused.returncode == 2
    assert f"No teacher of {GRID} comes with this package: name a finished run of it with --run." in refused.stderr


@pytest.mark.parametrize(
    ("game", "channels", "labelled"),
    [(GRID, 3, True), ("own_games:Grey", 1, True), ("own_games:Hidden", 3, False), ("own_games:Remembered", 3, False)],
)
def test_encoders_are_pretrained_on_frames_of_any_game(game, channels, labelled):
    options = game_options(game, num_levels=20)
    frames = collect_frames(options, 64, num_envs=8)
    assert (frames.channels, frames.labels is not None) == (channels, labelled)
    settings = Pretraining("autoencoding", frames=2048, epochs=1, batch_size=32, architecture="nature:16")
    classes = family_of(options).action_classes(options)
    encoder, found = pretrain_on_frames(frames, frames, classes, settings)
    assert encoder.channels == channels
    assert np.isfinite(found["score"])
    if not labelled:
        with pytest.raises(ValueError, match="needs label maps"):
            pretrain_on_frames(frames, frames, classes, replace(settings, objective="segmentation"))
