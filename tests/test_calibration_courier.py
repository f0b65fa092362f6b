"""Courier, the calibration game: rules, rendering, exact returns, and what each difficulty factor leaves unchanged."""

from __future__ import annotations

from dataclasses import fields

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_sb3_env

from lcd.agents import PPO
from lcd.envs.calibration.adaptors import CalibrationEnv, CalibrationVecEnv
from lcd.envs.calibration.batch import CalibrationBatch
from lcd.envs.calibration.counter_random import uniform
from lcd.envs.calibration.courier import EPISODE, MOVES, PATIENCE, SIZE, Courier, Rules
from lcd.envs.calibration.courier_drawing import CELL, OTHER_LABEL, CourierDrawing
from lcd.envs.calibration.difficulty import PERCEPTUAL, POLICY, DifficultyFactors
from lcd.envs.calibration.expert import CourierExpert
from lcd.envs.calibration.optimum import expected_returns
from lcd.envs.calibration.options import CourierOptions, TrackerOptions

SETTINGS = [
    DifficultyFactors(),
    DifficultyFactors(horizon=0.5),
    DifficultyFactors(horizon=1, clutter=1, distractors=1, change=1, noise=1, camouflage=1),
    DifficultyFactors(subgoals=1, horizon=0.2),
    DifficultyFactors(delay=0.5, sparsity=1, horizon=0.3),
    DifficultyFactors(slip=1),
    DifficultyFactors(slip=0.6, subgoals=0.5, horizon=0.3, distractors=0.5),
]


EVERYONE = np.arange(40)


def actions_of_nobody(count):
    generator = np.random.default_rng(0)
    while True:
        yield generator.integers(len(MOVES), size=count)


def returns(env, policy):
    """Returns of one episode in every game, and what was seen on the way."""
    observations, total, seen = env.reset(), np.zeros(env.num_envs), []
    for _ in range(EPISODE):
        seen.append(observations)
        observations, rewards, dones, _ = env.step(policy(observations))
        total += rewards
    assert dones.all()
    return total, seen


def test_dials_are_either_perceptual_or_of_policy():
    assert set(PERCEPTUAL).isdisjoint(POLICY)
    assert {*PERCEPTUAL, *POLICY} == {field.name for field in fields(DifficultyFactors)}


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), "0.5", True, None])
def test_an_impossible_dial_is_one_clear_sentence(value):
    with pytest.raises(ValueError, match=r"^The difficulty factor noise must be a number from 0 to 1, not .*\.$"):
        DifficultyFactors(noise=value)


def test_random_numbers_depend_on_every_key_and_are_even():
    numbers = uniform(np.arange(200)[:, None], 3, np.arange(200))
    assert numbers.shape == (200, 200)
    assert np.unique(numbers).size == numbers.size
    assert not np.intersect1d(numbers, uniform(np.arange(200)[:, None], 4, np.arange(200))).size
    assert np.array_equal(numbers[7], uniform(7, 3, np.arange(200)))
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
    assert (np.abs(counts - 2000) < 5 * np.sqrt(2000)).all()
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("factors", SETTINGS)
def test_expert_and_random_policy_return_what_planning_computes(factors):
    expected = expected_returns(factors)
    expert, generator = CourierExpert(factors), torch.Generator().manual_seed(0)

    def best(labels):
        probabilities = expert.log_probabilities(torch.as_tensor(labels)).exp()
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(1).numpy()

    nobody = actions_of_nobody(600)
    for policy, mean in ((best, expected.best), (lambda labels: next(nobody), expected.random)):
        played, _ = returns(CalibrationVecEnv(CourierOptions(factors), 600, "semantic", seed=1), policy)
        assert played.mean() == pytest.approx(mean, abs=4 * max(played.std(), 0.01) / np.sqrt(600))


