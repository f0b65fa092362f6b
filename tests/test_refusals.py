"""What a review of the refusals found: files, outputs and arguments that were taken, and ended in something else."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from commands import lcd as lcd_command
from gymnasium import spaces
from limited import little
from PIL import Image
from tiny import TINY
from torch import nn
from toy_games import ColourGame, ColourTeacher

import lcd
from lcd.agents import EncoderName, EncoderPolicy, evaluate, import_encoder, save_policy
from lcd.agents.encoders.preparation import settings_of, size_of
from lcd.agents.encoders.pretrained import Backbone, ModuleEncoder
from lcd.analyses.report import _json
from lcd.cli.errors import BAD_INPUT, FAILURE, exit_status, sentence
from lcd.cli.watch import _of_run
from lcd.envs.calibration.options import CourierOptions
from lcd.envs.family import families, find_game, game_options
from lcd.experiments.checkpoint import Checkpoint
from lcd.experiments.improvements import get_improvement
from lcd.experiments.plan import plan_game
from lcd.experiments.run import teacher_of
from lcd.experiments.settings import TRAINING_VERSION, Hyperparameters, RunSettings
from lcd.experiments.store import Store
from lcd.io.checksums import SUMS
from lcd.io.files import check_output, checksum, replacing
from lcd.io.modules import import_named
from lcd.measurement.scores import Normalisation
from lcd.pretraining.pretraining import Pretraining
from lcd.studies.aligning import align_network, unseen_levels
from lcd.studies.harmonization import harmonized_plan
from lcd.studies.pretraining import default_file
from lcd.studies.survey.plan import Survey
from lcd.studies.survey.tables import SurveyTables
from lcd.studies.taxonomy.taxonomy import Taxonomy
from lcd.studies.validation.improving import improved_run

COMMITTED = Path(__file__).parents[1] / "docs" / "diagnoses" / "starpilot-quick"


@pytest.fixture
def diagnosed(tmp_path):
    return shutil.copytree(COMMITTED, tmp_path / "diagnosis")


def spoil(file: Path, how: str) -> None:
    file.unlink(missing_ok=True)
    if how == "pipe":
        os.mkfifo(file)
    elif how == "folder":
        file.mkdir()
    elif how == "endless":
        file.symlink_to("/dev/zero")
    elif how == "circle":
        file.symlink_to(file)
    else:
        with file.open("wb") as made:
            made.truncate(2**36)  # a hole: it takes no room on the disk


@pytest.mark.parametrize("how", ["pipe", "folder", "endless", "circle", "huge"])
def test_a_list_of_checksums_that_is_no_small_file_is_refused(diagnosed, how):
    spoil(diagnosed / SUMS, how)
    with little(), pytest.raises(ValueError, match=r"^[^\n]*SHA256SUMS[^\n]*$"):
        SurveyTables.read(diagnosed)


@pytest.mark.parametrize("how", ["pipe", "folder", "endless", "circle", "huge"])
def test_what_looks_like_an_unfinished_file_and_is_none_is_left_alone(diagnosed, how):
    spoil(diagnosed / ".diagnosis.0123456789abcdef.json", how)
    with little():
        assert list(SurveyTables.read(diagnosed).games["game"]) == ["starpilot"]


def test_the_checksum_of_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="that is a pipe"):
        checksum(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        checksum(tmp_path / "none")


def test_an_output_never_replaces_a_pipe_or_a_link_or_what_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is a pipe, a device or a socket"):
        check_output(tmp_path / "pipe")
    (tmp_path / "target").write_text("old")
    (tmp_path / "folder" / "game").mkdir(parents=True)
    (tmp_path / "link").symlink_to("target")
    with replacing(check_output(tmp_path / "link")) as partial:
        partial.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    with pytest.raises(ValueError, match="is read as well, and would be overwritten"):
        check_output(tmp_path / "link", inputs=(None, "nature", tmp_path / "target"))
    for file in (tmp_path / "folder" / "new.csv", tmp_path / "folder" / "game" / "old.csv"):
        with pytest.raises(ValueError, match=r"csv is in .*folder, whose files are read, and would be overwritten"):
            check_output(file, inputs=(tmp_path / "folder",))


def policy(channels: int, side: int = 36) -> EncoderPolicy:
    space = spaces.Box(0, 255, (channels, side, side), np.uint8)
    return EncoderPolicy(space, spaces.Discrete(4), lambda _: 0.0, "nature:16")


def test_a_network_is_not_overwritten_by_its_table(tmp_path):
    file = tmp_path / "model.safetensors"
    save_policy(policy(3), file, {})
    before = file.read_bytes()
    with pytest.raises(ValueError, match="would be overwritten: name another file"):
        align_network(str(file), "a,b", source="human", out=file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("channels", [1, 12])
def test_a_policy_on_images_of_other_channels_is_not_aligned(tmp_path, channels):
    save_policy(policy(channels), tmp_path / "stack.safetensors", {})
    for folder in ("images", "maps"):
        (tmp_path / folder).mkdir()
        for name in "ab":
            Image.fromarray(np.full((36, 36, 3), 9, np.uint8)).save(tmp_path / folder / f"{name}.png")
    options = ["--maps", "images,maps", "--source", "human", "--methods", "gradient"]
    refused = lcd_command("align", "stack.safetensors", *options, cwd=tmp_path)
    assert refused.returncode == 2
    assert f"takes images of {channels} channels, and these have 3" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_texts_of_a_table_open_no_tag_or_comment_in_the_report():
    assert "<" not in _json({"reason": "<!-- <script> x </script>"})
    assert _json({"a": "1 < 2"}) == '{"a": "1 \\u003c 2"}'


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("game", r"$\frac{$", "which is no name of a game"),
        ("game", "back\\slash", "which is no name of a game"),
        ("seeds", -1, "a number below 1 in the column 'seeds'"),
        ("core_hours", -5.0, "a number below 0 in the column 'core_hours'"),
        ("budget", 0, "a number below 1 in the column 'budget'"),
        ("best", -99.0, "constants that cannot be"),
        ("verdict", "zzz", "'zzz' in the column 'verdict'"),
    ],
)
def test_values_that_no_survey_writes_are_refused(tmp_path, column, value, sentence):
    lcd.load_reference("procgen-easy").write(tmp_path)
    (tmp_path / SUMS).unlink()
    tables = {name: pd.read_csv(tmp_path / f"{name}.csv") for name in ("games", "scores", "curves", "demands")}
    if column == "game":
        for name, table in tables.items():
            table["game"] = table["game"].replace("maze", value)
            table.to_csv(tmp_path / f"{name}.csv", index=False)
    else:
        tables["games"].loc[3, column] = value
        tables["games"].to_csv(tmp_path / "games.csv", index=False)
    with pytest.raises(ValueError, match=sentence):
        SurveyTables.read(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"episodes_per_env": each} for each in ("2", 1.5, None, True, 10**12)),
        *({"max_episode_steps": each} for each in ("x", None, float("nan"), 0)),
        *({"seed": each} for each in ("x", None, -1)),
        {"inverse_temperature": float("nan")},
        {"inverse_temperature": "1"},
    ],
)
def test_an_evaluation_with_impossible_numbers_is_refused(wrong):
    with little(), pytest.raises(ValueError, match=r"^[^\n]+$"):
        evaluate(ColourTeacher(), ColourGame(2, "semantic"), **wrong)


@pytest.mark.parametrize("env", [None, "maze", object()])
def test_an_evaluation_in_no_vector_environment_is_refused(env):
    with pytest.raises(ValueError, match="a vector environment of Stable-Baselines3, not in"):
        evaluate(ColourTeacher(), env)


def test_an_evaluation_in_a_single_game_is_refused():
    import gymnasium

    with pytest.raises(ValueError, match="a vector environment of Stable-Baselines3"):
        evaluate(ColourTeacher(), gymnasium.make("CartPole-v1"))


@pytest.mark.parametrize(
    "ask",
    [
        lambda: align_network(None),
        lambda: align_network("a.safetensors", maps=3),
        lambda: lcd.survey(None),
        lambda: Survey.read(None),
        lambda: SurveyTables.read(None),
        lambda: Taxonomy.read(None),
        lambda: Store(None),
        lambda: Store("a\0b"),
        lambda: lcd.calibrate(3),
        lambda: lcd.calibrate([]),
        lambda: harmonized_plan(None, "x"),
        lambda: lcd.examine("maze", seconds="x"),
        lambda: lcd.examine("maze", seconds=float("nan")),
        lambda: lcd.examine("maze", seconds=-1),
        lambda: lcd.Diagnosis.from_episodes(None, game="maze", budget=1, normalisation=(0, 1)),
        lambda: lcd.diagnose("maze", "smoke", out="a\0b"),
        lambda: lcd.diagnose(".a:C", "smoke"),
        lambda: lcd.diagnose(":x", "smoke"),
        lambda: lcd.diagnose("own_games:Hidden", "smoke", semantic=".a:C"),
    ],
)
def test_arguments_of_other_kinds_are_one_sentence_everywhere(ask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        ask()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".a", "..", "a..b", "a b", "a/b"])
def test_a_module_by_no_name_is_not_imported(name):
    with pytest.raises(ImportError, match="is no name of a module"):
        import_named(name)


def test_a_checkpoint_that_goes_away_while_it_is_read_is_none(tmp_path, monkeypatch):
    """Another process has finished the run."""
    file = tmp_path / "x.pt"
    checkpoint = Checkpoint(file, {})
    checkpoint.write({})

    def gone(path, *_, **__):
        path.unlink()
        from lcd.io.untrusted import UnreadableFileError

        raise UnreadableFileError("gone")

    monkeypatch.setattr("lcd.experiments.checkpoint.read_pickled", gone)
    assert checkpoint.read() is None


@pytest.mark.parametrize("best", [1e-320, 1e-300, 0.0, -1.0])
def test_constants_without_a_range_are_refused(best):
    with pytest.raises(ValueError, match="must exceed random"):
        Normalisation(0.0, best, "given")


def test_a_backbone_whose_weights_are_not_finite_is_refused_and_one_in_doubles_is_taken():
    frames = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    broken = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36 * 36, 4))
    broken[1].weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"The weights 1\.weight of the backbone Sequential are not finite"):
        ModuleEncoder(frames, Backbone(broken))

    class Doubles(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :8].double()

    encoder = ModuleEncoder(frames, Backbone(Doubles()))
    assert encoder(torch.zeros(2, 3, 36, 36, dtype=torch.uint8)).dtype == torch.float32


@pytest.mark.parametrize(
    ("processor", "sentence"),
    [
        ({"do_grayscale": True}, "the step do_grayscale, which is not known"),
        ({"do_color_quantize": True}, "the step do_color_quantize"),
        ({"rescale_factor": [1]}, "as rescale_factor, where a number above 0 belongs"),
        ({"image_mean": [0.5, 0.5]}, "where three finite numbers belong"),
        ({"image_mean": [0.5] * 4}, "where three finite numbers belong"),
    ],
)
def test_what_a_processor_does_besides_is_refused(processor, sentence):
    with pytest.raises(ValueError, match=sentence):
        settings_of(SimpleNamespace(**processor))


@pytest.mark.parametrize(
    ("processor", "words"),
    [
        ({"resample": [1]}, "resample"),
        ({"image_std": 0.0, "image_mean": 0.0}, "image_std"),
        ({"image_std": [0.5, 0.5, -0.5], "image_mean": 0.0}, "image_std"),
        ({"image_mean": float("inf"), "image_std": 1.0}, "three finite numbers"),
        ({"rescale_factor": float("nan")}, "rescale_factor"),
        ({"rescale_factor": 0}, "rescale_factor"),
        ({"rescale_factor": -1.0}, "rescale_factor"),
        ({"do_thumbnail": 1}, "do_thumbnail"),
    ],
)
def test_values_of_a_processor_that_cannot_be_are_refused(processor, words):
    with pytest.raises(ValueError, match=words):
        settings_of(SimpleNamespace(**processor))


@pytest.mark.parametrize("size", [-1, 0, "x", "224", [1.5], 224.5, True, 10**9, {"height": 224, "width": "wide"}])
def test_a_processors_size_that_cannot_be_is_refused(size):
    with pytest.raises(ValueError, match="in its size, where a number of pixels from 1"):
        size_of(SimpleNamespace(size=size), SimpleNamespace())


def test_a_processors_size_of_one_number_is_square_and_of_three_is_refused():
    config = SimpleNamespace()
    assert size_of(SimpleNamespace(size=(224,)), config) == 224
    with pytest.raises(ValueError, match="where a height and a width belong"):
        size_of(SimpleNamespace(size=(1, 2, 3)), config)


def test_games_of_a_survey_are_asked_for_by_any_of_their_names():
    survey = Survey(("maze", "starpilot"))
    assert survey.only(["lcd/Maze-v0"]).games == ("maze",)
    assert survey.only(["StarPilot", "starpilot"]).games == ("starpilot",)
    with pytest.raises(ValueError, match="The survey has no game 'coinrun'"):
        survey.only(["coinrun"])


@pytest.mark.parametrize("name", [".unfinished", "run"])
def test_a_file_in_the_place_of_a_runs_folder_is_found_before_training(trained, tmp_path, name):
    run = trained.plan.cells[0]
    (tmp_path / (run.name if name == "run" else name)).write_text("")
    with pytest.raises(ValueError, match="is a file, where a run's folder belongs: remove it"):
        Store(tmp_path).check([run])


def test_encoders_of_a_game_with_other_settings_are_other_files():
    games = [
        game_options("MiniGrid-Empty-5x5-v0", **settings)
        for settings in ({}, {"max_episode_steps": 7}, {"env_kwargs": {"agent_start_pos": None}}, {"semantic": "none"})
    ]
    files = [default_file(options, Pretraining("autoencoding"), None).name for options in games]
    assert files[0] == "MiniGrid-Empty-5x5-v0-autoencoding.safetensors"
    assert len(set(files)) == len(files)
    hard = default_file(game_options("maze", distribution_mode="hard"), Pretraining("autoencoding"), None)
    assert hard.name == "maze-autoencoding-hard.safetensors"


def test_a_run_with_an_encoder_from_a_file_keeps_its_identity():
    """It was computed under the checksum's earlier name."""
    run = plan_game("maze", TINY).cells[0]
    with_file = replace(run, encoder="nature@file.safetensors", encoder_checksum="ab" * 32)
    data = {"training_version": TRAINING_VERSION} | with_file.as_dict()
    data["encoder"] = EncoderName.read(with_file.encoder).without_weights
    data["eye"] = data.pop("encoder_checksum")
    assert with_file.identity == hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]
    older = with_file.as_dict()
    older["eye"] = older.pop("encoder_checksum")
    assert RunSettings.from_dict(older) == with_file


