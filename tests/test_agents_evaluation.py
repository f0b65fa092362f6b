"""Evaluation that episode lengths do not bias, that repeats itself, and that leaves training alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_games import ColourGame

from agents import PPO, Episodes, evaluate
from envs import ProcgenOptions, ProcgenVecEnv


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
    with pytest.raises(ValueError, match="one view"):
        evaluate(policy, ColourGame(2, "both"))
