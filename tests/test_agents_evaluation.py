"""Evaluation that episode lengths do not bias, that repeats itself, and that leaves training alone."""

from __future__ import annotations

from functools import partial, reduce
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import wrappers
from gymnasium.vector import AsyncVectorEnv
from stable_baselines3.common.atari_wrappers import ClipRewardEnv
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)
from toy_games import ColourGame

from lcd.agents import PPO, Episodes, evaluate
from lcd.envs import ProcgenOptions, ProcgenVecEnv
from lcd.envs.gymnasium_vec_env import as_vec_env
from lcd.envs.vec_env import GameVecEnv


@pytest.fixture
def policy():
    return PPO(env=ColourGame(2), n_steps=4, batch_size=8, device="cpu", seed=0).policy


@pytest.fixture
def procgen_policy():
    env = ProcgenVecEnv(ProcgenOptions("bigfish", num_levels=3, start_level=7), 2)
    return PPO(env=env, encoder="impoola:4,4", n_steps=4, batch_size=8, device="cpu", seed=0).policy


def first_to_finish(game, episodes):
    """Mean return of the first episodes to finish, whichever game they come from: the estimate to avoid."""
    game.reset()
    running, finished = np.zeros(game.num_envs), []
    while len(finished) < episodes:
        _, rewards, dones, _ = game.step(np.zeros(game.num_envs, int))
        running += rewards
        finished += running[dones].tolist()
        running[dones] = 0
    return np.mean(finished[:episodes])


@pytest.mark.parametrize("episodes_per_env", [1, 3])
def test_short_bad_episodes_and_long_good_ones_count_alike(policy, episodes_per_env):
    lengths, rewards = np.repeat([2, 20], 4), np.repeat([-1.0, 1.0], 4)
    episodes = evaluate(policy, ColourGame(8, lengths=lengths, rewards=rewards), episodes_per_env)
    assert episodes.returns.shape == episodes.lengths.shape == episodes.level_seeds.shape == (8, episodes_per_env)
    assert (episodes.returns == (lengths * rewards)[:, None]).all()
    assert (episodes.lengths == lengths[:, None]).all()
    assert episodes.returns.mean() == (20 - 2) / 2
    biased = first_to_finish(ColourGame(8, lengths=lengths, rewards=rewards), 8 * episodes_per_env)
    assert biased < 0
    assert (episodes.level_seeds == np.arange(episodes_per_env)).all()  # the game counts its episodes there


def test_rewards_of_the_game_are_summed_exactly(policy):
    episodes = evaluate(policy, ColourGame(4, lengths=[1, 2, 3, 50]), 5, seed=3)
    assert (episodes.returns == episodes.returns.round()).all()
    assert ((episodes.returns >= 0) & (episodes.returns <= episodes.lengths)).all()
    assert episodes.returns[3].mean() == pytest.approx(50 / 4, abs=8)


def same(first: Episodes, second: Episodes):
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("returns", "lengths"))


def test_the_same_seed_plays_the_same_episodes(procgen_policy):
    env = ProcgenVecEnv(ProcgenOptions("starpilot", num_levels=50), 4)
    first, again, other = (evaluate(procgen_policy, env, 2, seed) for seed in (1, 1, 2))
    assert same(first, again)
    assert np.array_equal(first.level_seeds, again.level_seeds)
    assert not same(first, other)
    certain = [evaluate(procgen_policy, env, 1, 1, deterministic=True) for _ in range(2)]
    assert same(*certain)


