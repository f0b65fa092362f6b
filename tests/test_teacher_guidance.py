"""Reward for getting closer to the goal."""

from __future__ import annotations

import numpy as np
import pytest

from envs import ProcgenOptions, ProcgenVecEnv
from envs.routes import Route, position
from envs.saved_state import SavedState
from lcd.teachers.guidance import STRIDE, GuidedVecEnv
from lcd.teachers.recipes import RECIPES

NO_OP, NUM_GAMES = 4, 6
WALK = np.random.default_rng(3).integers(0, 9, (400, NUM_GAMES))


def ways(games):
    states = [SavedState(games.saved_state(index)) for index in range(NUM_GAMES)]
    return np.array([Route("maze", state).remaining(*position(state)) for state in states])


def test_what_is_added_is_the_way_gained_within_an_episode():
    games = ProcgenVecEnv(ProcgenOptions("maze"), NUM_GAMES, "semantic", seed=1)
    guided = GuidedVecEnv(games, games, 1.0)
    guided.reset()
    expected, added, to_go, ends = np.zeros(NUM_GAMES), np.zeros(NUM_GAMES), np.full(NUM_GAMES, np.nan), 0
    for time, actions in enumerate(WALK, start=1):
        _, rewards, dones, infos = guided.step(actions)
        added += rewards - 10.0 * np.array([info["prev_level_complete"] for info in infos])
        to_go[dones] = np.nan
        ends += dones.sum()
        if time % STRIDE == 0:
            now = ways(games)
            expected += np.nan_to_num(to_go - now)
            to_go = now
    assert ends > 0
    assert np.abs(expected).max() > 1
    assert added == pytest.approx(expected, abs=1e-3)


def test_standing_still_gains_nothing():
    games = ProcgenVecEnv(ProcgenOptions("heist"), NUM_GAMES, "semantic")
    guided = GuidedVecEnv(games, games, 1.0)
    guided.reset()
    assert not any(guided.step(np.full(NUM_GAMES, NO_OP))[1].any() for _ in range(2 * STRIDE))


def test_games_without_known_ways_are_refused():
    games = ProcgenVecEnv(ProcgenOptions("starpilot"), 1, "semantic")
    with pytest.raises(ValueError, match="Nothing is known of ways in starpilot"):
        GuidedVecEnv(games, games, 0.1)


def test_recipes_guide_only_where_ways_are_known():
    for game, recipe in RECIPES.items():
        if recipe.guidance:
            games = ProcgenVecEnv(ProcgenOptions(game), 1, "semantic")
            GuidedVecEnv(games, games, recipe.guidance).reset()
