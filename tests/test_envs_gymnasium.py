"""Procgen through Gymnasium and Stable-Baselines3."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_sb3_env
from stable_baselines3.common.vec_env import VecMonitor

from lcd.envs import GAMES, ProcgenEnv, ProcgenOptions, ProcgenVecEnv

NO_OP = 4
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("title", [game.title for game in GAMES.values()])
def test_every_game_is_registered(title):
    env = gymnasium.make(f"lcd/{title}-v0")
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("view", ["pixels", "semantic", "both"])
@pytest.mark.parametrize("title", ["StarPilot", "Heist", "Plunder"])
def test_checkers_of_gymnasium_and_sb3_pass(title, view):
    env = gymnasium.make(f"lcd/{title}-v0", view=view, render_mode="rgb_array", num_levels=100)
    check_env(env.unwrapped)
    check_sb3_env(env)
    assert env.render().shape == (64, 64, 3)
    env.close()


def test_reset_goes_on_to_the_next_level_and_a_seed_goes_back():
    env = gymnasium.make("lcd/CoinRun-v0")
    first, info = env.reset(seed=7)
    _, next_info = env.reset()
    again, again_info = env.reset(seed=7)
    assert np.array_equal(first, again)
    assert info == again_info
    assert info != next_info
    for _ in range(5):
        env.step(NO_OP)
    _, later_info = env.reset()
    assert later_info == next_info


def test_the_first_step_needs_a_reset():
    for env in (gymnasium.make("lcd/Maze-v0").unwrapped, gymnasium.make_vec("lcd/Maze-v0", num_envs=2).unwrapped):
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(env.action_space.sample())
    for view in ("pixels", "semantic"):
        with pytest.raises(gymnasium.error.ResetNeeded):
            ProcgenEnv("maze", view=view, render_mode="rgb_array").render()


def test_games_of_a_batch_are_reset_together_or_not_at_all():
    envs = gymnasium.make_vec("lcd/Maze-v0", num_envs=2)
    envs.reset(options={"reset_mask": np.ones(2, bool)})
    with pytest.raises(ValueError, match="begin together: leave reset_mask out"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    envs.close()


def test_truncation_in_one_game():
    env = gymnasium.make("lcd/Leaper-v0", view="semantic")
    env.reset(seed=0)
    for _ in range(499):
        observation, _, terminated, truncated, _ = env.step(NO_OP)
        assert not terminated
        assert not truncated
    last, _, terminated, truncated, info = env.step(NO_OP)
    assert (terminated, truncated, info["final_frame"]) == (False, True, True)
    player = np.flatnonzero(observation == 1)
    assert np.array_equal(np.flatnonzero(last == 1), player)  # nobody moved, and no new level is shown
    _, info_of_next = env.reset()
    assert info_of_next["level_seed"] != info["level_seed"]


def test_an_episode_the_game_ends_says_that_its_last_frame_is_missing():
    env = gymnasium.make("lcd/BossFight-v0")
    env.reset(seed=0)
    for _ in range(2000):
        observation, _, terminated, _, info = env.step(env.action_space.sample())
        if terminated:
            break
        before = observation
    assert not info["final_frame"]
    assert np.array_equal(observation, before)


@pytest.mark.parametrize("view", ["pixels", "both"])
def test_a_vector_of_games_resets_in_the_same_step(view):
    envs = gymnasium.make_vec("lcd/Maze-v0", num_envs=4, view=view, num_levels=10)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    observations, info = envs.reset(seed=0)
    assert envs.observation_space.contains(observations)
    assert info["level_seed"].shape == (4,)
    for _ in range(499):
        _, _, _, truncated, info = envs.step(np.full(4, NO_OP))
        assert "final_obs" not in info
    observations, rewards, terminated, truncated, info = envs.step(np.full(4, NO_OP))
    assert truncated.all()
    assert not terminated.any()
    assert info["_final_obs"].all()
    assert rewards.shape == (4,)
    final = info["final_obs"][0]
    assert envs.single_observation_space.contains(final)
    now = observations["pixels"][0] if view == "both" else observations[0]
    assert not np.array_equal(final["pixels"] if view == "both" else final, now)
    with pytest.raises(ValueError, match="pass a single number"):
        envs.reset(seed=[1, 2, 3, 4])
    envs.close()


def test_a_vector_render_shows_every_game():
    envs = gymnasium.make_vec("lcd/Maze-v0", num_envs=3, view="semantic", render_mode="rgb_array")
    envs.reset(seed=0)
    assert [frame.shape for frame in envs.render()] == [(64, 64, 3)] * 3


def test_a_vector_that_is_used_again_after_its_end_can_be_ended_again():
    envs = gymnasium.make_vec("lcd/Maze-v0", num_envs=2)
    for _ in range(2):
        envs.reset()
        envs.close()
        with pytest.raises(gymnasium.error.ResetNeeded):
            envs.step(np.zeros(2, int))


def test_sb3_hears_of_truncation():
    env = ProcgenVecEnv(ProcgenOptions("leaper"), num_envs=2, view="both", seed=0)
    env.reset()
    for _ in range(499):
        *_, dones, infos = env.step(np.full(2, NO_OP))
        assert not dones.any()
        assert "terminal_observation" not in infos[0]
    *_, dones, infos = env.step(np.full(2, NO_OP))
    assert dones.all()
    for info in infos:
        assert info["TimeLimit.truncated"]
        assert not info["terminated"]
        assert info["terminal_observation"]["semantic"].shape == (64, 64)
        assert info["prev_level_seed"] != info["level_seed"]


def test_sb3_wrappers_count_episodes():
    env = VecMonitor(ProcgenVecEnv(ProcgenOptions("bossfight"), num_envs=16, seed=1))
    env.reset()
    rng = np.random.default_rng(0)
    infos = [info for _ in range(100) for info in env.step(rng.integers(0, 15, 16))[3]]
    episodes = [info["episode"] for info in infos if "episode" in info]
    assert episodes
    assert all(episode["l"] <= 100 for episode in episodes)


def test_sb3_seed_and_reset():
    env = ProcgenVecEnv(ProcgenOptions("miner"), num_envs=3, seed=5)
    first = env.reset()
    second = env.reset()
    assert not np.array_equal(first, second)
    env.seed(5)
    assert np.array_equal(env.reset(), first)
    env.close()
    assert np.array_equal(env.reset(), first)
    assert env.reset_infos[0].keys() == {"level_seed"}
    assert env.get_attr("view") == ["pixels"] * 3
    assert len(env.get_images()) == 3
    assert env.render().shape[2] == 3
    env.close()


def test_sb3_step_needs_a_reset():
    with pytest.raises(RuntimeError, match="reset"):
        ProcgenVecEnv(ProcgenOptions("miner"), num_envs=1).step(np.zeros(1))
