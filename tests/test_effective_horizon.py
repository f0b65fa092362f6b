"""The effective horizon of games whose answer is known, and of levels of Procgen."""

from __future__ import annotations

import numpy as np
import pytest

from lcd.envs import ProcgenOptions
from lcd.envs.procgen.actions import action_classes
from lcd.envs.procgen.engine import Engine
from lcd.envs.procgen.simulator import Simulator
from lcd.studies.validation.effective_horizon import ProcgenCopies, effective_horizon, greedy_return, teacher_return


class Lock:
    """Pays 1 once the first actions were all right: the first wrong one ends it."""

    actions = 2

    def __init__(self, length):
        self.length = length
        self.restart()

    def restart(self):
        self.right = 0

    def returns(self, plans):
        wanted = self.length - self.right
        return (plans[:, :wanted] == 1).all(axis=1) * float(plans.shape[1] >= wanted > 0)

    def step(self, action):
        self.right += action
        over = action == 0 or self.right == self.length
        return float(self.right == self.length), over


class Paying(Lock):
    """Pays at once for each right action."""

    def returns(self, plans):
        return 100.0 * plans[:, 0] + plans[:, 1:].sum(axis=1)

    def step(self, action):
        return float(action), False


def test_what_is_paid_at_once_needs_no_horizon_and_a_lock_needs_its_length():
    assert effective_horizon([(Paying(0), 8.0)] * 20, 8) == 1
    found = [effective_horizon([(Lock(length), 1.0)] * 40, 8, (1, 2, 4, 8, 16, 32, 64)) for length in (1, 3, 5)]
    assert found[0] == 1
    # A lock of length n opens by chance once in 2^(n-1) tries after the right first action.
    assert 2 <= found[1] <= 4
    assert 4 <= found[2] <= 6
    assert found == sorted(found)


def test_what_search_does_not_solve_counts_as_more_than_the_largest_number():
    assert effective_horizon([(Lock(20), 1.0)] * 4, 20, (1, 2, 4)) == pytest.approx(1 + 3)
    assert np.isnan(effective_horizon([], 8))


def test_the_same_seed_plays_the_same():
    returns = [greedy_return(Lock(4), 4, 8, np.random.default_rng(seed)) for seed in (1, 1)]
    assert returns[0] == returns[1]


def test_copies_of_a_level_pay_what_the_level_pays():
    options, level = ProcgenOptions("fruitbot", num_levels=200), 3
    classes = action_classes("fruitbot")
    simulator = Simulator(options, 6)
    copies = ProcgenCopies(options, level, simulator)
    live = Engine(ProcgenOptions("fruitbot", num_levels=1, start_level=level), 1, seed=9)
    actions = np.random.default_rng(0).integers(len(classes), size=60)
    expected = []
    for action in actions:
        live.act(np.array([classes[action][-1]], np.int32))
        live.observe()
        expected.append(float(live.rewards[0]))
        if live.firsts[0]:
            break
    assert copies.returns(actions[None])[0] == pytest.approx(sum(expected))
    copies.restart()
    paid = [copies.step(int(action)) for action in actions[: len(expected)]]
    assert [reward for reward, _ in paid] == expected
    assert [over for _, over in paid][:-1] == [False] * (len(expected) - 1)
    live.close()
    simulator.close()


def test_a_teacher_earns_more_than_chance_in_the_first_steps():
    from lcd.agents import load_policy
    from lcd.teachers.library import shipped_for

    options = ProcgenOptions("fruitbot", num_levels=200)
    found = shipped_for(options)
    assert found is not None
    teacher, _ = load_policy(found[0])
    simulator = Simulator(options, 32)
    chance, taught = [], []
    for level in range(3):
        copies = ProcgenCopies(options, level, simulator)
        plans = np.random.default_rng(level).integers(copies.actions, size=(32, 80))
        chance.append(copies.returns(plans).mean())
        taught.append(teacher_return(options, level, teacher, 80))
    simulator.close()
    assert np.mean(taught) > np.mean(chance) + 1
