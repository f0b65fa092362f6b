"""The ladder: label maps around the player, rewards shaped by a teacher's value, and steps that add up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from commands import lcd as lcd_command
from in_process import InProcess
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize
from tiny import GAME, TINY
from toy_games import ColourGame, ColourTeacher

import lcd
from lcd.agents import EncoderPolicy, TaughtVecEnv, load_policy
from lcd.agents.teacher_value import TeacherValue, ValueShapedVecEnv
from lcd.envs import GAMES, ProcgenOptions, centred, family_of, make_vec_env
from lcd.envs.centring import EDGE
from lcd.envs.family import game_options, has_view, observation_space
from lcd.experiments.plan import plan_game
from lcd.experiments.run import reward_scale
from lcd.studies.baselines import baselines_of
from lcd.studies.ladder import STEPS, ladder_of, ladder_table


def test_a_centred_map_has_the_player_in_the_middle_and_loses_nothing():
    random = np.random.default_rng(0)
    labels = random.choice([0, 2, 3, 4], (200, 12, 16)).astype(np.uint8)
    places = np.stack([random.integers(12, size=200), random.integers(16, size=200)], axis=1)
    labels[np.arange(200), places[:, 0], places[:, 1]] = 1
    found = centred(labels, {1})
    assert (found[:, 6, 8] == 1).all()
    for before, after, (row, column) in zip(labels, found, places, strict=True):
        moved = np.roll(before, (6 - row, 8 - column), (0, 1))
        line = np.zeros_like(before, bool)
        line[0], line[:, 0] = True, True
        line = np.roll(line, (6 - row, 8 - column), (0, 1))
        assert (after == np.where(line & (moved == 0), EDGE, moved)).all()


def test_a_player_of_several_pixels_or_labels_is_centred_as_a_whole_and_one_that_is_gone_moves_nothing():
    labels = np.zeros((3, 8, 8), np.uint8)
    labels[0, 2:5, 1:4] = [[1, 1, 1], [1, 7, 1], [1, 1, 1]]
    labels[1, 2:5, 1:4] = 1
    labels[2, 5, 5] = 3
    found = centred(labels, {1, 7})
    assert (found[0, 3:6, 3:6] == [[1, 1, 1], [1, 7, 1], [1, 1, 1]]).all()
    assert (found[1, 3:6, 3:6] == 1).all()
    assert found[2, 5, 5] == 3
    assert (found[2, 0] == EDGE).all()
    assert (found[2, :, 0] == EDGE).all()
    assert labels.max() == 7  # what was given is left as it was


@pytest.mark.parametrize("game", GAMES)
def test_games_are_shown_around_their_player(game):
    options = ProcgenOptions(game, num_levels=20)
    assert has_view(options, "centred") == (game != "plunder")
    if game == "plunder":
        with pytest.raises(ValueError, match="plunder has no label of the player"):
            make_vec_env(options, 1, "centred")
        return
    assert observation_space(options, "centred").shape == (64, 64)
    env = make_vec_env(options, 4, ("centred", "semantic"), seed=3)
    players = family_of(options).player_labels(options)
    observed = env.reset()
    for _ in range(5):
        observed = env.step(np.random.default_rng(0).integers(15, size=4))[0]
    env.close()
    for labels, moved in zip(observed["semantic"], observed["centred"], strict=True):
        where = np.argwhere(np.isin(labels, sorted(players)))
        if len(where):
            there = np.argwhere(np.isin(moved, sorted(players)))
            assert np.abs(there.mean(axis=0) - 32).max() <= 1.5
        assert (np.bincount(moved.flat, minlength=65)[1:64] == np.bincount(labels.flat, minlength=65)[1:64]).all()


def test_games_of_other_families_are_shown_around_their_player_or_refuse():
    assert has_view(game_options("courier"), "centred")
    assert not has_view(game_options("MiniGrid-Empty-5x5-v0"), "centred")  # what the agent sees, from its place
    assert not has_view(game_options("own_games:Remembered"), "centred")  # a vector
    assert not has_view(game_options("own_games:Grid"), "centred")  # which label is the player's, nobody knows


class _Table(EncoderPolicy):
    """The value of a state is the label that fills it."""

    def __init__(self):
        game = ColourGame(1, "semantic")
        super().__init__(game.observation_space, game.action_space, lambda _: 0.0, "nature:8")

    def predict_values(self, obs):
        return obs[:, 5:6, 5].float()


@pytest.mark.parametrize("truncates", [False, True])
def test_shaping_adds_up_to_the_value_of_the_first_state(truncates):
    game = ColourGame(3, "semantic", lengths=[2, 3, 5], truncates=truncates)
    gamma = 0.9
    env = ValueShapedVecEnv(VecMonitor(TaughtVecEnv(game)), _Table(), gamma)
    observed = env.reset()
    random = np.random.default_rng(0)
    begun = observed[:, 5, 5].astype(float)
    returns, plain, earned, age = (np.zeros(3) for _ in range(4))
    for _ in range(30):
        actions = random.integers(4, size=3)
        right = (actions == game._colours).astype(float)
        observed, rewards, dones, infos = env.step(actions)
        returns += gamma**age * rewards
        plain += gamma**age * right
        earned += right
        age += 1
        for index in np.flatnonzero(dones):
            last = float(infos[index]["terminal_observation"][5, 5]) if truncates else 0.0
            expected = plain[index] + gamma ** age[index] * last - begun[index]
            assert returns[index] == pytest.approx(expected, abs=1e-5)
            assert infos[index]["episode"]["r"] == earned[index]  # the log has the game's own rewards
            begun[index] = observed[index, 5, 5]
            returns[index] = plain[index] = earned[index] = age[index] = 0


def test_a_teachers_value_is_what_it_returns_in_the_games_own_unit():
    """The teacher always earns 3, whatever the learner would do; with a discount of ½ every state is worth 6."""
    game = ColourGame(8, "semantic", lengths=1000)
    game.step_wait, step = lambda: (lambda o, r, d, i: (o, 3 * r, d, i))(*step()), game.step_wait
    env = VecNormalize(VecMonitor(TaughtVecEnv(game)), norm_obs=False, gamma=0.5)
    model = TeacherValue(
        env=env, teacher=ColourTeacher(), n_steps=16, batch_size=32, gamma=0.5, learning_rate=1e-3, device="cpu", seed=0
    )
    model.learn(40 * 8 * 16)
    model.policy.scale_values(reward_scale(env))
    values = model.policy.predict_values(torch.as_tensor(game.history[-1]))
    assert values.detach().numpy() == pytest.approx(6, rel=0.1)


def test_steps_of_a_chain_add_up():
    cells = {
        ("pixels", "rl"): 0.1,
        ("semantic", "rl"): 0.2,
        ("pixels", "imitation"): 0.3,
        ("semantic", "imitation"): 0.6,
        ("semantic", "shaped"): 0.45,
        ("centred", "imitation"): 0.9,
    }
    random, rows = np.random.default_rng(0), []
    for (view, learning), mean in cells.items():
        for seed in range(3):
            score = mean + 0.01 * random.standard_normal()
            row = {"view": view, "learning": learning, "seed": seed, "area": score, "area_error": 0.01}
            rows.append(row | {"levels": "unseen"})
            rows.append(row | {"levels": "training", "area": 7.0})
    scores = pd.DataFrame(rows)
    found = ladder_table(scores).set_index("step")
    assert list(found.index) == list(STEPS)
    unseen = scores[scores["levels"] == "unseen"].groupby(["view", "learning"])["area"].mean()
    for chain, first, last in (
        ("perception", ("pixels", "imitation"), ("centred", "imitation")),
        ("learning", ("semantic", "rl"), ("semantic", "imitation")),
    ):
        assert found[found["chain"] == chain]["gain"].sum() == pytest.approx(unseen[last] - unseen[first])
    assert (found["gain_low"] < found["gain"]).all()
    assert (found["gain"] < found["gain_high"]).all()
    assert found["gain"]["credit assignment"] == pytest.approx(0.25, abs=0.03)
    without = ladder_table(scores[scores["view"] != "centred"])
    assert list(without["step"]) == [name for name in STEPS if name != "where they are"]


def test_the_finer_cells_have_the_budget_and_the_seeds_of_the_others():
    plan = plan_game(GAME, TINY)
    ladder = ladder_of(plan)
    assert {(run.view, run.learning) for run in ladder.further} == {("semantic", "shaped"), ("centred", "imitation")}
    for kind in ("shaped", "imitation"):
        assert sorted(run.seed for run in ladder.further if run.learning == kind) == list(range(TINY.seeds))
    assert {run.steps for run in ladder.further} == {plan.budget}
    assert ladder.value_run.steps == plan.budget // 2
    assert all(ladder.value_run.identity in run.needs for run in ladder.further if run.learning == "shaped")
    assert ladder.value_run.teacher == plan.teacher_run.identity
    delayed = ladder_of(plan_game(game_options("courier", delay=1.0), TINY))
    assert {run.options.factors.delay for run in delayed.further if run.learning == "shaped"} == {1.0}
    assert delayed.value_run.options.factors.delay == 1.0


def test_a_teacher_that_acts_on_frames_sees_the_game_as_it_was_made_for_it():
    options = game_options("maze", use_backgrounds=False, num_levels=200)
    plan = plan_game(options, TINY)
    shown = [replace(run, teacher_view="pixels", options=options) if run.teacher else run for run in plan.cells]
    plan = replace(plan, cells=tuple(shown))
    assert ladder_of(plan).value_run.options.use_backgrounds is False
    blind = baselines_of(plan).blind
    assert {run.options.use_backgrounds for run in blind if run.learning == "imitation"} == {False}


@pytest.mark.parametrize(
    ("game", "settings"), [("own_games:Remembered", {}), ("own_games:Hidden", {}), ("maze", {"semantic": "expert"})]
)
def test_a_game_without_label_maps_has_no_ladder(game, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="The ladder is made of label maps"):
        lcd.diagnose(game, "smoke", ladder=True, random=0.0, best=1.0, **settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.costly()
def test_the_command_climbs_the_ladder(trained_copy, tmp_path, tiny_preset, monkeypatch):
    monkeypatch.setattr("lcd.experiments.processes.LocalProcesses", InProcess)
    done = lcd_command("diagnose", GAME, "--preset", tiny_preset, "--train-teacher", "--ladder", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "credit assignment" in done.stdout
    folder = tmp_path / "diagnoses" / f"{GAME}-tiny"
    table = pd.read_csv(folder / "ladder.csv")
    assert list(table["step"]) == list(STEPS)
    demands = pd.read_csv(folder / "demands.csv")
    primary = demands[(demands["levels"] == "unseen") & (demands["score"] == "area")].set_index("quantity")["estimate"]
    gains = table.set_index("step")["gain"]
    assert gains["what things are"] == pytest.approx(primary["perceptual"], abs=1e-6)
    learning = gains["credit assignment"] + gains["the rest of learning from reward"]
    assert learning == pytest.approx(primary["policy"], abs=1e-5)
    assert (folder / "ladder.png").read_bytes().startswith(b"\x89PNG")
    (value,) = trained_copy.root.glob(f"{GAME}-semantic-teacher-value-*")
    assert load_policy(value / "policy.safetensors")[1]["run"]["learning"] == "teacher-value"
    refused = lcd_command("watch", "--run", value, cwd=tmp_path)
    assert (refused.returncode, "has learned what its teacher returns, and not to act" in refused.stderr) == (2, True)
    with pytest.raises(ValueError, match="has learned what another returns, and not to act"):
        lcd.diagnose(GAME, "smoke", teacher=value / "policy.safetensors", store=tmp_path / "other")
    around = next(trained_copy.root.glob(f"{GAME}-centred-imitation-*"))
    watched = lcd_command("watch", "--run", around, "--max-steps", 3, "--out", "film.gif", cwd=tmp_path)
    assert watched.returncode == 0, watched.stderr
    again = lcd_command("diagnose", GAME, "--preset", tiny_preset, "--train-teacher", "--ladder", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (folder / "ladder.csv").read_text() == table.to_csv(index=False)
