"""How reference teachers are made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents import EncoderPolicy, load_policy
from agents.search import SearchSettings
from envs import GAMES, ProcgenOptions
from envs.actions import action_classes
from envs.batch import observation_space
from envs.vec_env import ACTION_SPACE
from lcd.teachers import distillation, making
from lcd.teachers.demonstrations import Demonstrations, demonstrate
from lcd.teachers.distillation import class_chances, class_log_probabilities, distil
from lcd.teachers.making import make_teacher
from lcd.teachers.recipes import RECIPES, Recipe

TINY = Recipe(SearchSettings(horizon=4, num_plans=12, route_weight=0.1))


@pytest.fixture
def student():
    return EncoderPolicy(observation_space("semantic"), ACTION_SPACE, lambda _: 0.0, "impoola:4")


def test_every_game_has_a_recipe_that_can_try_all_its_actions():
    assert set(RECIPES) == set(GAMES)
    for game, recipe in RECIPES.items():
        assert recipe.search.num_plans > len(action_classes(game))


def test_demonstrations_label_what_is_seen(tmp_path, student):
    options = ProcgenOptions("maze")
    shown = demonstrate(options, TINY, 100, student, seed=1)
    assert shown.observations.shape == (100, 64, 64)
    assert shown.values.shape == (100, 15)
    assert np.isfinite(shown.values).all()
    for members in action_classes("maze"):
        assert (np.ptp(shown.values[:, list(members)], axis=1) == 0).all()
    shown.save(tmp_path / "shown.npz")
    loaded = Demonstrations.load(tmp_path / "shown.npz")
    assert np.array_equal(loaded.observations, shown.observations)
    assert np.array_equal(loaded.values, shown.values)
    assert [path.name for path in tmp_path.iterdir()] == ["shown.npz"]


def test_the_same_seed_shows_the_same(student):
    options = ProcgenOptions("starpilot")
    shown = [demonstrate(options, replace(TINY, search=SearchSettings(4, 12)), 64, student, seed=2) for _ in range(2)]
    assert np.array_equal(shown[0].observations, shown[1].observations)
    assert np.array_equal(shown[0].values, shown[1].values)


def test_the_expert_alone_finishes_mazes():
    shown = demonstrate(ProcgenOptions("maze"), RECIPES["maze"], 400)
    assert len(shown.expert_returns) >= 10
    assert shown.expert_returns.mean() == 10


def test_a_better_class_is_likelier_by_the_temperature():
    values = np.zeros((1, 15))
    up = action_classes("maze").index((5,))
    values[:, 5] = 0.3
    chances = class_chances(values, "maze", temperature=0.1)
    assert chances.shape == (1, 5)
    assert float(chances.sum()) == pytest.approx(1)
    assert np.allclose(np.log(chances[0, up] / np.delete(chances[0].numpy(), up)), 3)


def test_the_chances_of_a_class_are_the_sum_over_its_actions():
    chances = torch.softmax(torch.randn(4, 15, generator=torch.Generator().manual_seed(0)), dim=1)
    classes = class_log_probabilities(chances.log(), "leaper").exp()
    assert torch.allclose(classes[:, 0], chances[:, [0, 1, 2]].sum(dim=1))
    assert torch.allclose(classes.sum(dim=1), torch.ones(4))


def test_a_policy_learns_what_the_labels_say(monkeypatch):
    monkeypatch.setattr(distillation, "BATCH_SIZE", 32)
    student = EncoderPolicy(observation_space("semantic"), ACTION_SPACE, lambda _: 0.0, "nature:32")
    random = np.random.default_rng(0)
    wanted = random.integers(5, size=512)
    observations = np.zeros((512, 64, 64), np.uint8)
    observations[:] = (1 + 13 * wanted[:, None, None]).astype(np.uint8)
    values = np.zeros((512, 15), np.float32)
    for number, members in enumerate(action_classes("maze")):
        values[np.ix_(wanted == number, members)] = 1
    shown = Demonstrations(observations, values, np.zeros(0, np.float32))
    reached = distil(student, [shown], "maze", temperature=0.1, epochs=16)
    assert reached["agreement"] > 0.95
    assert reached["loss"] < 0.5


def test_a_teacher_is_made_in_rounds_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(making, "EPISODES", 2)
    recipe = replace(TINY, states=32, rounds=2, epochs=1, last_epochs=1, encoder="impoola:4")
    told = []
    file = make_teacher("maze", recipe, tmp_path, report=told.append)
    assert [line.split(":")[0] for line in told] == ["maze, round 1 of 2"] * 2 + ["maze, round 2 of 2"] * 2
    assert load_policy(file)[1]["round"]["states"] == 64
    made = load_policy(file)[0].state_dict()
    for lost in (file, tmp_path / "round-1-0.npz"):
        lost.unlink()
    told.clear()
    assert make_teacher("maze", recipe, tmp_path, report=told.append) == file
    assert len(told) == 2  # the lost shard and the student that learned from it
    assert all(torch.equal(value, made[name]) for name, value in load_policy(file)[0].state_dict().items())
    with pytest.raises(ValueError, match="another recipe for maze"):
        make_teacher("maze", replace(recipe, stride=3), tmp_path)