@pytest.mark.parametrize(
    ("game", "view"),
    [
        ("caveflyer", "semantic"),
        ("ninja", "semantic"),
        ("plunder", "semantic"),
        ("starpilot", "semantic"),
        ("leaper", "pixels"),
    ],
)
@pytest.mark.parametrize("episodes_per_env", [1, 2])
def test_games_that_have_finished_are_left_behind_and_nothing_else_changes(game, view, episodes_per_env, monkeypatch):
    env = ProcgenVecEnv(ProcgenOptions(game, num_levels=50), 9, view)
    policy = PPO(env=env, encoder="small", n_steps=4, batch_size=8, device="cpu", seed=0).policy
    with monkeypatch.context() as never:
        never.setattr(GameVecEnv, "part", lambda self, games: None)
        whole = evaluate(policy, env, episodes_per_env, seed=1)
    parts, part = [], GameVecEnv.part
    monkeypatch.setattr(GameVecEnv, "part", lambda self, games: parts.append(part(self, games)) or parts[-1])
    found = evaluate(policy, env, episodes_per_env, seed=1)
    assert same(found, whole)
    assert np.array_equal(found.level_seeds, whole.level_seeds)
    sizes = [each.num_envs for each in parts]
    assert sizes
    assert all(2 * after <= before for before, after in pairwise([9, *sizes]))
    assert all(each._batch is None for each in parts)  # closed


def test_games_of_generated_assets_go_on_together():
    env = ProcgenVecEnv(ProcgenOptions("leaper", num_levels=50, use_generated_assets=True), 4)
    env.reset()
    assert env.part(np.array([1, 3])) is None
    env.close()


def test_levels_are_those_asked_for(procgen_policy):
    options = ProcgenOptions("starpilot", num_levels=3, start_level=7)
    training = evaluate(procgen_policy, ProcgenVecEnv(options, 8), 2)
    assert set(training.level_seeds.flatten().tolist()) == {7, 8, 9}
    unseen = evaluate(procgen_policy, ProcgenVecEnv(options.unseen_levels(3), 8), 2)
    assert not set(unseen.level_seeds.flatten().tolist()) & {7, 8, 9}


def test_training_is_left_alone(policy):
    np.random.seed(1)  # noqa: NPY002 (SB3's generator)
    torch.manual_seed(1)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state().clone()  # noqa: NPY002
    for training in (True, False):
        policy.set_training_mode(training)
        evaluate(policy, ColourGame(3), 2)
        assert policy.training is training
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_the_training_mode_comes_back_after_a_failure(policy):
    class Broken(ColourGame):
        def step_wait(self):
            raise RuntimeError("broken")

    policy.set_training_mode(True)
    with pytest.raises(RuntimeError, match="broken"):
        evaluate(policy, Broken(2))
    assert policy.training


def test_deterministic_play_takes_the_most_probable_action(policy):
    game = ColourGame(4)
    with torch.no_grad():
        policy.action_net.bias[2] += 100
    evaluate(policy, game, deterministic=True)
    assert set(np.concatenate(game.played).tolist()) == {2}


def test_bad_requests_are_refused(policy):
    with pytest.raises(ValueError, match="at least 1, not 0"):
        evaluate(policy, ColourGame(2), 0)
    with pytest.raises(ValueError, match="single view"):
        evaluate(policy, ColourGame(2, "both"))