def test_views_and_learners_that_cannot_be_are_refused_in_a_run():
    taught, of_courier = (
        next(run for run in plan_game(game, TINY).cells if (run.view, run.learning) == ("semantic", "imitation"))
        for game in ("plunder", "courier")
    )
    with pytest.raises(ValueError, match="plunder has no label of the player"):
        replace(taught, view="centred")
    with pytest.raises(ValueError, match="Rewards are shaped by the value of a teacher"):
        replace(of_courier, learning="shaped")
    with pytest.raises(ValueError, match="The learner 'shaped' needs a teacher"):
        replace(taught, learning="shaped", teacher=None)


def test_training_that_does_not_begin_with_the_first_level_is_refused():
    """A record tells no first level, so that another one's runs would be taken for it."""
    run = plan_game("courier", TINY).cells[0]
    for options in (CourierOptions(num_levels=10, start_level=5), game_options("own_games:Grid", num_levels=10)):
        with pytest.raises(ValueError, match="Training begins with level 0, not 5"):
            replace(run, options=replace(options, start_level=5))


def test_a_record_of_somebody_elses_runs_nothing_that_it_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "trap.py").write_text("from pathlib import Path\nPath('sprung').touch()\nMyGame = print\n")
    run = plan_game("courier", TINY).cells[1]
    harmless = game_options("own_games:Grid", num_levels=10)
    record = replace(run, options=harmless, view="semantic").as_dict()
    for view in ("pixels", "semantic", "centred"):
        for improvement in (None, "invariant-colour"):
            given = (
                record | {"view": view, "game": "trap:MyGame"} | ({"improvement": improvement} if improvement else {})
            )
            with suppress(ValueError):
                RunSettings.from_dict(json.loads(json.dumps(given)))
            with suppress(ValueError):
                unseen_levels({"run": given})
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("game", [None, "maze", "own_games:Grid"])
def test_a_film_of_a_file_imports_nothing_that_the_file_names(game, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')\n")
    run = plan_game("courier", TINY).cells[0]
    options = game_options("own_games:Grid", num_levels=10, semantic="trap:Wrapper")
    record = replace(run, options=game_options("own_games:Grid", num_levels=10)).as_dict()
    record["env"] = options.as_record()["env"]
    save_policy(policy(3), file := tmp_path / "policy.safetensors", {"run": record})
    with pytest.raises(ValueError, match=r"whose code would be run: if you trust it|plays own_games:Grid, not maze"):
        _of_run(file, game, False)


@pytest.mark.parametrize("encoder", ["timm:hf-hub:somebody/model", "hf:somebody/model+frozen", "own_encoders:Tiny"])
def test_a_survey_of_somebody_elses_fetches_and_imports_no_encoder(encoder, tmp_path):
    file = tmp_path / "survey.toml"
    file.write_text(f'games = ["maze"]\nencoder = "{encoder}"\n')
    with pytest.raises(ValueError, match=r"whose (code would be run|weights would be fetched): if you trust the file"):
        Survey.read(file)
    assert Survey.read(file, trust=True).changes["encoder"] == encoder


def test_a_teacher_that_was_exchanged_after_planning_is_not_imported(tmp_path, monkeypatch):
    save_policy(policy(3), file := tmp_path / "teacher.safetensors", {})
    run = next(each for each in plan_game("courier", TINY).cells if each.learning == "imitation")
    planned = replace(run, teacher=checksum(file))
    assert teacher_of(planned, file) is not None
    space, name = spaces.Box(0, 255, (3, 64, 64), np.uint8), import_encoder("own_encoders:Tiny")
    other = EncoderPolicy(space, spaces.Discrete(3), lambda left: 1e-3, name)
    save_policy(other, file, {})
    monkeypatch.setattr("lcd.agents.policy_file.import_encoder", lambda name: pytest.fail("imported"))
    for identity in (planned.teacher, "0123456789ab"):
        with pytest.raises(ValueError, match="has changed since the run was planned"):
            teacher_of(replace(run, teacher=identity), file)


@pytest.mark.parametrize("given", [{"memory": -1}, {"num_envs": 4, "rollout_steps": 2, "minibatches": 8}])
def test_hyperparameters_that_no_learner_takes_are_refused(given):
    with pytest.raises(ValueError, match=r"memory|hold one each: take fewer"):
        Hyperparameters(**given)


def test_colours_are_changed_of_colour_frames():
    grey = replace(plan_game("courier", TINY).cells[0], options=game_options("own_games:Grey", num_levels=10))
    assert improved_run(grey, get_improvement("invariant-crop")).improvement == "invariant-crop"
    for name in ("augment-colour", "invariant-colour"):
        with pytest.raises(ValueError, match="is of colour frames, and those of own_games:Grey have 1 channels"):
            improved_run(grey, get_improvement(name))
    frozen = replace(plan_game("courier", TINY).cells[0], encoder="nature+frozen")
    with pytest.raises(ValueError, match=r"trains the encoder, and 'nature\+frozen' is frozen"):
        improved_run(frozen, get_improvement("invariant-crop"))


def test_grey_frames_are_not_harmonized():
    plan = replace(plan_game("courier", TINY), game="own_games:Grey")
    grey = game_options("own_games:Grey", num_levels=10)
    cells = tuple(replace(run, options=grey, teacher=None, learning="rl") for run in plan.cells)
    with pytest.raises(ValueError, match="Importance maps are of colour frames, and those of own_games:Grey have 1"):
        harmonized_plan(replace(plan, cells=cells), 1.0)


def test_games_of_an_installed_package_that_is_broken_break_no_others(monkeypatch):
    broken = EntryPoint("broken", "no_such_package:GAMES", "lcd.games")
    monkeypatch.setattr("lcd.envs.family.entry_points", lambda group: [broken])
    families.cache_clear()
    with pytest.warns(UserWarning, match="no_such_package:GAMES, an installed package's, cannot be imported"):
        assert find_game("own_games:Grid")[1] == "own_games:Grid"
    families.cache_clear()


def test_own_modules_with_infinite_buffers_and_harmless_processors_are_taken():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mask", torch.full((4, 4), -torch.inf))

        def forward(self, images):
            return images.flatten(1)[:, :8]

    ModuleEncoder(spaces.Box(0, 255, (3, 36, 36), np.uint8), Backbone(Masked()))
    settings_of(SimpleNamespace(do_reduce_labels=True, do_pad=True, image_mean=np.array([0.5, 0.5, 0.5])))


def test_a_path_that_cannot_be_is_bad_input():
    with pytest.raises(OSError, match="too long") as caught:
        Path("a" * 3000).stat()
    assert exit_status(caught.value) == BAD_INPUT


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), BrokenProcessPool("abruptly")])
def test_memory_that_runs_out_is_one_sentence(error):
    assert exit_status(error) == FAILURE
    assert re.fullmatch(r"(The memory of the GPU|A process was ended)[^\n]* use [^\n]*\.", sentence(error))


def test_one_of_two_folders_of_maps_is_not_enough(tmp_path):
    save_policy(policy(3), tmp_path / "model.safetensors", {})
    refused = lcd_command("align", "model.safetensors", "--maps", "images,", "--source", "human", cwd=tmp_path)
    assert refused.returncode == 2
    assert "--maps images, names one folder: give two" in refused.stderr


def test_a_game_that_fails_while_it_is_planned_is_one_sentence(tmp_path):
    """Before a run takes over: levels are compared as the plan is made."""
    ended = lcd_command(
        "diagnose", "own_games:Broken", "--env-kwargs", '{"how": "crash"}', "--preset", "smoke", cwd=tmp_path
    )
    assert (ended.returncode, ended.stderr.strip().count("\n")) == (1, 0)
    assert ended.stderr.startswith("Error: own_games:Broken fails in step")
