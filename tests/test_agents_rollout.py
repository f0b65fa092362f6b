"""The rollout buffer gives back what the game showed, row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_games import ColourGame, colour_of_frame

from lcd.agents import PPO
from lcd.agents.rollout import channels_first, channels_last


def rollout(view, **kwargs):
    game = ColourGame(3, view)
    model = PPO(env=game, n_steps=8, batch_size=12, n_epochs=1, device="cpu", seed=0, learning_rate=0.0, **kwargs)
    model.learn(48)  # two rollouts: the second must have replaced the first
    return game, model


@pytest.mark.parametrize("view", ["pixels", "semantic"])
def test_every_row_is_the_observation_that_the_game_showed(view):
    game, model = rollout(view)
    shown = np.concatenate(game.history[8:16])  # row t * n_envs + i
    frames = model.rollout_buffer.frames(torch.arange(24))
    assert frames.dtype == torch.uint8
    assert np.array_equal(channels_last(frames).numpy(), shown)
    if view == "pixels":
        assert frames.shape[1:] == (3, *game.observation_space.shape[:2])
        assert frames.is_contiguous(memory_format=torch.channels_last)
    picked = torch.tensor([23, 0, 7, 7])
    assert torch.equal(model.rollout_buffer.frames(picked), frames[picked])


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_threads_pick_their_shares_of_the_rows(count):
    game, model = rollout("pixels")
    shown = np.concatenate(game.history[8:16])
    rows = torch.arange(24).flip(0)[:count]
    assert np.array_equal(channels_last(model.rollout_buffer.frames(rows)).numpy(), shown[rows.numpy()])


@pytest.mark.parametrize("view", ["pixels", "semantic"])
def test_a_pass_gives_every_row_once_with_the_columns_that_belong_to_it(view):
    game, model = rollout(view)
    actions, colours, rewards = [], [], model.rollout_buffer.rewards.flatten()
    sizes = []
    for batch in model.rollout_buffer.get(10):
        sizes.append(len(batch.actions))
        actions.append(batch.actions.flatten())
        read = colour_of_frame(batch.observations) if view == "pixels" else batch.observations[:, 5, 5].long() - 1
        colours.append(read)
        with torch.no_grad():
            values, log_prob, _ = model.policy.evaluate_actions(batch.observations, actions[-1].long())
        assert torch.allclose(values.flatten(), batch.old_values, atol=0.02)  # the same but for bfloat16's rounding
        assert torch.allclose(log_prob, batch.old_log_prob, atol=0.02)
    assert sizes == [10, 10, 4]
    played = np.concatenate(game.played[8:16])
    assert sorted(torch.cat(actions).tolist()) == sorted(played.tolist())
    right = torch.cat(actions) == torch.cat(colours)  # an action earns 1 where it names the colour of its own row
    assert int(right.sum()) == int(rewards.sum()) > 0


def test_rows_come_in_the_order_of_numpys_generator_as_in_stable_baselines3():
    _, model = rollout("pixels")
    np.random.seed(4)  # noqa: NPY002 (SB3's generator)
    expected = np.random.permutation(24)  # noqa: NPY002
    np.random.seed(4)  # noqa: NPY002
    assert np.array_equal(torch.cat(list(model.rollout_buffer.minibatch_rows(7))).numpy(), expected)
    assert [len(rows) for rows in model.rollout_buffer.minibatch_rows()] == [24]


def test_a_rollout_that_is_not_complete_gives_no_minibatches():
    _, model = rollout("pixels")
    model.rollout_buffer.reset()
    with pytest.raises(AssertionError, match="not complete"):
        next(model.rollout_buffer.get(4))


def test_the_memory_order_changes_and_comes_back():
    frames = torch.randint(256, (2, 3, 4, 5), dtype=torch.uint8)
    assert channels_last(frames).shape == (2, 4, 5, 3)
    assert torch.equal(channels_first(channels_last(frames)), frames)
    assert torch.equal(channels_last(frames[:, 0]), frames[:, 0])