class Counting(gym.Env):
    """Each step pays the step's number; the fifth ends the episode."""

    def __init__(self, ends=True, pays=float):
        self.observation_space = gym.spaces.Box(0, 255, (36, 36, 3), np.uint8)
        self.action_space = gym.spaces.Discrete(4)
        self.ends, self.pays = ends, pays

    def _frame(self):
        return self.np_random.integers(0, 256, (36, 36, 3), dtype=np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.elapsed = 0
        return self._frame(), {}

    def step(self, action):
        self.elapsed += 1
        return self._frame(), self.pays(self.elapsed), self.ends and self.elapsed == 5, False, {}


RETURN = 1 + 2 + 3 + 4 + 5


def games(*around, num_envs=3, vec_env_cls=DummyVecEnv, **settings):
    return make_vec_env(
        lambda: reduce(lambda env, wrapper: wrapper(env), around, Counting(**settings)),
        num_envs,
        vec_env_cls=vec_env_cls,
        vec_env_kwargs={"start_method": "fork"} if vec_env_cls is SubprocVecEnv else {},
    )


class Shaped(gym.RewardWrapper):
    """Somebody's own reward for learning."""

    def reward(self, reward):
        return reward + 100


class Paid(gym.Wrapper):
    """A rule that somebody adds to a game of their own."""

    def step(self, action):
        observation, reward, *ended = self.env.step(action)
        return observation, reward + 100, *ended


WRAPPED = {
    "VecNormalize": lambda: VecNormalize(games(), norm_obs=False),
    "VecNormalize within others": lambda: VecMonitor(VecTransposeImage(VecNormalize(games(), norm_obs=False))),
    "twice": lambda: VecNormalize(VecNormalize(VecMonitor(games()), norm_obs=False), norm_obs=False),
    "NormalizeReward": lambda: games(wrappers.NormalizeReward),
    "statistics outside": lambda: games(wrappers.NormalizeReward, wrappers.RecordEpisodeStatistics),
    "statistics inside": lambda: games(wrappers.RecordEpisodeStatistics, wrappers.NormalizeReward),
    "ClipReward": lambda: games(partial(wrappers.ClipReward, min_reward=0, max_reward=1)),
    "ClipRewardEnv": lambda: games(ClipRewardEnv),
    "TransformReward": lambda: VecNormalize(
        games(partial(wrappers.TransformReward, func=lambda reward: -reward)), norm_obs=False
    ),
    "a reward of one's own": lambda: games(wrappers.RecordEpisodeStatistics, Shaped),
    "processes": lambda: VecNormalize(games(vec_env_cls=SubprocVecEnv), norm_obs=False),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_returns_are_the_games_own_whatever_wraps_it(policy, name):
    env = WRAPPED[name]()
    try:
        for _ in range(2):
            played = evaluate(policy, env, 2)
            assert (played.returns == RETURN).all()
            assert (played.lengths == 5).all()
    finally:
        env.close()


def test_a_rule_of_somebodys_own_is_a_part_of_the_game(policy):
    played = evaluate(policy, VecNormalize(games(Paid, wrappers.NormalizeReward), norm_obs=False))
    assert (played.returns == RETURN + 5 * 100).all()


def test_an_episode_that_ends_without_a_reset_keeps_its_own_rewards(policy):
    class Lives(gym.Wrapper):
        """Ends an episode after every second step and goes on in the same game, as Atari's lives do."""

        def reset(self, **kwargs):
            if getattr(self, "elapsed", 5) == 5:
                self.elapsed = 0
                self.shown = self.env.reset(**kwargs)
            return self.shown

        def step(self, action):
            observation, reward, over, truncated, info = self.env.step(action)
            self.shown, self.elapsed = (observation, info), self.elapsed + 1
            return observation, reward, over or self.elapsed % 2 == 0, truncated, info

    played = evaluate(policy, games(wrappers.NormalizeReward, Lives), 3)
    assert (played.returns == [[1 + 2, 3 + 4, 5]] * 3).all()


def test_running_statistics_are_applied_and_stay(policy):
    env = VecNormalize(VecMonitor(games(wrappers.NormalizeReward)), norm_obs=True)
    stacked = ActorCriticPolicy(env.observation_space, env.action_space, lambda _: 0.0)
    env.reset()
    for _ in range(7):
        env.step(np.zeros(3, int))
    inside = env.get_attr("return_rms")
    before = [np.copy(each) for rms in (env.obs_rms, env.ret_rms, *inside) for each in (rms.mean, rms.var, rms.count)]
    shown = []
    ask = stacked.get_distribution
    stacked.get_distribution = lambda observations: shown.append(observations) or ask(observations)
    for training in (True, False):
        env.training = training
        assert (evaluate(stacked, env, 2).returns == RETURN).all()
        assert env.training is training
        assert env.get_attr("update_running_mean") == [True] * 3
    after = [np.copy(each) for rms in (env.obs_rms, env.ret_rms, *inside) for each in (rms.mean, rms.var, rms.count)]
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))
    assert max(float(each.abs().max()) for each in shown) <= env.clip_obs  # normalised as in training
    env.reset()
    rewards = env.step(np.zeros(3, int))[1]
    assert (rewards != 1).all()  # and scaled again for whoever trains