def test_without_slips_the_best_return_is_the_number_of_jobs_that_fit():
    for factors in (
        DifficultyFactors(horizon=0.5),
        DifficultyFactors(horizon=1, subgoals=0.25),
        DifficultyFactors(subgoals=1),
    ):
        rules = Rules.of(factors)
        assert expected_returns(factors).best == EPISODE // rules.pace // rules.items


def test_a_move_takes_as_many_steps_as_the_horizon_says_and_only_the_last_action_counts():
    slow, fast = Courier(DifficultyFactors(horizon=0.5), EVERYONE), Courier(DifficultyFactors(), EVERYONE)
    assert slow.rules.pace == 4
    nobody = actions_of_nobody(len(EVERYONE))
    for step in range(1, EPISODE):
        actions = next(nobody)
        paid = slow.step(actions)[0]
        if step % 4 == 0:
            assert np.array_equal(paid, fast.step(actions)[0])
        else:
            assert not paid.any()
        assert np.array_equal(slow.items, fast.items)


def test_an_item_that_is_not_fetched_is_laid_out_anew_and_those_fetched_are_not_lost():
    courier = Courier(DifficultyFactors(subgoals=0.25), EVERYONE)
    for step in range(1, 2 * PATIENCE + 1):
        before, fetched = courier.items.copy(), courier.fetched.copy()
        courier.step(np.zeros(len(EVERYONE), int))
        assert (courier.items == before).all() == (step % PATIENCE != 0)
        assert np.array_equal(courier.fetched, fetched)
    towards = [np.flatnonzero((item[0] == MOVES % SIZE).all(axis=1)).item() for item in courier.items]
    courier.step(np.array(towards))
    assert (courier.fetched == 1).all()
    for _ in range(PATIENCE):
        courier.step(np.zeros(len(EVERYONE), int))
    assert (courier.fetched == 1).all()
    assert all((MOVES[1:] % SIZE == item[1]).all(axis=1).any() for item in courier.items)


@pytest.mark.parametrize("factor", ["delay", "sparsity"])
def test_when_rewards_are_paid_changes_no_return(factor):
    totals, first_rewards = [], []
    for value in (0, 0.3, 1):
        courier = Courier(DifficultyFactors(**{factor: value}), np.arange(100))
        nobody = actions_of_nobody(100)
        paid = np.array([courier.step(next(nobody))[0] for _ in range(EPISODE)])
        totals.append(paid.sum(axis=0))
        first_rewards.append(np.argmax(paid > 0, axis=0))
    assert np.array_equal(totals[0], totals[1])
    assert np.array_equal(totals[0], totals[2])
    assert (first_rewards[0] <= first_rewards[1]).all()
    assert first_rewards[0].mean() < first_rewards[1].mean() < first_rewards[2].mean()


OWING = [({}, False), ({"horizon": 1.0}, False), ({"delay": 0.1}, True), ({"sparsity": 1.0}, True)]


@pytest.mark.parametrize(("factors", "owing"), OWING)
def test_where_rewards_may_be_owed_the_last_step_ends_the_game(factors, owing):
    """What is owed is paid then, and nothing of it may be expected behind it; elsewhere the limit cuts the game off."""
    env = CalibrationVecEnv(CourierOptions(DifficultyFactors(**factors)), 3, "both")
    single = gymnasium.make("lcd/Courier-v0", **factors)
    several = gymnasium.make_vec("lcd/Courier-v0", num_envs=3, **factors)
    env.reset(), single.reset(seed=0), several.reset(seed=0)
    for _ in range(EPISODE):
        *_, dones, infos = env.step(np.zeros(3, int))
        last, _, terminated, truncated, info = single.step(0)
        *_, of_vector = several.step(np.zeros(3, int))
    assert dones.all()
    assert {info["terminated"] for info in infos} == {owing}
    assert {info["TimeLimit.truncated"] for info in infos} == {not owing}
    assert all(info["terminal_observation"]["pixels"].shape == (64, 64, 3) for info in infos)
    assert (terminated, truncated, info["final_frame"]) == (owing, not owing, True)
    assert single.observation_space.contains(last)
    assert of_vector["_final_obs"].all()
    again, _, terminated, truncated, _ = several.step(np.zeros(3, int))
    assert not (terminated | truncated).any()
    assert not np.array_equal(of_vector["final_obs"][0], again[0])


