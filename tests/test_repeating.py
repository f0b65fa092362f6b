"""Sticky actions and frame skip of other packages' games."""

import gymnasium
import numpy as np
import own_games
import pytest
from gymnasium import spaces
from tiny import TINY

from lcd.envs import family_of, make_vec_env
from lcd.envs.external.making import UnknownGame, make_game
from lcd.envs.external.options import ExternalOptions
from lcd.envs.external.repeating import FrameSkip, StickyActions
from lcd.envs.family import game_options, options_from_record
from lcd.experiments.plan import plan_game

GRID = "own_games:Grid"


class Notes(gymnasium.Env):
    """Notes the actions that are executed, pays them, and ends after ten."""

    observation_space, action_space = spaces.Box(0, 255, (36, 36, 3), np.uint8), spaces.Discrete(1_000_000)

    def __init__(self):
        self.executed = []

    def reset(self, *, seed=None, options=None):
        self.executed.clear()
        return np.zeros((36, 36, 3), np.uint8), {}

    def step(self, action):
        self.executed.append(action)
        return np.full((36, 36, 3), len(self.executed), np.uint8), float(action), len(self.executed) == 10, False, {}


def executed(env, seed, steps=4_000):
    env.reset(seed=seed)
    for action in range(steps):
        env.step(action)
    return np.array(env.unwrapped.executed)


def test_as_many_actions_are_repeated_as_is_asked_for():
    found = executed(StickyActions(Notes(), 0.25), seed=3)
    repeated = (found != np.arange(len(found)))[1:]
    assert found[0] == 0
    assert abs(repeated.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / len(repeated))
    assert (found[1:][repeated] == found[:-1][repeated]).all()  # what was executed last, not what was chosen
    assert (executed(StickyActions(Notes(), 0.0), seed=3) == np.arange(4_000)).all()


def test_the_first_seed_decides_the_draws_and_no_level_has_draws_of_its_own():
    one, other = (StickyActions(Notes(), 0.5) for _ in range(2))
    first, second = (executed(one, seed=7, steps=50).copy() for _ in range(2))
    assert (executed(other, seed=7, steps=50) == first).all()
    assert (first != second).any()


def test_an_action_is_executed_until_the_episode_ends_and_its_rewards_are_added():
    env = FrameSkip(Notes(), 4)
    env.reset(seed=0)
    observation, reward, terminated, _, _ = env.step(5)
    assert (observation == 4).all()
    assert (reward, terminated) == (20.0, False)
    env.step(1)
    assert env.step(3)[1:3] == (6.0, True)
    assert env.unwrapped.executed == [5] * 4 + [1] * 4 + [3] * 2


def test_the_options_of_a_game_put_stickiness_inside_the_skip():
    env = make_game(ExternalOptions(GRID, sticky_actions=0.25, frame_skip=4, max_episode_steps=2))
    layers = []
    while isinstance(env, gymnasium.Wrapper):
        layers.append(type(env))
        env = env.env
    assert layers == [gymnasium.wrappers.TimeLimit, FrameSkip, StickyActions]
    assert type(make_game(ExternalOptions(GRID))) is own_games.Grid


def test_both_are_part_of_a_runs_identity_and_of_its_record():
    plain = game_options(GRID)
    assert plain.as_record()["env"] == {}
    options = game_options(GRID, sticky_actions=0.25, frame_skip=4)
    assert options.as_record()["env"] == {"sticky_actions": 0.25, "frame_skip": 4}
    assert options_from_record(options.as_record())[0] == options
    runs = [plan_game(each, TINY).cells[0] for each in (plain, options, game_options(GRID, frame_skip=4))]
    assert len({run.identity for run in runs}) == 3
    assert game_options(GRID, sticky_actions=0) == game_options(GRID, sticky_actions=0.0)


