"""Search in the true simulator: its plans are carried out as predicted, and return far more than random play."""

from __future__ import annotations

import numpy as np
import pytest

from lcd.envs import ProcgenOptions
from lcd.envs.procgen.actions import action_classes
from lcd.envs.procgen.engine import Engine
from lcd.envs.procgen.simulator import Simulator
from lcd.teachers.search import PlanSearch, SearchSettings


def play(game, settings, seed, steps):
    """Rewards and ends of one game that follows the search, decided anew at each step."""
    options = ProcgenOptions(game)
    live, search = Engine(options, 1, seed), PlanSearch(options, settings)
    rewards, firsts, last = [], [], None
    for _ in range(steps):
        plan = search.decide(live.get_state(0), last)
        live.act(plan[:1].astype(np.int32))
        live.observe()
        rewards.append(float(live.rewards[0]))
        firsts.append(bool(live.firsts[0]))
        last = None if firsts[-1] else plan
    live.close()
    search.close()
    return np.array(rewards), np.array(firsts)


def random_play(game, steps):
    """Mean reward and mean number of ends of games that play at random."""
    live, random = Engine(ProcgenOptions(game), 32, 0), np.random.default_rng(0)
    rewards = ends = 0.0
    for _ in range(steps):
        live.act(random.integers(15, size=32).astype(np.int32))
        live.observe()
        rewards += live.rewards.mean()
        ends += live.firsts.mean()
    live.close()
    return rewards, ends


@pytest.mark.costly()
def test_it_plays_far_better_than_chance():
    rewards, firsts = play("bigfish", SearchSettings(horizon=16, num_plans=16), seed=0, steps=200)
    by_chance, ends_by_chance = random_play("bigfish", 200)
    assert ends_by_chance > 1
    assert not firsts.any()
    assert rewards.sum() > 3 * by_chance


@pytest.mark.costly()
def test_a_route_leads_where_rewards_are_rare():
    settings = SearchSettings(horizon=6, num_plans=16, route_weight=0.1)
    rewards, firsts = play("maze", settings, seed=0, steps=100)
    assert firsts.sum() >= 3
    assert rewards.sum() == 10 * firsts.sum()


def test_the_plan_is_better_than_any_action_held():
    options, settings = ProcgenOptions("chaser"), SearchSettings(horizon=20, death_cost=0.0)
    live, search = Engine(options, 1, 1), PlanSearch(options, settings)
    state = live.get_state(0)
    plan = search.decide(state)
    assert plan.shape == (settings.horizon,)
    held = [np.full(settings.horizon, members[0]) for members in action_classes("chaser")]
    simulator = Simulator(options, len(held) + 1)
    rewards = simulator.try_plans(state, np.array([plan, *held])).rewards
    values = rewards @ settings.discount ** np.arange(settings.horizon)
    assert values[0] >= values[1:].max()
    assert values[0] > np.median(values[1:]) > 0
    for owner in (live, search, simulator):
        owner.close()


def test_the_same_seed_finds_the_same_plan():
    options = ProcgenOptions("bigfish")
    state = Engine(options, 1, 2).get_state(0)
    found = [PlanSearch(options, seed=7).decide(state, np.arange(20) % 9, elapsed=3) for _ in range(2)]
    assert np.array_equal(*found)


def test_a_route_in_an_open_game_is_refused():
    with pytest.raises(ValueError, match="bigfish"):
        PlanSearch(ProcgenOptions("bigfish"), SearchSettings(route_weight=0.1))


def test_too_few_plans_are_refused():
    with pytest.raises(ValueError, match="must be at least 12"):
        PlanSearch(ProcgenOptions("starpilot"), SearchSettings(num_plans=11))
