"""Groups of actions that do the same, measured again in states of random play."""

from __future__ import annotations

import numpy as np
import pytest

from lcd.envs import GAMES, ProcgenOptions
from lcd.envs.procgen.actions import NUM_ACTIONS, action_classes, same_successors
from lcd.envs.procgen.engine import Engine


def states_of_random_play(options, count):
    engine, random = Engine(options, 8, seed=0), np.random.default_rng(0)
    states = []
    for step in range(5 * count):
        if step % 5 == 0:  # held for a while, actions lead further
            actions = random.integers(NUM_ACTIONS, size=8).astype(np.int32)
        engine.act(actions)
        engine.observe()
        if step % 5 == 4:
            states.append(engine.get_state(len(states) % 8))
    engine.close()
    return states


@pytest.mark.parametrize("game", GAMES)
def test_actions_of_a_class_do_the_same_and_classes_differ(game):
    options = ProcgenOptions(game)
    same = same_successors(options, states_of_random_play(options, 60))
    claimed = np.zeros_like(same)
    for members in action_classes(game):
        claimed[np.ix_(members, members)] = True
    assert sorted(action for members in action_classes(game) for action in members) == list(range(NUM_ACTIONS))
    assert np.array_equal(same, claimed)


def test_an_unknown_game_is_named_with_its_neighbours():
    with pytest.raises(ValueError, match="coinrun"):
        action_classes("coinrum")