@pytest.mark.parametrize(("factors", "owing"), OWING)
def test_what_is_owed_counts_once_in_what_a_learner_learns_from(factors, owing):
    """A critic that expects 5 everywhere: it is asked what comes after the last step only if rewards may come."""
    env = CalibrationVecEnv(CourierOptions(DifficultyFactors(**factors)), 4, seed=1)
    paid, step_wait = [], env.step_wait

    def watched():
        observations, rewards, dones, infos = step_wait()
        paid.append(rewards.copy())
        return observations, rewards, dones, infos

    env.step_wait = watched
    model = PPO(env=env, encoder="small", n_steps=EPISODE, batch_size=64, n_epochs=1, gamma=0.9, device="cpu", seed=0)
    torch.nn.init.zeros_(model.policy.value_net.weight)
    torch.nn.init.constant_(model.policy.value_net.bias, 5.0)
    _, callback = model._setup_learn(EPISODE)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, EPISODE)
    learned_from = model.rollout_buffer.rewards
    assert np.array_equal(learned_from[:-1], np.array(paid)[:-1])
    assert learned_from[-1] - paid[-1] == pytest.approx(0.0 if owing else 0.9 * 5, abs=1e-4)


@pytest.mark.parametrize("factor", PERCEPTUAL)
def test_perceptual_factors_change_the_frames_and_not_the_game(factor):
    outcomes = []
    for value in (0.0, 1.0):
        env = CalibrationVecEnv(CourierOptions(DifficultyFactors(horizon=0.3, **{factor: value})), 8, "both", seed=3)
        nobody = actions_of_nobody(8)
        total, seen = returns(env, lambda _, nobody=nobody: next(nobody))
        outcomes.append((total, seen))
    (easy, plain), (hard, changed) = outcomes
    assert np.array_equal(easy, hard)
    for before, after in zip(plain, changed, strict=True):
        assert not np.array_equal(before["pixels"], after["pixels"])
        assert np.array_equal(before["semantic"], after["semantic"])


@pytest.mark.parametrize("factor", POLICY)
def test_policy_factors_change_nothing_in_how_a_state_is_drawn(factor):
    courier = Courier(DifficultyFactors(), np.arange(6))
    drawings = [CourierDrawing(DifficultyFactors(**{factor: value})) for value in (0.0, 1.0)]
    everyone = np.arange(6)
    assert np.array_equal(*(drawing.frames(courier, everyone) for drawing in drawings))
    assert np.array_equal(*(drawing.labels(courier, everyone) for drawing in drawings))


def test_the_frame_follows_the_player_around_the_torus():
    courier, drawing, everyone = (
        Courier(DifficultyFactors(), np.arange(4)),
        CourierDrawing(DifficultyFactors(clutter=1)),
        np.arange(4),
    )
    before = drawing.frames(courier, everyone)
    items = courier.items.copy()
    courier.step(np.full(4, 2))  # down
    after = drawing.frames(courier, everyone)
    assert np.array_equal(courier.items[..., 0], (items[..., 0] - 1) % SIZE)
    middle = slice(4 * CELL, 5 * CELL)
    moved = np.roll(before, -CELL, axis=1)
    moved[:, :, middle] = after[:, :, middle]  # the player's column is all that differs
    assert np.array_equal(moved, after)


@pytest.mark.parametrize(
    "options",
    [CourierOptions(DifficultyFactors(**dict.fromkeys(PERCEPTUAL + POLICY, 0.7))), TrackerOptions(shapes="held-out")],
)
def test_both_views_together_are_those_taken_alone(options):
    both, pixels, semantic = (CalibrationBatch(options, 5, view, seed=4) for view in ("both", "pixels", "semantic"))
    nobody = actions_of_nobody(5)
    for _ in range(20):
        actions = next(nobody)
        seen = both.step(actions).observations
        assert np.array_equal(seen["pixels"], pixels.step(actions).observations)
        assert np.array_equal(seen["semantic"], semantic.step(actions).observations)


