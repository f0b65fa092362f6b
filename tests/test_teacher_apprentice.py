"""Being shown the way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lcd.envs import ProcgenOptions, ProcgenVecEnv
from lcd.envs.procgen.actions import HEADINGS, action_classes
from lcd.envs.procgen.routes import Route, position
from lcd.envs.procgen.saved_state import SavedState
from lcd.teachers.evaluation import examine_expert
from lcd.teachers.imitation import PATIENCE, Apprentice, Shown, ShownVecEnv, shown_chances
from lcd.teachers.recipes import RECIPES, WAY

NUM_GAMES = 8
EARNED_AT_LEAST = {"maze": 9.9, "heist": 9.9, "miner": 9.0, "chaser": 5.0}


def shown(game):
    games = ProcgenVecEnv(ProcgenOptions(game), NUM_GAMES, "semantic", seed=1)
    return ShownVecEnv(games, games)


@pytest.mark.parametrize("game", [game for game, recipe in RECIPES.items() if recipe.expert == WAY])
def test_whoever_does_what_is_shown_earns_what_the_expert_earns(game):
    env = shown(game)
    env.reset()
    returns, finished = np.zeros(NUM_GAMES), []
    while len(finished) < 3 * NUM_GAMES:
        _, rewards, dones, _ = env.step(env.teacher_observations.argmax(dim=1).numpy())
        returns += rewards
        finished += returns[dones].tolist()
        returns[dones] = 0
    expert = examine_expert(ProcgenOptions(game), WAY, 16, seed=0)
    assert np.mean(finished) == pytest.approx(expert.mean, rel=0.2)
    assert expert.mean > EARNED_AT_LEAST[game]


def test_what_is_shown_are_chances_that_actions_of_one_class_share():
    env = shown("maze")
    env.reset()
    chances = env.teacher_observations.exp()
    assert torch.allclose(chances.sum(dim=1), torch.ones(NUM_GAMES), atol=1e-6)
    for members in action_classes("maze"):
        assert (chances[:, list(members)] == chances[:, list(members)[:1]]).all()
    assert shown_chances("heist")[1, 1].argmax() == HEADINGS[1, 1]


def with_grid(state, grid):
    """A saved state with other cells."""
    return SavedState(state.to_bytes().replace(state.grid.tobytes(), grid.astype(state.grid.dtype).tobytes()))


def test_a_game_in_which_no_way_is_left_begins_anew():
    env = shown("miner")
    env.reset()
    games = env.venv
    state = SavedState(games.saved_state(0))
    diamond, dirt, edge = (2, 4), 9, 10
    nothing_left = with_grid(state, np.where(np.isin(state.grid, diamond), dirt, state.grid))
    assert not Route("miner", state).hopeless
    assert not Route("miner", nothing_left).hopeless  # the way leads out
    column, row = (int(place) for place in position(state))
    rows, columns = np.indices(state.grid.shape)
    walled_in = with_grid(state, np.where(abs(rows - row) + abs(columns - column) == 1, edge, state.grid))
    assert Route("miner", walled_in).hopeless
    games._batch._engines[0].set_state(0, walled_in.to_bytes())
    stay = np.full(NUM_GAMES, HEADINGS[0, 0])
    ended = np.array([env.step(stay)[2] for _ in range(PATIENCE + 2)])
    assert ended[:, 0].tolist() == [False] * PATIENCE + [True, False]
    assert not ended[:, 1:].any()


def test_an_apprentice_learns_the_way_and_what_a_state_is_worth():
    torch.manual_seed(0)
    settings = {"n_steps": 32, "batch_size": 64, "n_epochs": 4, "seed": 0, "device": "cpu"}
    apprentice = Apprentice(env=shown("maze"), encoder="nature:32", teacher=Shown(), **settings)
    logged = []
    for _ in range(6):
        apprentice.learn(32 * NUM_GAMES, reset_num_timesteps=False)
        logged.append(dict(apprentice.logger.name_to_value))
    assert logged[-1]["train/imitation_loss"] < 0.9 * logged[0]["train/imitation_loss"]
    assert logged[-1]["train/value_loss"] < logged[0]["train/value_loss"]


def test_nobody_is_shown_a_way_where_none_is_known():
    with pytest.raises(ValueError, match="Nothing is known of ways in bigfish"):
        shown("bigfish")
