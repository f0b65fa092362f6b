"""The seams for new games, views and learners: each is an entry of a registry."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY

from lcd.agents import PPO
from lcd.envs import families, find_game, make_vec_env
from lcd.envs.family import game_options, observation_space, options_from_record
from lcd.envs.views import BLIND, VIEWS, View, drawn_for, register_view
from lcd.experiments.learners import LEARNERS, Learner
from lcd.experiments.plan import plan_game
from lcd.experiments.run import learner
from lcd.experiments.settings import RunSettings


@pytest.mark.parametrize(
    ("name", "family", "game"),
    [
        ("StarPilot", "procgen", "starpilot"),
        ("lcd/StarPilot-v0", "procgen", "starpilot"),
        ("lcd/Courier-v0", "calibration", "courier"),
        ("tracker", "calibration", "tracker"),
        ("Courier-delay1-clutter0.50", "calibration", "courier-clutter0.5-delay1"),
        ("courier-clutter0", "calibration", "courier"),
        ("tracker-distractors15-texturesseen", "calibration", "tracker-distractors15-texturesseen"),
        ("tracker-coloursheld-out-shapesheld-out", "calibration", "tracker-coloursheld-out-shapesheld-out"),
        ("courier-clutter0.00001", "calibration", "courier-clutter0.00001"),
        ("courier-clutter0.3333333333333333", "calibration", "courier-clutter0.3333333333333333"),
        ("own_games:Grid", "external", "own_games:Grid"),
        ("CartPole-v1", "external", "CartPole-v1"),
    ],
)
def test_each_game_is_found_in_its_family(name, family, game):
    found, called = find_game(name)
    assert (found.name, called) == (family, game)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("courier-cluter1", "courier has no setting 'cluter1'"),
        ("courier-", "courier has no setting ''"),
        ("courier-clutter2", "The difficulty factor clutter must be a number from 0 to 1, not 2"),
        ("courier-delay1-delay0.5", "gives a setting twice"),
        ("tracker-clutter1", "tracker has no setting 'clutter'"),
        ("tracker-num_levels5", "tracker has no setting 'num_levels5'"),
    ],
)
def test_a_setting_in_a_name_that_the_game_has_not_is_refused(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        find_game(name)


def test_games_with_settings_in_their_names_are_planned_apart_and_share_label_maps():
    plans = {name: plan_game(name, TINY) for name in ("courier", "courier-clutter1", "courier-delay1")}
    assert [plan.game for plan in plans.values()] == list(plans)
    runs = {
        name: {(run.view, run.learning): run.identity for run in plan.cells if run.seed == 0}
        for name, plan in plans.items()
    }
    plain, cluttered, delayed = runs.values()
    shared = {cell for cell in plain if plain[cell] == cluttered[cell]}
    assert shared == {("semantic", "rl"), ("semantic", "imitation")}
    assert {cell for cell in plain if plain[cell] == delayed[cell]} == {
        ("pixels", "imitation"),
        ("semantic", "imitation"),
    }
    with pytest.raises(ValueError, match="gives a setting twice"):
        game_options("courier-delay1", delay=0.5)


def test_every_family_describes_its_games_alike():
    for family in families().values():
        for game in family.games:
            for options in family.usual_options(game):
                assert options_from_record(options.training_levels(200).as_record())[0] == options.training_levels(200)
                classes = family.action_classes(options)
                actions = sorted(action for members in classes for action in members)
                assert actions == list(range(int(family.action_space(options).n)))
                names = family.label_names(options)
                assert family.relevant_labels(options) <= names.keys() - {0}
                assert max(names) <= observation_space(options, "semantic").high.max()
                constants = family.normalisation(options)
                assert constants is None or constants.random < constants.best


def test_the_blind_view_shows_nothing():
    env = make_vec_env(game_options("coinrun", num_levels=5), 2, "blind")
    assert not env.reset().any()
    observed, *_ = env.step(np.array([7, 7]))
    assert observed.shape == (2, 64, 64, 3)
    assert not observed.any()
    env.close()


def test_a_learner_of_any_view_is_built():
    run = next(run for run in plan_game("maze", TINY).cells if (run.view, run.learning) == ("pixels", "rl"))
    blind = replace(run, view=BLIND.name)
    assert "blind" in blind.name
    assert blind.identity != run.identity
    assert RunSettings.from_dict(blind.as_dict()) == blind
    model, env = learner(blind, None, "cpu", 0)
    model.learn(blind.hyperparameters.rollout)
    env.close()


def test_a_new_view_is_an_entry_of_the_registry(monkeypatch):
    monkeypatch.setattr("lcd.envs.views.VIEWS", dict(VIEWS))
    flipped = View("flipped", "image", "where left is", base="pixels", transform=lambda frames: frames[..., ::-1, :])
    register_view(flipped)
    options = game_options("maze", num_levels=5)
    assert drawn_for(["flipped"]) == "pixels"
    assert drawn_for(["flipped", "semantic"]) == "both"
    env, plain = make_vec_env(options, 2, ("flipped", "semantic"), seed=1), make_vec_env(options, 2, "pixels", seed=1)
    seen = env.reset()
    assert np.array_equal(seen["flipped"], plain.reset()[:, :, ::-1])
    assert seen["semantic"].shape == (2, 64, 64)
    with pytest.raises(ValueError, match="There is a view 'flipped' already"):
        register_view(flipped)
    with pytest.raises(ValueError, match="must have a transform"):
        register_view(View("other", "image", "nothing"))


def test_a_new_learner_is_an_entry_of_the_registry(monkeypatch):
    def greedy(*, teacher, mixing, memory, **arguments):
        return PPO(**(arguments | {"ent_coef": 0.0}))

    monkeypatch.setitem(LEARNERS, "greedy", Learner("greedy", False, greedy, greedy))
    run = replace(plan_game("maze", TINY).cells[0], learning="greedy")
    model, env = learner(run, None, "cpu", 0)
    assert model.ent_coef == 0.0
    env.close()


def test_a_learner_without_a_view_of_the_game_is_refused():
    run = plan_game("maze", TINY).cells[0]
    for change, words in (
        ({"view": "smell"}, "Unknown view 'smell'"),
        ({"learning": "luck"}, "kind of learning 'luck'"),
    ):
        with pytest.raises(ValueError, match=words):
            replace(run, **change)


def test_label_maps_are_the_teachers_view_whatever_the_student_sees():
    (run, *_) = [run for run in plan_game("courier", TINY).cells if run.learning == "imitation"]
    blind = replace(run, view=BLIND.name)
    from lcd.experiments.run import teacher_of

    model, env = learner(blind, teacher_of(blind, None), "cpu", 0)
    model.learn(blind.hyperparameters.rollout)
    assert not torch.as_tensor(model._last_obs).any()
    env.close()
