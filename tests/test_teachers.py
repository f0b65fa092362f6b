"""Training of reference teachers."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
import torch

from lcd.agents import PPO, load_policy
from lcd.envs import GAMES, ProcgenOptions
from lcd.envs.procgen.actions import action_classes
from lcd.experiments.settings import Hyperparameters
from lcd.teachers import training
from lcd.teachers.encoders.egocentric import Egocentric
from lcd.teachers.initial import untrained_policy
from lcd.teachers.making import make_teacher
from lcd.teachers.recipes import ENEMY_AVOIDING, RECIPES, SHORTEST_PATH, Recipe
from lcd.teachers.search import SearchSettings
from lcd.teachers.training import SEGMENT_STEPS, TrainingRun, train_policy

SMALL = Hyperparameters(num_envs=4, rollout_steps=16, minibatches=2)
TINY = Recipe(SHORTEST_PATH, steps=256, encoder="impoola:4", hyperparameters=SMALL)


@pytest.fixture
def _short_segments(monkeypatch):
    monkeypatch.setattr(training, "SEGMENT_STEPS", 64)


def test_every_game_has_a_recipe_that_can_try_all_its_actions():
    assert set(RECIPES) == set(GAMES)
    for game, recipe in RECIPES.items():
        if isinstance(recipe.expert, SearchSettings):
            assert recipe.expert.num_plans > len(action_classes(game))


def same_weights(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


class Interrupted(Exception):
    pass


@pytest.mark.usefixtures("_short_segments")
@pytest.mark.parametrize(
    ("game", "label_expert"), [("bigfish", None), ("maze", SHORTEST_PATH), ("chaser", ENEMY_AVOIDING)]
)
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, game, label_expert):
    options, run = (
        ProcgenOptions(game, num_levels=50),
        TrainingRun(256, SMALL, "impoola:4", label_expert=label_expert),
    )
    folders = [tmp_path / name for name in ("whole", "parts")]
    for folder in folders:
        folder.mkdir()
    whole = train_policy(options, run, folders[0])
    reports = []

    def report(line):
        reports.append(line)
        if len(reports) == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        train_policy(options, run, folders[1], report=report)
    assert same_weights(train_policy(options, run, folders[1], report=report), whole)
    assert len(reports) == run.segments == 4
    assert not same_weights(whole, untrained_policy(game, "impoola:4"))
    tables = [pd.read_csv(folder / "segments.csv") for folder in folders]
    assert tables[0]["steps"].tolist() == [64, 128, 192, 256]
    measured = ["steps", "mean_return", "episodes", "entropy"]
    pd.testing.assert_frame_equal(tables[0][measured], tables[1][measured])


@pytest.mark.usefixtures("_short_segments")
def test_a_longer_run_resumes_before_the_shorter_ones_annealing(tmp_path):
    options = ProcgenOptions("bigfish", num_levels=50)
    reports = []
    train_policy(options, TrainingRun(256, SMALL, "impoola:4"), tmp_path)
    longer = train_policy(options, TrainingRun(512, SMALL, "impoola:4"), tmp_path, report=reports.append)
    assert len(reports) == 8 - 3  # of the four segments of the shorter run, the last was annealed
    (tmp_path / "fresh").mkdir()
    assert same_weights(train_policy(options, TrainingRun(512, SMALL, "impoola:4"), tmp_path / "fresh"), longer)


@pytest.mark.usefixtures("_short_segments")
def test_arranging_maps_once_and_in_every_epoch_train_the_same(tmp_path, monkeypatch):
    options, run = ProcgenOptions("bigfish", num_levels=50), TrainingRun(128, SMALL, "egocentric:8")
    folders = [tmp_path / name for name in ("once", "always")]
    for folder in folders:
        folder.mkdir()
    once = train_policy(options, run, folders[0])
    monkeypatch.setattr(training, "_ArrangedVecEnv", lambda games, encoder: games)
    monkeypatch.setattr(Egocentric, "arranges", property(lambda encoder: True, lambda encoder, value: None))
    assert same_weights(train_policy(options, run, folders[1]), once)
    assert not same_weights(once, untrained_policy("bigfish", "egocentric:8"))


@pytest.mark.usefixtures("_short_segments")
def test_checkpoints_of_earlier_versions_are_resumed(tmp_path):
    options, run, reports = ProcgenOptions("bigfish", num_levels=50), TrainingRun(128, SMALL, "impoola:4"), []
    whole = train_policy(options, run, tmp_path)
    for number in range(2):
        (tmp_path / f"segment-{number}.pt").rename(tmp_path / f"leg-{number}.pt")
    assert same_weights(train_policy(options, run, tmp_path, report=reports.append), whole)
    assert reports == []


@pytest.mark.usefixtures("_short_segments")
def test_a_damaged_checkpoint_is_named(tmp_path):
    options, run = ProcgenOptions("bigfish", num_levels=50), TrainingRun(128, SMALL, "impoola:4")
    train_policy(options, run, tmp_path)
    last = tmp_path / "segment-1.pt"
    whole = last.read_bytes()
    for damage in (whole[: len(whole) // 2], b"", b"text"):
        last.write_bytes(damage)
        with pytest.raises(ValueError, match=r"segment-1\.pt is damaged \(.*\): remove it"):
            train_policy(options, run, tmp_path)


def _without(name):
    return lambda state: state.pop(name)


def _in_row(**values):
    return lambda state: state["table"][-1].update(values)


def _not_finite(state):
    next(iter(state["policy"].values()))[...] = float("nan")


def _other_moments(state):
    moments = next(iter(state["optimizer"]["state"].values()))
    moments["exp_avg"] = torch.full_like(moments["exp_avg"], float("inf"))


@pytest.mark.usefixtures("_short_segments")
def test_a_checkpoint_of_another_encoder_is_not_called_damaged(tmp_path):
    options = ProcgenOptions("bigfish", num_levels=50)
    (tmp_path / "segment-0.pt").write_bytes(_first_segment())
    with pytest.raises(ValueError, match=r"segment-0\.pt was not made with the encoder impoola:8 .*: name its own"):
        train_policy(options, TrainingRun(64, SMALL, "impoola:8"), tmp_path)


@cache
def _first_segment():
    with TemporaryDirectory() as folder:
        train_policy(ProcgenOptions("bigfish", num_levels=50), TrainingRun(64, SMALL, "impoola:4"), Path(folder))
        return (Path(folder) / "segment-0.pt").read_bytes()


@pytest.mark.usefixtures("_short_segments")
@pytest.mark.parametrize(
    "damage",
    [
        *(_without(name) for name in ("number", "cooled", "table", "policy", "optimizer", "returns")),
        lambda state: state.update(policy=7),
        lambda state: state.update(number="x"),
        lambda state: state.update(cooled=torch.zeros(2)),
        lambda state: state.update(table=[]),
        lambda state: state.update(table=3),
        lambda state: state.update(returns=3),
        lambda state: state.update(returns=[float("nan")] * 3),
        lambda state: state.update(optimizer={}),
        _not_finite,
        _other_moments,
        _in_row(core_hours=float("nan")),
        _in_row(steps="x"),
        _in_row(steps=10**30),
    ],
)
def test_a_checkpoint_that_training_cannot_go_on_from_is_named(tmp_path, damage):
    options, run = ProcgenOptions("bigfish", num_levels=50), TrainingRun(64, SMALL, "impoola:4")
    file = tmp_path / "segment-0.pt"
    file.write_bytes(_first_segment())
    state = torch.load(file, weights_only=True)
    damage(state)
    torch.save(state, file)
    with pytest.raises(ValueError, match=r"^\S*segment-0\.pt is damaged \([^\n]*\): remove it, and training resumes"):
        train_policy(options, run, tmp_path)


def test_the_learning_rate_is_annealed_over_the_last_quarter_or_the_whole_run():
    run = TrainingRun(8 * SEGMENT_STEPS, SMALL, "nature")
    assert [run.annealing_factor(segment) for segment in range(8)] == [1, 1, 1, 1, 1, 1, 1, 0.5]
    assert run.annealing_factor(7, 0.0) == 0
    assert [run.is_annealed(segment) for segment in range(8)] == [False] * 6 + [True] * 2
    throughout = replace(run, annealed_share=1.0)
    assert [throughout.annealing_factor(segment) for segment in range(8)] == [1 - segment / 8 for segment in range(8)]
    assert all(throughout.is_annealed(segment) for segment in range(8))


@pytest.mark.usefixtures("_short_segments")
def test_an_encoders_own_learning_rate_is_annealed_too(tmp_path, monkeypatch):
    seen = []
    train = PPO.train

    def watched(model):
        train(model)
        seen.append([group["lr"] for group in model.policy.optimizer.param_groups])

    monkeypatch.setattr(PPO, "train", watched)
    run = TrainingRun(256, SMALL, "small+tuned=1e-4", annealed_share=1.0)
    train_policy(ProcgenOptions("bigfish", num_levels=50), run, tmp_path)
    assert len(seen) == 4
    assert seen[-1][0] < SMALL.learning_rate / 3
    for rest, own in seen:
        assert own == pytest.approx(rest * 1e-4 / SMALL.learning_rate)


@pytest.mark.usefixtures("_short_segments")
def test_entropy_bonus_and_learning_rate_are_annealed_together(tmp_path, monkeypatch):
    seen = []
    train = PPO.train

    def watched(model):
        train(model)
        seen.append(
            (model.policy.optimizer.param_groups[0]["lr"] / SMALL.learning_rate, model.ent_coef / SMALL.entropy)
        )

    monkeypatch.setattr(PPO, "train", watched)
    train_policy(
        ProcgenOptions("bigfish", num_levels=50), TrainingRun(256, SMALL, "impoola:4", annealed_share=0.5), tmp_path
    )
    rates, weights = zip(*seen, strict=True)
    assert weights == (1, 1, 1, 0.5)
    assert rates[:2] == (1, 1)
    assert rates[3] < rates[2] <= 1


@pytest.mark.usefixtures("_short_segments")
def test_a_teacher_of_one_recipe_is_not_made_in_the_folder_of_another(tmp_path):
    options = ProcgenOptions("maze", num_levels=50)
    path, card = make_teacher(options, TINY, tmp_path, episodes=4, expert_episodes=2)
    assert load_policy(path)[1]["recipe"] == card.recipe
    assert card.expert.mean == 10
    assert card.steps == 256
    with pytest.raises(ValueError, match="another recipe for maze"):
        make_teacher(options, replace(TINY, encoder="impoola:8"), tmp_path)
