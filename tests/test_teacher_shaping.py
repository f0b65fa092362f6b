"""Reward shaping by the distance to the goal."""

from __future__ import annotations

import numpy as np
import pytest

from lcd.envs import ProcgenOptions, ProcgenVecEnv
from lcd.envs.procgen.routes import Route, position
from lcd.envs.procgen.saved_state import SavedState
from lcd.teachers.recipes import RECIPES
from lcd.teachers.shaping import STRIDE, ShapedRewardVecEnv

NO_OP, UP, NUM_GAMES = 4, 5, 6
WALK = np.random.default_rng(3).integers(0, 9, (400, NUM_GAMES))


def path_lengths(games):
    states = [SavedState(games.saved_state(index)) for index in range(NUM_GAMES)]
    return np.array([Route("maze", state).remaining(*position(state)) for state in states])


def test_shaping_adds_the_progress_until_an_episode_fails():
    games = ProcgenVecEnv(ProcgenOptions("maze"), NUM_GAMES, "semantic", seed=1)
    shaped = ShapedRewardVecEnv(games, games, 1.0)
    shaped.reset()
    first = to_go = path_lengths(games)
    given, ends = np.zeros(NUM_GAMES), {True: 0, False: 0}
    for time, actions in enumerate(WALK, start=1):
        _, rewards, dones, infos = shaped.step(actions)
        completed = np.array([info["prev_level_complete"] for info in infos])
        given += rewards - 10.0 * completed
        now = path_lengths(games)
        assert given[dones & ~completed] == pytest.approx(0, abs=1e-4)
        assert given[dones & completed] == pytest.approx((first - to_go)[dones & completed], abs=1e-4)
        for ended in completed[dones]:
            ends[bool(ended)] += 1
        given[dones] = 0
        first = np.where(dones, now, first)
        to_go = now if time % STRIDE == 0 else np.where(dones, now, to_go)
        assert given == pytest.approx(first - to_go, abs=1e-4)
    assert ends[True] > 0
    assert np.abs(given).max() > 1


def test_death_takes_back_what_the_episode_was_given():
    games = ProcgenVecEnv(ProcgenOptions("leaper"), NUM_GAMES, "semantic", seed=1)
    shaped = ShapedRewardVecEnv(games, games, 1.0)
    shaped.reset()
    given, deaths = np.zeros(NUM_GAMES), 0
    for _ in range(300):
        _, rewards, dones, infos = shaped.step(np.full(NUM_GAMES, UP))
        completed = np.array([info["prev_level_complete"] for info in infos])
        given += rewards - 10.0 * completed
        assert given[dones & ~completed] == pytest.approx(0, abs=1e-4)
        deaths += int((dones & ~completed).sum())
        given[dones] = 0
    assert deaths > 5


def test_digging_towards_a_diamond_is_paid():
    games = ProcgenVecEnv(ProcgenOptions("miner"), NUM_GAMES, "semantic", seed=1)
    shaped = ShapedRewardVecEnv(games, games, 1.0)
    shaped.reset()
    paid = same_goals = 0.0
    for actions in WALK:
        before = [Route.goals("miner", SavedState(games.saved_state(index))) for index in range(NUM_GAMES)]
        grids = [SavedState(games.saved_state(index)).grid.copy() for index in range(NUM_GAMES)]
        _, rewards, dones, _ = shaped.step(actions)
        for index in np.flatnonzero(~dones):
            state = SavedState(games.saved_state(index))
            if Route.goals("miner", state) == before[index] and not np.array_equal(state.grid, grids[index]):
                same_goals += 1
                paid += rewards[index] != 0
    assert same_goals > 20  # earth was dug away, the goals stayed
    assert paid > 0


def test_standing_still_gains_nothing():
    games = ProcgenVecEnv(ProcgenOptions("heist"), NUM_GAMES, "semantic")
    shaped = ShapedRewardVecEnv(games, games, 1.0)
    shaped.reset()
    assert not any(shaped.step(np.full(NUM_GAMES, NO_OP))[1].any() for _ in range(2 * STRIDE))


def test_games_without_known_paths_are_refused():
    games = ProcgenVecEnv(ProcgenOptions("starpilot"), 1, "semantic")
    with pytest.raises(ValueError, match="No paths are known in starpilot"):
        ShapedRewardVecEnv(games, games, 0.1)


def test_recipes_shape_rewards_only_where_paths_are_known():
    for game, recipe in RECIPES.items():
        if recipe.shaping:
            games = ProcgenVecEnv(ProcgenOptions(game), 1, "semantic")
            ShapedRewardVecEnv(games, games, recipe.shaping).reset()
