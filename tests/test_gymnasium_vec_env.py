"""Gymnasium's vector environments step as Stable-Baselines3's DummyVecEnv does with the same games."""

from __future__ import annotations

from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import vector as vector_wrappers
from stable_baselines3.common.vec_env import DummyVecEnv
from toy_games import ColourGame, ColourTeacher

from lcd.agents import PPO, DAgger, TaughtVecEnv, evaluate
from lcd.envs import GymnasiumVecEnv, as_vec_env

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]
SIDE = 36


class Walk(gymnasium.Env):
    """Ends by itself at either end of a line, and is cut off after a few steps; what it shows is random besides."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, limit=6, both=False):
        self.limit, self.both = limit, both
        frames = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        self.observation_space = spaces.Dict(pixels=frames, semantic=frames) if both else frames
        self.action_space = spaces.Discrete(2)

    def observe(self):
        frame = self.np_random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        return {"pixels": frame, "semantic": frame[::-1].copy()} if self.both else frame

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = 0, 0
        return self.observe(), {"began": int(self.np_random.integers(1000))}

    def step(self, action):
        self.place += 2 * int(action) - 1
        self.steps += 1
        ended = abs(self.place) == 3
        return self.observe(), float(self.place), ended, self.steps >= self.limit, {"place": self.place}


class OwnVector(VectorEnv):
    """A vector environment that is neither Sync nor Async, of one kind or another."""

    def __init__(self, mode):
        self.inner = SyncVectorEnv([Walk] * 2, autoreset_mode=mode or AutoresetMode.NEXT_STEP)
        self.metadata = {} if mode is None else {"autoreset_mode": mode}
        self.num_envs, self.render_mode = 2, None
        self.single_observation_space, self.single_action_space = Walk().observation_space, Walk().action_space
        self.observation_space = batch_space(self.single_observation_space, 2)
        self.action_space = batch_space(self.single_action_space, 2)

    def reset(self, *, seed=None, options=None):
        return self.inner.reset(seed=seed, options=options)

    def step(self, actions):
        return self.inner.step(actions)


def vector(kind, mode, limits=(6, 5, 4), **settings):
    return kind([partial(Walk, limit) for limit in limits], autoreset_mode=mode, **settings)


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return np.array_equal(one, other)


def assert_steps_alike(env, reference, steps=40):
    for each in (env, reference):
        each.seed(7)
    assert same(env.reset(), reference.reset())
    assert env.reset_infos == reference.reset_infos
    rng, ends = np.random.default_rng(0), set()
    for _ in range(steps):
        actions = rng.integers(2, size=env.num_envs)
        (seen, paid, done, infos), (wanted, *others, wanted_infos) = env.step(actions), reference.step(actions)
        assert same(seen, wanted)
        assert np.array_equal(paid, others[0])
        assert paid.dtype == others[0].dtype
        assert np.array_equal(done, others[1])
        assert env.reset_infos == reference.reset_infos
        for info, expected in zip(infos, wanted_infos, strict=True):
            assert ("terminal_observation" in info) == ("terminal_observation" in expected)
            assert all(same(info[name], expected[name]) for name in expected)
            if "terminal_observation" in expected:
                ends.add(expected["TimeLimit.truncated"])
    assert ends == {True, False}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("settings", [{}, {"copy": False}])
def test_games_of_this_process_step_as_in_a_dummy_vec_env(mode, settings):
    reference = DummyVecEnv([partial(Walk, limit) for limit in (6, 5, 4)])
    assert_steps_alike(GymnasiumVecEnv(vector(SyncVectorEnv, mode, **settings)), reference)


@pytest.mark.parametrize(("mode", "settings"), [(mode, {}) for mode in MODES] + [(MODES[1], {"shared_memory": False})])
def test_games_of_other_processes_step_as_in_a_dummy_vec_env(mode, settings):
    env = GymnasiumVecEnv(vector(AsyncVectorEnv, mode, **settings))
    try:
        assert_steps_alike(env, DummyVecEnv([partial(Walk, limit) for limit in (6, 5, 4)]))
        assert env.env_is_wrapped(gymnasium.wrappers.TimeLimit) == [False] * 3
    finally:
        env.close()


@pytest.mark.parametrize("mode", MODES)
def test_dictionaries_of_views_step_as_in_a_dummy_vec_env(mode):
    games = [partial(Walk, limit, both=True) for limit in (6, 4)]
    assert_steps_alike(GymnasiumVecEnv(SyncVectorEnv(games, autoreset_mode=mode)), DummyVecEnv(games))


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_own_vector_environments_are_taken(mode):
    assert_steps_alike(GymnasiumVecEnv(OwnVector(mode)), DummyVecEnv([Walk, Walk]), steps=60)


def test_the_games_of_this_package_are_taken():
    env = GymnasiumVecEnv(gymnasium.make_vec("lcd/Tracker-v0", num_envs=2))
    env.seed(0)
    shown = env.reset()
    assert shown.shape == (2, *env.observation_space.shape)
    *_, infos = env.step(np.zeros(2, int))
    assert all("prev_level_seed" in info for info in infos)
    env.close()


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (OwnVector(AutoresetMode.NEXT_STEP), "OwnVector resets ended games in the next step .* SAME_STEP or DISABLED"),
        (OwnVector(None), "The metadata of OwnVector have autoreset_mode None"),
        (
            vector_wrappers.NormalizeReward(vector(SyncVectorEnv, AutoresetMode.NEXT_STEP)),
            "NormalizeReward .* use its VecNormalize",
        ),
        (
            vector_wrappers.RecordEpisodeStatistics(vector(SyncVectorEnv, AutoresetMode.SAME_STEP)),
            "RecordEpisodeStatistics .* use its VecMonitor",
        ),
    ],
)
def test_what_cannot_be_adapted_is_refused_in_a_sentence(env, words):
    for take in (lambda: PPO(env=env), lambda: TaughtVecEnv(env), lambda: evaluate(ColourTeacher(), env)):
        with pytest.raises(ValueError, match=words):
            take()


def test_processes_that_would_reset_twice_are_refused():
    env = vector(AsyncVectorEnv, AutoresetMode.NEXT_STEP, shared_memory=False)
    with pytest.raises(ValueError, match="AsyncVectorEnv resets ended games in the next step"):
        GymnasiumVecEnv(env)
    env.close()


def test_anything_else_stays_as_it_is():
    for env in (Walk(), ColourGame(1)):
        assert as_vec_env(env) is env


@pytest.mark.parametrize("mode", MODES)
def test_ppo_learns_the_same_as_in_a_dummy_vec_env(mode):
    settings = {"encoder": "nature:4", "n_steps": 8, "batch_size": 16, "device": "cpu", "seed": 3}
    games = [partial(Walk, limit) for limit in (6, 5)]
    learned = []
    for env in (SyncVectorEnv(games, autoreset_mode=mode), DummyVecEnv(games)):
        model = PPO(env=env, **settings).learn(32)
        learned.append([parameter.detach().numpy() for parameter in model.policy.parameters()])
    assert all(np.array_equal(one, other) for one, other in zip(*learned, strict=True))


def test_dagger_learns_from_a_vector_environment_of_views():
    games = SyncVectorEnv([partial(Walk, both=True)] * 2)
    teacher = type("Teacher", (), {"log_probabilities": lambda self, seen: np.log(0.5) + 0 * seen[:, 0, 0, :2]})()
    env = TaughtVecEnv(games)
    model = DAgger(env=env, teacher=teacher, encoder="nature:4", n_steps=8, batch_size=16, device="cpu", seed=3)
    assert model.learn(16).num_timesteps == 16
    with pytest.raises(ValueError, match="an environment in a TaughtVecEnv"):
        DAgger(env=SyncVectorEnv([Walk]), encoder="nature:4", n_steps=8, batch_size=8, device="cpu").learn(8)


def test_an_evaluation_reads_rewards_beneath_vector_wrappers():
    games = [partial(Walk, limit) for limit in (6, 5)]
    model = PPO(env=DummyVecEnv(games), encoder="nature:4", n_steps=8, batch_size=16, device="cpu", seed=0)
    wanted = evaluate(model.policy, DummyVecEnv(games), 3, seed=5)
    halved = vector_wrappers.TransformReward(SyncVectorEnv(games), lambda reward: reward / 2)
    for env in (SyncVectorEnv(games), SyncVectorEnv(games, autoreset_mode=AutoresetMode.SAME_STEP), halved):
        found = evaluate(model.policy, env, 3, seed=5)
        assert np.array_equal(found.returns, wanted.returns)
        assert np.array_equal(found.lengths, wanted.lengths)
    halved.reset()
    assert set(np.abs(halved.step(halved.action_space.sample())[1])) == {0.5}


def test_attributes_and_methods_are_those_of_the_games():
    env = GymnasiumVecEnv(vector(SyncVectorEnv, AutoresetMode.NEXT_STEP))
    assert env.get_attr("limit", [2, 0]) == [4, 6]
    env.set_attr("limit", 9)
    assert env.get_attr("limit") == [9, 9, 9]
    env.reset()
    assert len(env.env_method("observe")) == 3
    with pytest.raises(ValueError, match="leave indices out"):
        env.env_method("observe", indices=[0])
