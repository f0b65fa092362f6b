"""Twin views in lockstep, seeds, level ranges, episode ends."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lcd.envs import GAMES, LockstepError, ProcgenBatch, ProcgenOptions
from lcd.envs.procgen.saved_state import INT32_MAX, SavedState

pytestmark = pytest.mark.costly()

NO_OP = 4
SLOW_TO_END = {"caveflyer", "climber", "coinrun", "heist", "jumper", "maze", "miner", "plunder", "ninja"}


def play(batch, steps, seed=0):
    rng = np.random.default_rng(seed)
    return [batch.step(rng.integers(0, 15, batch.num_envs)) for _ in range(steps)]


def same_views(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)
    return np.array_equal(first, second)


@pytest.mark.parametrize("game", GAMES)
def test_both_views_stay_in_lockstep_and_equal_the_single_views(game):
    options = ProcgenOptions(game, distribution_mode="hard", num_levels=50)
    both, pixels, semantic = (ProcgenBatch(options, 32, view, seed=3) for view in ("both", "pixels", "semantic"))
    rng = np.random.default_rng(1)
    ends = 0
    for step in range(150):
        actions = rng.integers(0, 15, 32)
        seen = both.step(actions)  # raises where the two drawings diverge
        alone = pixels.step(actions), semantic.step(actions)
        for other in alone:
            assert np.array_equal(seen.rewards, other.rewards)
            assert np.array_equal(seen.terminated, other.terminated)
        assert np.array_equal(seen.observations["pixels"], alone[0].observations)
        assert np.array_equal(seen.observations["semantic"], alone[1].observations)
        ends += int((seen.terminated | seen.truncated).sum())
        if step == 75:
            for batch in (both, pixels, semantic):
                batch.restart()
            ends += 32 * (game in SLOW_TO_END)
    assert ends > 0


@pytest.mark.parametrize(("game", "steps"), [("bigfish", 300), ("bossfight", 300), ("fruitbot", 300), ("plunder", 460)])
def test_lockstep_holds_over_many_episodes_where_the_twin_is_repaired(game, steps):
    batch = ProcgenBatch(ProcgenOptions(game), 64, "both", seed=5)
    rng = np.random.default_rng(2)
    ends = sum(int(batch.step(rng.choice([1, 7, 9, 4], 64)).terminated.sum()) for _ in range(steps))
    assert ends >= 64


def test_lockstep_holds_in_sequential_levels():
    batch = ProcgenBatch(ProcgenOptions("plunder", use_sequential_levels=True), 8, "both", seed=0)
    play(batch, 50)
    maze = ProcgenBatch(ProcgenOptions("maze", use_sequential_levels=True), 64, "both", seed=0)
    steps = play(maze, 300)
    completed = np.array([step.level_completes for step in steps])
    ended = np.array([step.terminated | step.truncated for step in steps])
    assert completed.any()
    assert not (completed & ended).any()


@pytest.mark.parametrize("game", ["starpilot", "bigfish", "fruitbot", "plunder", "ninja", "caveflyer"])
def test_a_divergence_costs_nothing_but_its_step(game):
    batch, undisturbed = (ProcgenBatch(ProcgenOptions(game, "hard"), 4, "both", seed=5) for _ in range(2))
    other = ProcgenBatch(ProcgenOptions(game, "hard"), 4, "semantic", seed=9)
    play(batch, 30), play(undisturbed, 30)
    batch._engines[1].look_at(2, other._engines[0], 0)
    for now, step in enumerate(zip(play(batch, 60), play(undisturbed, 60), strict=True)):
        assert np.array_equal(step[0].rewards, step[1].rewards)
        if now > 3:  # a divergence that no reward shows is found when the game's turn to be compared comes
            assert same_views(step[0].observations, step[1].observations)
    assert (batch.divergences, undisturbed.divergences) == (1, 0)


def test_divergences_without_end_are_an_error(monkeypatch):
    batch = ProcgenBatch(ProcgenOptions("bigfish"), 4, "both")
    rewards = batch._engines[1].rewards.copy()
    rewards[1] = 7
    monkeypatch.setattr(batch._engines[1], "rewards", rewards)
    with pytest.raises(LockstepError, match=r"bigfish diverged 11 times in 12 steps of 4 games"):
        play(batch, 20)


def test_the_finish_line_of_starpilot_has_its_theme_s_width_in_both_drawings():
    batch = ProcgenBatch(ProcgenOptions("starpilot"), 32, "both")
    for index in range(32):  # into the step in which the finish line appears, with nobody in the way
        for engine in batch._engines:
            state = SavedState(engine.get_state(index))
            state.entities = state.entities[state.entities["type"] == 0]
            state.time = 499
            engine.set_state(index, state.to_bytes())
    widths, finished = set(), np.zeros(32, bool)
    for _ in range(110):
        step = batch.step(np.full(32, NO_OP))
        assert all(batch._engines[1].shows(index, batch._engines[0]) for index in range(32))
        finished |= step.rewards == 10
        for index in np.flatnonzero(~finished):
            entities = SavedState(batch.saved_state(index)).entities
            widths |= set(entities["rx"][entities["type"] == 9].tolist())
    assert finished.all()
    assert len(widths) == 4
    assert batch.divergences == 0


@pytest.mark.parametrize("view", ["pixels", "semantic", "both"])
def test_a_seed_decides_everything(view):
    options = ProcgenOptions("caveflyer")
    runs = [play(ProcgenBatch(options, 8, view, seed=seed), 40) for seed in (1, 1, 2)]
    for first, again in zip(runs[0], runs[1], strict=True):
        assert same_views(first.observations, again.observations)
        assert np.array_equal(first.rewards, again.rewards)
        assert np.array_equal(first.level_seeds, again.level_seeds)
    assert not np.array_equal(runs[0][0].level_seeds, runs[2][0].level_seeds)


def test_threads_change_nothing():
    options = ProcgenOptions("dodgeball")
    alone, threaded = (play(ProcgenBatch(options, 8, "both", seed=1, num_threads=n), 60) for n in (0, 2))
    assert all(same_views(a.observations, b.observations) for a, b in zip(alone, threaded, strict=True))


def test_training_and_unseen_levels_are_disjoint_and_kept_to():
    options = ProcgenOptions("bossfight")
    training = options.training_levels(20)
    unseen = options.unseen_levels(20)
    seeds = {}
    for name, levels in (("training", training), ("unseen", unseen)):
        batch = ProcgenBatch(levels, 32, seed=0)
        seeds[name] = {int(seed) for step in play(batch, 120) for seed in step.level_seeds}
    assert seeds["training"] == set(range(20))
    assert min(seeds["unseen"]) >= 20
    assert len(seeds["unseen"]) > 40


@pytest.mark.parametrize("game", ["leaper", "maze"])
def test_an_episode_cut_off_shows_what_it_would_have_shown(game):
    options = ProcgenOptions(game, distribution_mode="hard")
    batch, endless = (ProcgenBatch(options, 3, "both", seed=4) for _ in range(2))
    for engine in endless._engines:
        for index in range(3):
            state = SavedState(engine.get_state(index))
            state.timeout = INT32_MAX
            engine.set_state(index, state.to_bytes())
    endless._timeout = INT32_MAX
    for _ in range(499):
        step, onwards = batch.step(np.full(3, NO_OP)), endless.step(np.full(3, NO_OP))
        assert not (step.terminated | step.truncated).any()
        assert not step.final_observations
    step, onwards = batch.step(np.full(3, NO_OP)), endless.step(np.full(3, NO_OP))
    assert step.truncated.all()
    assert not step.terminated.any()
    for index in range(3):
        here = {name: view[index] for name, view in onwards.observations.items()}
        assert same_views(step.final_observations[index], here)
        first = {name: view[index] for name, view in step.observations.items()}
        assert not same_views(step.final_observations[index], first)
    assert not (onwards.terminated | onwards.truncated).any()


def test_the_length_of_an_episode_is_counted_from_a_restart():
    batch = ProcgenBatch(ProcgenOptions("maze"), 2)
    for _ in range(300):
        batch.step(np.full(2, NO_OP))
    batch.restart()
    lengths = [step for step in range(1, 501) if batch.step(np.full(2, NO_OP)).truncated.any()]
    assert lengths == [500]


def test_a_completed_level_is_told_from_a_lost_one():
    maze = play(ProcgenBatch(ProcgenOptions("maze"), 64, seed=1), 400)
    won = np.array([step.level_completes for step in maze])
    assert won.any()
    assert np.array_equal(won, np.array([step.rewards for step in maze]) == 10)
    assert np.array_equal(won, np.array([step.terminated for step in maze]))
    for step in maze:
        assert np.array_equal(step.previous_level_seeds != step.level_seeds, step.terminated)
    bossfight = play(ProcgenBatch(ProcgenOptions("bossfight"), 32, seed=1), 60)
    assert any(step.terminated.any() for step in bossfight)
    assert not any(step.level_completes.any() for step in bossfight)


@pytest.mark.parametrize(
    ("game", "change", "same_play"),
    [
        ("coinrun", {"use_backgrounds": False}, True),
        ("coinrun", {"restrict_themes": True}, True),
        ("starpilot", {"use_monochrome_assets": True}, True),
        ("ninja", {"paint_vel_info": True}, True),
        ("caveflyer", {"center_agent": False}, True),
        ("climber", {"use_generated_assets": True}, False),
        ("bigfish", {"distribution_mode": "hard"}, False),
        ("maze", {"distribution_mode": "memory"}, False),
        ("coinrun", {"start_level": 50, "num_levels": 10}, False),
        ("coinrun", {"num_levels": 1}, False),
    ],
)
def test_every_option_reaches_procgen(game, change, same_play):
    base = {"num_levels": 40} if "distribution_mode" not in change else {}
    both = (ProcgenOptions(game, **base), ProcgenOptions(game, **(base | change)))
    plain, changed = (play(ProcgenBatch(options, 16, seed=2), 60) for options in both)
    assert not np.array_equal(plain[0].observations, changed[0].observations)
    if same_play:
        assert all(np.array_equal(a.rewards, b.rewards) for a, b in zip(plain, changed, strict=True))
        assert all(np.array_equal(a.terminated, b.terminated) for a, b in zip(plain, changed, strict=True))


def test_generated_assets_end_in_time_without_a_final_frame():
    batch = ProcgenBatch(ProcgenOptions("maze", use_generated_assets=True), 2)
    for _ in range(499):
        assert not batch.step(np.full(2, NO_OP)).truncated.any()
    step = batch.step(np.full(2, NO_OP))
    assert step.truncated.all()
    assert not step.final_observations


@pytest.mark.parametrize("actions", [[0], [0, 15], [0, -1], [0, 0.7], [[0, 1]]])
def test_what_is_no_action_is_refused_before_procgen_takes_it_for_one(actions):
    batch = ProcgenBatch(ProcgenOptions("maze"), 2)
    with pytest.raises(ValueError, match=r"^The actions of 2 games are as many numbers from 0 to 14, not .*\.$"):
        batch.step(np.array(actions))
    batch.close()


def test_a_game_that_is_given_up_ends_with_the_coming_step_and_no_later_one():
    batch = ProcgenBatch(ProcgenOptions("maze"), 3)
    batch.give_up(np.array([False, True, False]))
    ends = [batch.step(np.full(3, NO_OP)).terminated.tolist() for _ in range(2)]
    assert ends == [[False, True, False], [False] * 3]
    batch.close()


@pytest.mark.parametrize("index", [-1, 2])
def test_there_is_no_saved_state_of_a_game_that_is_none(index):
    batch = ProcgenBatch(ProcgenOptions("maze"), 2)
    with pytest.raises(IndexError, match=f"no game {index}: the 2 of this batch"):
        batch.saved_state(index)
    batch.close()


def test_the_exploration_mode_is_one_level():
    batch = ProcgenBatch(ProcgenOptions("coinrun", distribution_mode="exploration"), 4, "both")
    seen = batch.observe()["pixels"]
    assert all(np.array_equal(seen[0], frame) for frame in seen)


def test_an_engine_may_be_collected_while_another_loads():
    """In a process of its own, for what waits for the lock would wait for ever."""
    script = """
import gc, weakref
from lcd.envs import ProcgenOptions
from lcd.envs.procgen.engine import Engine
engine = Engine(ProcgenOptions("maze"), 1, 0)
lock = engine._env._ffi._lock
cycle = [engine]
cycle.append(cycle)
dropped = weakref.ref(engine)
with lock:  # as loading the library does
    del engine, cycle
    gc.collect()
assert dropped() is None
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
