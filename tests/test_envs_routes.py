"""Shortest paths through levels: known distances, and steps as the route predicts."""

from __future__ import annotations

import numpy as np
import pytest

from lcd.envs import ProcgenOptions
from lcd.envs.procgen.engine import Engine
from lcd.envs.procgen.routes import TERRAINS, Route, distances_to, jumping_distances_to, position
from lcd.envs.procgen.saved_state import SavedState


def test_distances_go_around_walls():
    free = np.array([[1, 1, 1], [0, 0, 1], [1, 1, 1], [0, 0, 0]], bool)
    target = np.zeros_like(free)
    target[2, 0] = True
    expected = [[6, 5, 4], [np.inf, np.inf, 3], [0, 1, 2], [np.inf] * 3]
    assert np.array_equal(distances_to(target, free), np.array(expected))


def test_a_target_in_a_wall_can_be_reached_and_no_target_cannot():
    assert distances_to(np.array([[False, True]]), np.array([[True, False]])).tolist() == [[1, 0]]
    assert np.isinf(distances_to(np.zeros((2, 2), bool), np.ones((2, 2), bool))).all()


LEDGE = """
*....
###..
.....
.....
.....
"""


def test_a_jump_goes_around_a_ledge_and_no_higher_than_it_can():
    rows = np.array([list(row) for row in LEDGE.split()])[::-1]  # the lowest first
    target, free = rows == "*", rows != "#"
    high, low = (jumping_distances_to(target, free, rise) for rise in (5, 4))
    assert high[0].tolist() == [10, 9, 8, 7, 8]  # out from under the ledge, up beside it, and in
    assert np.isinf(low[0]).all()
    assert low[4].tolist() == [0, 1, 2, np.inf, np.inf]  # on the ledge, but not out of the air beside it
    assert distances_to(target, free)[0].tolist() == [10, 9, 8, 7, 8]


def test_who_jumps_up_the_wrong_way_must_come_down_again():
    free = np.ones((8, 9), bool)
    free[4, 1:8] = False  # a roof: jumps begin beside it
    target = np.zeros_like(free)
    target[5, 4] = True
    found = jumping_distances_to(target, free, 5)
    assert found[3, 4] == found[0, 4] + 3  # just below the target is farther than below that, on the ground


def test_one_is_pushed_around_corners_along_all_shortest_ways():
    engine = Engine(ProcgenOptions("maze"), 1, seed=0)
    route = Route("maze", SavedState(engine.get_state(0)))
    engine.close()
    free = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
    target = np.zeros_like(free)
    target[2, 2] = True
    route._distances = distances_to(target, free)
    assert sorted(route.headings(0.5, 0.5)) == [(0, 1), (1, 0)]
    assert route.headings(1.5, 0.5) == [(1, 0)]
    assert route.headings(1.5, 0.8) == [(1, -1)]  # along the wall, and back to the middle of the way
    assert route.headings(1.5, 0.6) == [(1, -1), (1, 0)]  # almost there
    assert route.headings(2.5, 2.8) == [(0, -1)]  # in the last cell, to its middle
    assert route.headings(2.5, 2.5) == [(0, 0)]


@pytest.mark.parametrize("game", TERRAINS)
def test_every_level_begins_with_a_way_to_go(game):
    engine = Engine(ProcgenOptions(game), 16, seed=0)
    for index in range(16):
        state = SavedState(engine.get_state(index))
        assert 0 <= Route(game, state).remaining(*position(state)) < state.grid.size
    engine.close()


def test_in_the_maze_the_route_is_the_number_of_steps():
    options = ProcgenOptions("maze")
    live, trial = Engine(options, 1, seed=0), Engine(options, 1, seed=1)
    promised = taken = levels = 0
    while levels < 5:
        before = live.get_state(0)
        route = Route("maze", SavedState(before))
        promised = promised or route.remaining(*position(SavedState(before)))
        left = {}
        for action in (1, 7, 3, 5):
            trial.set_state(0, before)
            trial.act(np.array([action], np.int32))
            trial.observe()
            left[action] = 0.0 if trial.firsts[0] else route.remaining(*position(SavedState(trial.get_state(0))))
        live.act(np.array([min(left, key=left.__getitem__)], np.int32))
        live.observe()
        taken += 1
        if live.firsts[0]:
            assert live.level_completes[0]
            assert taken == promised
            promised = taken = 0
            levels += 1


def test_in_heist_a_locked_door_is_in_the_way_until_its_key_is_there():
    engine = Engine(ProcgenOptions("heist"), 32, seed=0)
    states = [SavedState(engine.get_state(index)) for index in range(32)]
    locked = [state for state in states if state.own[2] > 0]
    assert locked
    for state in locked:
        keys = state.entities[state.entities["type"] == 2]
        route = Route("heist", state)
        to_keys = [route.remaining(key["x"], key["y"]) for key in keys]
        assert min(to_keys) < 1  # a key is the target ...
        exit_ = state.entities[state.entities["type"] == 9][0]
        assert route.remaining(exit_["x"], exit_["y"]) >= 1  # ... and the exit is not
        state.own[3 : 3 + state.own[2]] = 1
        state.entities = state.entities[state.entities["type"] != 2]
        assert Route("heist", state).remaining(exit_["x"], exit_["y"]) < 1
    engine.close()
