"""How reference teachers are made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from agents import load_policy
from agents.egocentric import Egocentric
from agents.search import SearchSettings
from envs import GAMES, ProcgenOptions
from envs.actions import action_classes
from lcd.teachers import advice as advising
from lcd.teachers import distillation, reinforcement
from lcd.teachers.advice import take_advice
from lcd.teachers.demonstrations import Demonstrations, demonstrate
from lcd.teachers.distillation import class_chances, class_log_probabilities, distil
from lcd.teachers.making import make_teacher
from lcd.teachers.recipes import RECIPES, Advice, Recipe
from lcd.teachers.reinforcement import LEG, Course, reinforce
from lcd.teachers.student import untaught
from lcd.training.settings import Hyperparameters

SEARCH = SearchSettings(horizon=4, num_plans=12, route_weight=0.1)
SMALL = Hyperparameters(num_envs=4, rollout_steps=16, minibatches=2)
TINY = Recipe(
    SEARCH, steps=256, advice=Advice(states=32, rounds=2, epochs=1), encoder="impoola:4", hyperparameters=SMALL
)


@pytest.fixture
def student():
    return untaught("maze", "impoola:4")


@pytest.fixture
def _short_legs(monkeypatch):
    monkeypatch.setattr(reinforcement, "LEG", 64)


def test_every_game_has_a_recipe_that_can_try_all_its_actions():
    assert set(RECIPES) == set(GAMES)
    for game, recipe in RECIPES.items():
        assert recipe.expert.num_plans > len(action_classes(game))


def same_weights(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_demonstrations_label_what_is_seen(tmp_path, student):
    options = ProcgenOptions("maze")
    shown = demonstrate(options, SEARCH, Advice(), 100, student, seed=1)
    assert shown.observations.shape == (100, 64, 64)
    assert shown.action_values.shape == (100, 15)
    assert np.isfinite(shown.action_values).all()
    for members in action_classes("maze"):
        assert (np.ptp(shown.action_values[:, list(members)], axis=1) == 0).all()
    shown.save(tmp_path / "shown.npz")
    loaded = Demonstrations.load(tmp_path / "shown.npz")
    assert np.array_equal(loaded.observations, shown.observations)
    assert np.array_equal(loaded.action_values, shown.action_values)
    assert [path.name for path in tmp_path.iterdir()] == ["shown.npz"]


def test_the_same_seed_shows_the_same(student):
    options = ProcgenOptions("starpilot")
    shown = [demonstrate(options, SearchSettings(4, 12), Advice(), 64, student, seed=2) for _ in range(2)]
    assert np.array_equal(shown[0].observations, shown[1].observations)
    assert np.array_equal(shown[0].action_values, shown[1].action_values)


def test_the_expert_alone_finishes_mazes():
    shown = demonstrate(ProcgenOptions("maze"), RECIPES["maze"].expert, Advice(), 400)
    assert len(shown.expert_returns) >= 10
    assert shown.expert_returns.mean() == 10


def test_a_better_class_is_likelier_by_the_temperature():
    values = np.zeros((1, 15))
    up = action_classes("maze").index((5,))
    values[:, 5] = 0.3
    chances = class_chances(values, action_classes("maze"), temperature=0.1)
    assert chances.shape == (1, 5)
    assert float(chances.sum()) == pytest.approx(1)
    assert np.allclose(np.log(chances[0, up] / np.delete(chances[0].numpy(), up)), 3)


def test_the_chances_of_a_class_are_the_sum_over_its_actions():
    chances = torch.softmax(torch.randn(4, 15, generator=torch.Generator().manual_seed(0)), dim=1)
    classes = class_log_probabilities(chances.log(), action_classes("leaper")).exp()
    assert torch.allclose(classes[:, 0], chances[:, [0, 1, 2]].sum(dim=1))
    assert torch.allclose(classes.sum(dim=1), torch.ones(4))


def test_a_policy_learns_what_the_labels_say(monkeypatch):
    monkeypatch.setattr(distillation, "BATCH_SIZE", 32)
    student = untaught("maze", "nature:32")
    random = np.random.default_rng(0)
    wanted = random.integers(5, size=512)
    observations = np.zeros((512, 64, 64), np.uint8)
    observations[:] = (1 + 13 * wanted[:, None, None]).astype(np.uint8)
    values = np.zeros((512, 15), np.float32)
    for number, members in enumerate(action_classes("maze")):
        values[np.ix_(wanted == number, members)] = 1
    shown = Demonstrations(observations, values, np.zeros(0, np.float32))
    reached = distil(student, [shown], temperature=0.1, epochs=16)
    assert reached["agreement"] > 0.95
    assert reached["loss"] < 0.5


def test_advice_is_taken_in_rounds_and_goes_on_where_it_stopped(tmp_path):
    told = []
    options = ProcgenOptions("maze")
    taught = take_advice(options, TINY, tmp_path, report=told.append)
    assert [line.split(":")[0] for line in told] == ["maze, round 1 of 2"] * 2 + ["maze, round 2 of 2"] * 2
    for lost in ("student-1.safetensors", "round-1-0.npz"):
        (tmp_path / lost).unlink()
    told.clear()
    assert same_weights(take_advice(options, TINY, tmp_path, report=told.append), taught)
    assert len(told) == 2  # the lost part and the student that learned from it
    assert load_policy(tmp_path / "student-1.safetensors")[1]["round"] == 1


class Interrupted(Exception):
    pass


@pytest.mark.usefixtures("_short_legs")
def test_an_interrupted_course_ends_with_the_same_weights(tmp_path):
    options, course = ProcgenOptions("bigfish", num_levels=50), Course(256, SMALL, "impoola:4")
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
    assert not same_weights(whole, untaught("bigfish", "impoola:4"))
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
    monkeypatch.setattr(reinforcement, "_Arranged", lambda games, encoder: games)
    monkeypatch.setattr(Egocentric, "arranges", property(lambda encoder: True, lambda encoder, value: None))
    assert same_weights(reinforce(options, course, folders[1]), once)
    assert not same_weights(once, untaught("bigfish", "egocentric:8"))


def test_the_learning_rate_falls_over_the_last_quarter():
    course = Course(8 * LEG, SMALL, "nature")
    assert [course.learning_rate(leg, 1.0) / SMALL.learning_rate for leg in range(8)] == [1, 1, 1, 1, 1, 1, 1, 0.5]
    assert course.learning_rate(7, 0.0) == 0
    assert [course.cools(leg) for leg in range(8)] == [False] * 6 + [True] * 2


@pytest.mark.usefixtures("_short_legs")
def test_a_teacher_begins_with_what_it_was_advised(tmp_path, monkeypatch):
    monkeypatch.setattr(advising, "SHARD", 32)
    options = ProcgenOptions("maze", num_levels=50)
    still = replace(TINY, hyperparameters=replace(SMALL, learning_rate=1e-30))
    path, card = make_teacher(options, still, tmp_path, episodes=4, expert_episodes=2)
    teacher = load_policy(path)[0].state_dict()
    advised = load_policy(tmp_path / "student-1.safetensors")[0]
    with torch.no_grad():
        for parameter in advised.action_net.parameters():
            parameter.mul_(card.sharpness)
    assert all(
        torch.allclose(value.half().float(), teacher[name], atol=1e-7) for name, value in advised.state_dict().items()
    )
    with pytest.raises(ValueError, match="another recipe for maze"):
        make_teacher(options, replace(still, encoder="impoola:8"), tmp_path)
