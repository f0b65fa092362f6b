"""Plans tried in copies come out as they would in the game itself."""

from __future__ import annotations

import numpy as np
import pytest

from lcd.envs import GAMES, ProcgenOptions
from lcd.envs.procgen.engine import Engine
from lcd.envs.procgen.saved_state import SavedState
from lcd.envs.procgen.simulator import Simulator


def contents(state):
    """What a state holds, without what only decides its drawing."""
    saved = SavedState(state)
    return saved.entities.tobytes(), saved.grid.tobytes(), saved.own.tobytes()


def advanced(engine, actions):
    engine.act(np.full(engine.num_envs, actions, np.int32))
    engine.observe()


@pytest.mark.parametrize("game", GAMES)
def test_a_plan_gives_what_the_game_gives(game):
    options, random, ends = ProcgenOptions(game), np.random.default_rng(0), 0
    live, simulator = Engine(options, 1, seed=3), Simulator(options, 4)
    for _ in range(12):
        for action in random.integers(15, size=10):
            advanced(live, action)
        state = live.get_state(0)
        plans = np.repeat(random.integers(15, size=(4, 8)), 5, axis=1)
        outcomes = simulator.try_plans(state, plans)
        assert live.get_state(0) == state  # the game itself stands still
        for action in plans[0]:
            advanced(live, action)
            if live.firsts[0]:
                break
        steps = outcomes.lengths[0]
        assert outcomes.ended[0] == bool(live.firsts[0])
        assert outcomes.completed[0] == bool(live.firsts[0] and live.level_completes[0])
        if not outcomes.ended[0]:
            assert steps == plans.shape[1]
            assert contents(simulator.states(1)[0]) == contents(live.get_state(0))
        live.set_state(0, state)
        for time, action in enumerate(plans[0]):
            advanced(live, action)
            expected = live.rewards[0] if time < steps else 0
            assert outcomes.rewards[0, time] == expected
        ends += int(outcomes.ended.sum())
    assert ends > 0 or game not in {"chaser", "leaper", "starpilot"}
    live.close()
    simulator.close()


def test_too_many_plans_are_refused():
    simulator = Simulator(ProcgenOptions("maze"), 2)
    with pytest.raises(ValueError, match="3 plans do not fit into 2 copies"):
        simulator.try_plans(Engine(ProcgenOptions("maze"), 1, 0).get_state(0), np.zeros((3, 4), np.int64))
