"""How reference teachers are made."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch

from lcd.agents import PPO, load_policy
from lcd.envs import GAMES, ProcgenOptions
from lcd.envs.procgen.actions import action_classes
from lcd.experiments.settings import Hyperparameters
from lcd.teachers import training
from lcd.teachers.encoders.egocentric import Egocentric
from lcd.teachers.initial import untaught
from lcd.teachers.making import make_teacher
from lcd.teachers.recipes import RECIPES, WAY, Recipe
from lcd.teachers.search import SearchSettings
from lcd.teachers.training import LEG, Course, reinforce

SMALL = Hyperparameters(num_envs=4, rollout_steps=16, minibatches=2)
TINY = Recipe(WAY, steps=256, encoder="impoola:4", hyperparameters=SMALL)


@pytest.fixture
def _short_legs(monkeypatch):
    monkeypatch.setattr(training, "LEG", 64)


def test_every_game_has_a_recipe_that_can_try_all_its_actions():
    assert set(RECIPES) == set(GAMES)
    for game, recipe in RECIPES.items():
        if isinstance(recipe.expert, SearchSettings):
            assert recipe.expert.num_plans > len(action_classes(game))


def same_weights(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


class Interrupted(Exception):
    pass


@pytest.mark.usefixtures("_short_legs")
@pytest.mark.parametrize(("game", "guide"), [("bigfish", None), ("maze", "way"), ("chaser", "wary")])
def test_an_interrupted_course_ends_with_the_same_weights(tmp_path, game, guide):
    options, course = ProcgenOptions(game, num_levels=50), Course(256, SMALL, "impoola:4", guide=guide)
    folders = [tmp_path / name for name in ("whole", "parts")]
    for folder in folders:
        folder.mkdir()
    whole = reinforce(options, course, folders[0])
    told = []

    def report(line):
        told.append(line)
        if len(told) == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        reinforce(options, course, folders[1], report=report)
    assert same_weights(reinforce(options, course, folders[1], report=report), whole)
    assert len(told) == course.legs == 4
    assert not same_weights(whole, untaught(game, "impoola:4"))
    tables = [pd.read_csv(folder / "legs.csv") for folder in folders]
    assert tables[0]["steps"].tolist() == [64, 128, 192, 256]
    measured = ["steps", "mean_return", "episodes", "entropy"]
    pd.testing.assert_frame_equal(tables[0][measured], tables[1][measured])


@pytest.mark.usefixtures("_short_legs")
def test_a_longer_course_goes_on_from_where_the_shorter_one_cooled_down(tmp_path):
    options = ProcgenOptions("bigfish", num_levels=50)
    told = []
    reinforce(options, Course(256, SMALL, "impoola:4"), tmp_path)
    longer = reinforce(options, Course(512, SMALL, "impoola:4"), tmp_path, report=told.append)
    assert len(told) == 8 - 3  # of the four legs of the shorter course, the last had cooled down
    (tmp_path / "fresh").mkdir()
    assert same_weights(reinforce(options, Course(512, SMALL, "impoola:4"), tmp_path / "fresh"), longer)


@pytest.mark.usefixtures("_short_legs")
def test_arranging_maps_once_and_in_every_epoch_train_the_same(tmp_path, monkeypatch):
    options, course = ProcgenOptions("bigfish", num_levels=50), Course(128, SMALL, "egocentric:8")
    folders = [tmp_path / name for name in ("once", "always")]
    for folder in folders:
        folder.mkdir()
    once = reinforce(options, course, folders[0])
    monkeypatch.setattr(training, "_Arranged", lambda games, encoder: games)
    monkeypatch.setattr(Egocentric, "arranges", property(lambda encoder: True, lambda encoder, value: None))
    assert same_weights(reinforce(options, course, folders[1]), once)
    assert not same_weights(once, untaught("bigfish", "egocentric:8"))


@pytest.mark.usefixtures("_short_legs")
def test_a_damaged_leg_is_named(tmp_path):
    options, course = ProcgenOptions("bigfish", num_levels=50), Course(128, SMALL, "impoola:4")
    reinforce(options, course, tmp_path)
    last = tmp_path / "leg-1.pt"
    whole = last.read_bytes()
    for damage in (whole[: len(whole) // 2], b"", b"text"):
        last.write_bytes(damage)
        with pytest.raises(ValueError, match=r"leg-1\.pt is damaged: remove it"):
            reinforce(options, course, tmp_path)


def test_a_course_cools_down_over_its_last_quarter_or_all_the_way():
    course = Course(8 * LEG, SMALL, "nature")
    assert [course.warmth(leg) for leg in range(8)] == [1, 1, 1, 1, 1, 1, 1, 0.5]
    assert course.warmth(7, 0.0) == 0
    assert [course.cools(leg) for leg in range(8)] == [False] * 6 + [True] * 2
    going_on = replace(course, cool_down=1.0)
    assert [going_on.warmth(leg) for leg in range(8)] == [1 - leg / 8 for leg in range(8)]
    assert all(going_on.cools(leg) for leg in range(8))


@pytest.mark.usefixtures("_short_legs")
def test_an_encoders_own_learning_rate_falls_with_that_of_the_whole_course(tmp_path, monkeypatch):
    seen = []
    train = PPO.train

    def watched(model):
        train(model)
        seen.append([group["lr"] for group in model.policy.optimizer.param_groups])

    monkeypatch.setattr(PPO, "train", watched)
    course = Course(256, SMALL, "small+tuned=1e-4", cool_down=1.0)
    reinforce(ProcgenOptions("bigfish", num_levels=50), course, tmp_path)
    assert len(seen) == 4
    assert seen[-1][0] < SMALL.learning_rate / 3
    for rest, own in seen:
        assert own == pytest.approx(rest * 1e-4 / SMALL.learning_rate)


@pytest.mark.usefixtures("_short_legs")
def test_the_weight_of_entropy_and_the_learning_rate_cool_down_together(tmp_path, monkeypatch):
    seen = []
    train = PPO.train

    def watched(model):
        train(model)
        seen.append(
            (model.policy.optimizer.param_groups[0]["lr"] / SMALL.learning_rate, model.ent_coef / SMALL.entropy)
        )

    monkeypatch.setattr(PPO, "train", watched)
    reinforce(ProcgenOptions("bigfish", num_levels=50), Course(256, SMALL, "impoola:4", cool_down=0.5), tmp_path)
    rates, weights = zip(*seen, strict=True)
    assert weights == (1, 1, 1, 0.5)
    assert rates[:2] == (1, 1)
    assert rates[3] < rates[2] <= 1


@pytest.mark.usefixtures("_short_legs")
def test_a_teacher_of_one_recipe_is_not_made_in_the_folder_of_another(tmp_path):
    options = ProcgenOptions("maze", num_levels=50)
    path, card = make_teacher(options, TINY, tmp_path, episodes=4, expert_episodes=2)
    assert load_policy(path)[1]["recipe"] == card.recipe
    assert card.expert.mean == 10
    assert card.steps == 256
    with pytest.raises(ValueError, match="another recipe for maze"):
        make_teacher(options, replace(TINY, encoder="impoola:8"), tmp_path)