def test_both_views_stay_in_one_state():
    env = make_vec_env(game_options(GRID, sticky_actions=0.5, frame_skip=2), 4, "both", seed=0)
    shown = env.reset()
    for _ in range(20):
        for picture, labels in zip(shown["pixels"], shown["semantic"], strict=True):
            assert ((picture == 250).all(axis=-1) == (labels == 1)).all()
        shown = env.step(np.ones(4, np.int64))[0]
    env.close()


def test_the_luck_of_sticky_actions_is_not_taken_for_levels():
    alike = game_options("own_games:Alike", num_levels=20, sticky_actions=0.5)
    assert not family_of(alike).levels_differ(alike)


@pytest.mark.parametrize("settings", [{"sticky_actions": 1}, {"sticky_actions": -0.1}, {"frame_skip": 0}])
def test_impossible_settings_are_one_sentence(settings):
    with pytest.raises(ValueError, match=rf"^[^\n]*{next(iter(settings))}[^\n]*$"):
        game_options(GRID, **settings)
    with pytest.raises(ValueError, match="no setting"):
        game_options("maze", **settings)


@pytest.mark.parametrize(
    ("settings", "frame_skip", "frameskip", "sticky"),
    [
        ({}, 4, 1, 0.25),
        ({"sticky_actions": 0.0, "frame_skip": 2}, 2, 1, 0.0),
        ({"sticky_actions": 0.5, "frame_skip": 3, "wrappers": "plain"}, None, 3, 0.5),
    ],
)
def test_ataris_games_repeat_and_skip_by_themselves(settings, frame_skip, frameskip, sticky):
    pytest.importorskip("ale_py")
    env = make_game(game_options("ALE/Breakout-v5", **settings))
    assert env.unwrapped._frameskip == frameskip
    assert env.unwrapped.ale.getFloat("repeat_action_probability") == sticky
    skipping = []
    while isinstance(env, gymnasium.Wrapper):
        assert not isinstance(env, StickyActions | FrameSkip)
        skipping += [env.frame_skip] if isinstance(env, gymnasium.wrappers.AtariPreprocessing) else []
        env = env.env
    assert skipping == ([] if frame_skip is None else [frame_skip])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"env_kwargs": '{"frameskip": 1}', "frame_skip": 2}, "frameskip is in the arguments .* beside frame_skip"),
        ({"env_kwargs": '{"repeat_action_probability": 0.1}', "sticky_actions": 0.1}, "beside sticky_actions"),
    ],
)
def test_atari_is_not_asked_for_the_same_twice(settings, words):
    with pytest.raises(UnknownGame, match=words):
        make_game(game_options("ALE/Breakout-v5", **settings))


def test_no_game_skips_twice():
    pytest.importorskip("ale_py")
    options = game_options("own_games:breakout", frame_skip=4)
    with pytest.raises(UnknownGame, match="repeats and skips by itself: set its arguments"):
        make_game(options)


@pytest.mark.parametrize("num_processes", [0, 2])
def test_sticky_actions_begin_anew_with_the_games(num_processes):
    env = make_vec_env(game_options(GRID, num_levels=5, sticky_actions=0.5), 4, "pixels", 0, num_threads=num_processes)
    played = []
    for seed in (3, 3, 4):
        env.seed(seed)
        env.reset()
        played.append([env.step(np.full(4, step % 4))[1].tolist() for step in range(60)])
    env.close()
    assert played[0] == played[1]
    assert played[0] != played[2]


def test_ataris_sticky_actions_begin_anew_with_the_games():
    pytest.importorskip("ale_py")
    env = make_vec_env(game_options("ALE/Breakout-v5", num_levels=1, sticky_actions=0.5), 2)
    played = []
    for _ in range(2):
        env.seed(3)
        env.reset()
        played.append(np.stack([env.step(np.full(2, 1 + step % 3))[0] for step in range(40)]))
    env.close()
    assert (played[0] == played[1]).all()
    assert (played[0][:, 0] != played[0][:, 1]).any()  # of one level, and each with draws of its own
