"""Sweeps of the dials, and how the demands answer to them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_command_line import lcd

from envs.calibration.dials import PERCEPTUAL, POLICY, Dials
from lcd.calibration.response import SPLITS, dissociation, response_table
from lcd.calibration.sweep import PRESET, Sweep, plan_setting
from lcd.demands import CONTRASTS
from lcd.scores import CELLS
from lcd.training.settings import EXPERT, RunSettings

VALUES = (0.0, 0.5, 1.0)


def score_table(cells, *, noise=0.0, seeds=3, dial="noise"):
    """Scores of a dial whose four cells are given as functions of its value."""
    random = np.random.default_rng(0)
    rows = []
    for value, (letter, (view, learning)), seed in itertools.product(VALUES, CELLS.items(), range(seeds)):
        score = cells[letter](value) + noise * random.standard_normal()
        rows.append((dial, value, view, learning, seed, "unseen", score, score, 0.0, 0.0))
    names = ["dial", "value", "view", "learning", "seed", "levels", "area", "final", "area_error", "final_error"]
    return pd.DataFrame(rows, columns=names)


def constant(value):
    return lambda dial: value


def test_every_split_adds_up_to_the_gap():
    for split in SPLITS.values():
        total = np.add(split.perceptual.weights, split.policy.weights)
        assert np.array_equal(total, CONTRASTS["gap"].weights)
    halves = [np.array(SPLITS[name].perceptual.weights) for name in ("seeing first", "deciding first")]
    assert np.array_equal(sum(halves) / 2, SPLITS["shapley"].perceptual.weights)


def test_a_dial_that_only_blinds_the_learner_from_reward_leaks_by_the_shapley_values_and_not_by_seeing_first():
    cells = {"a": lambda dial: 0.8 - 0.6 * dial, "b": constant(0.9), "c": constant(0.9), "d": constant(0.9)}
    table = score_table(cells)
    shapley, seeing = (dissociation(table, "unseen", "area", split).iloc[0] for split in ("shapley", "seeing first"))
    assert shapley["own"] == "perceptual"
    assert shapley["leak"] == pytest.approx(1)
    assert seeing["leak"] == pytest.approx(0)
    assert seeing["movement"] == pytest.approx(0.6)
    assert shapley["spearman"] == seeing["spearman"] == pytest.approx(1)


def test_a_policy_dial_is_asked_for_the_policy_demand():
    cells = {"a": lambda dial: 0.8 - 0.6 * dial, "b": lambda dial: 0.8 - 0.6 * dial, "c": constant(1), "d": constant(1)}
    found = dissociation(score_table(cells, dial="delay"), "unseen", "final", "shapley").iloc[0]
    assert (found["own"], found["spearman"], found["leak"]) == ("policy", pytest.approx(1), pytest.approx(0))
    responses = response_table(score_table(cells, dial="delay"), "unseen", "final", "shapley")
    policy = responses[responses["quantity"] == "policy"]
    assert policy["estimate"].tolist() == pytest.approx([0.2, 0.5, 0.8])
    floor = responses[responses["quantity"] == "floor"]
    assert floor["estimate"].tolist() == pytest.approx([0.8, 0.5, 0.2])


def test_noise_widens_the_limits_and_a_flat_demand_still_seems_to_move():
    cells = {
        "a": lambda dial: 0.8 - 0.6 * dial,
        "b": constant(0.9),
        "c": lambda dial: 0.8 - 0.6 * dial,
        "d": constant(0.9),
    }
    exact, noisy = (
        dissociation(score_table(cells, noise=noise), "unseen", "area", "shapley").iloc[0] for noise in (0.0, 0.05)
    )
    assert exact["leak_high"] == pytest.approx(0)
    assert noisy["leak_low"] > 0
    assert noisy["movement_low"] < 0.6 < noisy["movement_high"]


def test_a_sweep_turns_one_dial_at_a_time_and_shares_what_it_can():
    base = Dials(horizon=0.25)
    sweep = Sweep(("noise", "horizon"), (0.0, 0.25, 1.0), base)
    settings = [dials for _, _, dials in sweep.settings()]
    assert settings == [base, replace(base, noise=0.25), replace(base, noise=1.0), Dials(), base, Dials(horizon=1.0)]
    plan = sweep.plan()
    assert len(plan.games) == 5
    assert len(plan.runs) == 5 * 4 * PRESET.seeds
    assert {run.teacher for run in plan.runs if run.learning == "imitation"} == {EXPERT}
    assert set(Sweep().dials) == {*PERCEPTUAL, *POLICY}


def test_a_run_of_the_calibration_game_survives_its_own_record():
    run = plan_setting(Dials(noise=0.5, slip=1), PRESET).cells[-1]
    assert RunSettings.from_dict(run.as_dict()) == run
    assert run.name.startswith("courier-noise0.5-slip1-semantic-imitation-seed2-")
    with pytest.raises(ValueError, match="Dials go with the game courier"):
        replace(run, dials=None)
    with pytest.raises(ValueError, match="Dials go with the game courier"):
        replace(run, game="maze")


def test_the_command_writes_figure_and_tables_and_reuses_its_runs(tmp_path):
    arguments = ["calibrate", "--dials", "noise", "--values", "0,1", "--steps", "2048", "--seeds", "1"]
    places = ["--out", "out", "--store", "runs"]
    first = lcd(*arguments, *places, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(written) == {"sweep.json", "scores.csv", "responses.csv", "dissociation.csv", "calibration.png"}
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert len(scores) == 2 * 4 * 2  # values, cells, kinds of level
    again = lcd(*arguments, *places, cwd=tmp_path)
    assert again.stderr.count("found in the store") == 8
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == written
    other = lcd(*arguments[:-1], "2", *places, cwd=tmp_path)
    assert other.returncode == 2
    assert "belongs to another sweep" in other.stderr