def test_a_level_decides_everything_but_the_actions():
    factors = DifficultyFactors(clutter=1, noise=0.5, distractors=1, slip=0.5, change=1)
    options = CourierOptions(factors, num_levels=3, start_level=7)
    one, many = CalibrationVecEnv(options, 1, seed=5), CalibrationVecEnv(options, 40, seed=0)
    frames, firsts = many.reset(), {}
    for seed, frame in zip(many.reset_infos, frames, strict=True):
        assert seed["level_seed"] in (7, 8, 9)
        assert np.array_equal(firsts.setdefault(seed["level_seed"], frame), frame)
    assert np.array_equal(one.reset()[0], firsts[one.reset_infos[0]["level_seed"]])
    assert len(firsts) == 3
    runs = []
    for _ in range(2):
        env, nobody = CalibrationVecEnv(options, 4, seed=9), actions_of_nobody(4)
        runs.append(np.array(returns(env, lambda _, nobody=nobody: next(nobody))[1]))
    assert np.array_equal(*runs)


@pytest.mark.filterwarnings("ignore:Your observation")
@pytest.mark.parametrize("view", ["pixels", "semantic", "both"])
def test_checkers_of_gymnasium_and_sb3_pass(view):
    env = gymnasium.make("lcd/Courier-v0", view=view, render_mode="rgb_array", num_levels=100, clutter=0.5)
    check_env(env.unwrapped)
    check_sb3_env(env)
    assert env.render().shape == (64, 64, 3)


def test_the_last_frame_of_an_episode_is_there():
    envs = gymnasium.make_vec("lcd/Courier-v0", num_envs=3, view="both", horizon=0.5)
    observations, _ = envs.reset(seed=1)
    for _ in range(EPISODE - 1):
        observations, _, _, truncated, info = envs.step(np.zeros(3, int))
        assert not truncated.any()
    before = observations["semantic"]
    observations, _, terminated, truncated, info = envs.step(np.full(3, 4))  # right: all else moves left
    assert truncated.all()
    assert not terminated.any()
    others = np.r_[: 4 * CELL, 5 * CELL : SIZE * CELL]  # rows without the player
    for game, final in enumerate(info["final_obs"]):
        assert envs.single_observation_space.contains(final)
        seen = np.where(final["semantic"] == OTHER_LABEL, OTHER_LABEL, 0)
        moved = np.roll(np.where(before[game] == OTHER_LABEL, OTHER_LABEL, 0), -CELL, axis=1)
        assert np.array_equal(seen[others], moved[others])
        assert not np.array_equal(final["semantic"], observations["semantic"][game])


@pytest.mark.parametrize(
    ("game", "settings", "sentence"),
    [
        ("couriers", {}, "Unknown calibration game 'couriers': choose one of courier, tracker."),
        ("courier", {"cluter": 0.5}, "courier has no setting 'cluter': it has clutter, camouflage"),
        ("tracker", {"noise": 0.5}, "tracker has no setting 'noise': it has distractors"),
        ("courier", {"num_levels": -1}, "num_levels must be a whole number"),
    ],
)
def test_impossible_games_are_one_clear_sentence(game, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        CalibrationEnv(game, **settings)


@pytest.mark.parametrize("actions", [[0, 5], [-1, 0], [1.5, 0], [0], 0])
def test_impossible_actions_are_one_clear_sentence(actions):
    batch = CalibrationBatch(CourierOptions(), 2)
    with pytest.raises(ValueError, match=r"^The actions of 2 games are as many numbers from 0 to 4, not .*\.$"):
        batch.step(actions)


def test_a_dial_is_the_same_setting_however_its_number_is_written():
    assert repr(DifficultyFactors(noise=1, delay=-0.0)) == repr(DifficultyFactors(noise=1.0))