def test_the_environment_is_as_it_was_after_a_failure(policy):
    env = VecNormalize(games(wrappers.NormalizeReward, ends=False), norm_obs=False)
    chains = [env.venv, *env.get_attr("env")]
    with pytest.raises(ValueError, match="does not end"):
        evaluate(policy, env, max_episode_steps=10)
    assert env.training
    assert [env.venv, *env.get_attr("env")] == chains


def test_stacked_frames_are_shown_as_in_training():
    env = VecFrameStack(games(), 2)
    stacked = PPO("CnnPolicy", env, n_steps=4, batch_size=8, device="cpu").policy
    assert (evaluate(stacked, VecFrameStack(VecNormalize(games(), norm_obs=False), 2)).returns == RETURN).all()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("around", [(), (wrappers.NormalizeReward,)])
def test_a_reward_that_is_no_number_is_refused_with_its_place(policy, number, around):
    made = iter([float, lambda step: number if step == 3 else 1.0, float])
    env = DummyVecEnv([lambda: reduce(lambda game, wrapper: wrapper(game), around, Counting(pays=next(made)))] * 3)
    with pytest.raises(ValueError, match=f"^A reward is {number} in step 3 of episode 0 of environment 1: check"):
        evaluate(policy, VecNormalize(env, norm_obs=False))


def test_a_reward_that_a_wrapper_spoils_is_refused_as_well(policy):
    spoiled = partial(wrappers.TransformReward, func=lambda reward: float("nan"))
    with pytest.raises(ValueError, match="A reward is nan in step 1"):
        evaluate(policy, games(spoiled))


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_policy_that_gives_no_probabilities_is_refused(policy, deterministic):
    with torch.no_grad():
        policy.action_net.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"A probability of an action is nan in step 1 .* check the policy's weights"):
        evaluate(policy, games(), deterministic=deterministic)


def test_a_game_without_an_end_is_given_up_in_one_sentence(policy):
    sentence = r"^Episode 0 of environment 0 does not end within 1,000 steps: end it, as .*TimeLimit does, or raise"
    with pytest.raises(ValueError, match=sentence):
        evaluate(policy, games(ends=False), max_episode_steps=1_000)
    assert (evaluate(policy, games(), 2, max_episode_steps=5).returns == RETURN).all()
    limited = games(partial(gym.wrappers.TimeLimit, max_episode_steps=4), ends=False)
    assert (evaluate(policy, limited, max_episode_steps=4).returns == 1 + 2 + 3 + 4).all()
    with pytest.raises(ValueError, match="max_episode_steps must be at least 1, not 0"):
        evaluate(policy, games(), max_episode_steps=0)


@pytest.mark.parametrize(
    ("around", "named"), [(wrappers.NormalizeReward, "NormalizeReward"), (Shaped, "RewardWrapper")]
)
@pytest.mark.parametrize("kind", [SubprocVecEnv, AsyncVectorEnv])
def test_games_in_other_processes_whose_rewards_are_changed_are_refused(policy, around, named, kind):
    if kind is SubprocVecEnv:
        env = games(around, vec_env_cls=kind)
    else:
        env = as_vec_env(AsyncVectorEnv([lambda: around(Counting())] * 2, context="fork"))
    try:
        with pytest.raises(ValueError, match=f"are wrapped in a {named}, .*DummyVecEnv"):
            evaluate(policy, env)
    finally:
        env.close()


def test_an_environment_of_other_observations_or_actions_is_refused(policy):
    class Larger(Counting):
        def __init__(self):
            super().__init__()
            self.observation_space = gym.spaces.Box(0, 255, (40, 40, 3), np.uint8)

    with pytest.raises(ValueError, match=r"takes observations of shape \(3, 36, 36\).* gives \(40, 40, 3\)"):
        evaluate(policy, DummyVecEnv([Larger]))
    env = games()
    env.action_space = gym.spaces.Discrete(5)
    with pytest.raises(ValueError, match=r"it has Discrete\(4\), and the environment Discrete\(5\)"):
        evaluate(policy, env)
