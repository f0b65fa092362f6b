"""Imitation of shortest paths."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lcd.envs import ProcgenOptions, ProcgenVecEnv
from lcd.envs.procgen.actions import HEADINGS, action_classes
from lcd.envs.procgen.routes import Route, position
from lcd.envs.procgen.saved_state import SavedState
from lcd.teachers.evaluation import evaluate_expert
from lcd.teachers.imitation import (
    MAX_STEPS_WITHOUT_PATH,
    DAggerWithCritic,
    PassthroughTeacher,
    ShortestPathLabelVecEnv,
    heading_action_probabilities,
)
from lcd.teachers.recipes import RECIPES, SHORTEST_PATH

NUM_GAMES = 8
EARNED_AT_LEAST = {"maze": 9.9, "heist": 9.9, "miner": 9.0, "chaser": 5.0}


def labelled_games(game):
    games = ProcgenVecEnv(ProcgenOptions(game), NUM_GAMES, "semantic", seed=1)
    return ShortestPathLabelVecEnv(games, games)


@pytest.mark.parametrize("game", [game for game, recipe in RECIPES.items() if recipe.expert == SHORTEST_PATH])
def test_following_the_labels_returns_what_the_expert_returns(game):
    env = labelled_games(game)
    env.reset()
    returns, finished = np.zeros(NUM_GAMES), []
    while len(finished) < 3 * NUM_GAMES:
        _, rewards, dones, _ = env.step(env.teacher_observations.argmax(dim=1).numpy())
        returns += rewards
        finished += returns[dones].tolist()
        returns[dones] = 0
    expert = evaluate_expert(ProcgenOptions(game), SHORTEST_PATH, 16, seed=0)
    assert np.mean(finished) == pytest.approx(expert.mean, rel=0.2)
    assert expert.mean > EARNED_AT_LEAST[game]


def test_labels_are_probabilities_and_uniform_within_action_classes():
    env = labelled_games("maze")
    env.reset()
    labels = env.teacher_observations.exp()
    assert torch.allclose(labels.sum(dim=1), torch.ones(NUM_GAMES), atol=1e-6)
    for members in action_classes("maze"):
        assert (labels[:, list(members)] == labels[:, list(members)[:1]]).all()
    assert heading_action_probabilities("heist")[1, 1].argmax() == HEADINGS[1, 1]


def with_grid(state, grid):
    """A saved state with other cells."""
    return SavedState(state.to_bytes().replace(state.grid.tobytes(), grid.astype(state.grid.dtype).tobytes()))


def test_an_episode_without_a_path_is_ended():
    env = labelled_games("miner")
    env.reset()
    games = env.venv
    state = SavedState(games.saved_state(0))
    diamond, dirt, edge = (2, 4), 9, 10
    nothing_left = with_grid(state, np.where(np.isin(state.grid, diamond), dirt, state.grid))
    assert not Route("miner", state).unreachable
    assert not Route("miner", nothing_left).unreachable  # the path leads to the exit
    column, row = (int(place) for place in position(state))
    rows, columns = np.indices(state.grid.shape)
    walled_in = with_grid(state, np.where(abs(rows - row) + abs(columns - column) == 1, edge, state.grid))
    assert Route("miner", walled_in).unreachable
    games._batch._engines[0].set_state(0, walled_in.to_bytes())
    stay = np.full(NUM_GAMES, HEADINGS[0, 0])
    ended = np.array([env.step(stay)[2] for _ in range(MAX_STEPS_WITHOUT_PATH + 2)])
    assert ended[:, 0].tolist() == [False] * MAX_STEPS_WITHOUT_PATH + [True, False]
    assert not ended[:, 1:].any()


def test_imitation_and_value_loss_both_fall():
    torch.manual_seed(0)
    settings = {"n_steps": 32, "batch_size": 64, "n_epochs": 4, "seed": 0, "device": "cpu"}
    learner = DAggerWithCritic(
        env=labelled_games("maze"), encoder="nature:32", teacher=PassthroughTeacher(), **settings
    )
    logged = []
    for _ in range(6):
        learner.learn(32 * NUM_GAMES, reset_num_timesteps=False)
        logged.append(dict(learner.logger.name_to_value))
    assert logged[-1]["train/imitation_loss"] < 0.9 * logged[0]["train/imitation_loss"]
    assert logged[-1]["train/value_loss"] < logged[0]["train/value_loss"]


def test_games_without_known_paths_are_refused():
    with pytest.raises(ValueError, match="No paths are known in bigfish"):
        labelled_games("bigfish")
