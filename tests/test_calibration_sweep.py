"""Sweeps of the difficulty factors, and the responses of the demands."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from commands import lcd

from lcd.envs import ProcgenOptions
from lcd.envs.calibration.difficulty import PERCEPTUAL, POLICY, DifficultyFactors
from lcd.experiments.settings import EXPERT, RunSettings
from lcd.experiments.store import Store
from lcd.measurement.demands import CONTRASTS
from lcd.measurement.scores import CELLS, LEVELS, SCORES
from lcd.studies.calibration.response import SPLITS, alternatives, dissociation, response_table
from lcd.studies.calibration.sweep import PRESET, Sweep, plan_setting, sweep_scores
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.survey.plan import Survey
from lcd.studies.survey.survey import survey
from lcd.studies.survey.tables import SurveyTables

VALUES = (0.0, 0.5, 1.0)


def score_table(cells, *, noise=0.0, seeds=3, factor="noise", seed=0):
    """Scores of a factor whose four cells are given as functions of its value."""
    random = np.random.default_rng(seed)
    rows = []
    for value, (letter, (view, learning)), number in itertools.product(VALUES, CELLS.items(), range(seeds)):
        score = cells[letter](value) + noise * random.standard_normal()
        rows.append((factor, value, view, learning, number, "unseen", score, 0.0, score, 0.0))
    names = ["dial", "value", "view", "learning", "seed", "levels", "area", "area_error", "final", "final_error"]
    return pd.DataFrame(rows, columns=names)


def constant(value):
    return lambda factor: value


def test_every_split_but_the_one_with_a_joint_rest_adds_up_to_the_gap():
    totals = {name: np.add(split.perceptual.weights, split.policy.weights) for name, split in SPLITS.items()}
    totals["other solved"] += CONTRASTS["joint"].weights
    for total in totals.values():
        assert np.array_equal(total, CONTRASTS["gap"].weights)
    halves = [np.array(SPLITS[name].perceptual.weights) for name in ("seeing first", "deciding first")]
    assert np.array_equal(sum(halves) / 2, SPLITS["shapley"].perceptual.weights)


def leaks(cells, factor):
    table = score_table(cells, factor=factor)
    return {split: dissociation(table, "unseen", "area", split).iloc[0]["leak"] for split in SPLITS}


@pytest.mark.parametrize(("factor", "untouched"), [("noise", "bd"), ("delay", "cd")])
def test_a_factor_that_hits_cell_a_hardest_leaks_unless_the_other_demand_is_solved(factor, untouched):
    """The learner without help is the first to fail, whatever is made harder."""
    falls = {letter: 0.0 if letter in untouched else 0.2 for letter in "bcd"} | {"a": 0.6}
    cells = {letter: lambda value, fall=fall: 0.9 - fall * value for letter, fall in falls.items()}
    found = leaks(cells, factor)
    assert found["other solved"] == pytest.approx(0)
    assert found["shapley"] == pytest.approx(0.5)
    assert sorted((found["seeing first"], found["deciding first"])) == pytest.approx([0, 2])


@pytest.mark.parametrize(
    ("a", "c", "passes"),
    [
        (lambda factor: 0.5 - 0.35 * factor, lambda factor: 0.7 - 0.3 * factor, True),
        (lambda factor: 0.5 - 0.5 * factor, lambda factor: 0.7 - 0.3 * factor, False),  # never solved at the end
        (
            lambda factor: 0.5 - 0.4 * factor,
            lambda factor: 0.98 - 0.3 * factor,
            False,
        ),  # always solved at the beginning
        (lambda factor: 0.5 - 0.4 * factor, lambda factor: 0.7 - 0.3 * abs(factor - 0.4), False),  # out of order
    ],
)
def test_a_dial_passes_in_order_without_leak_and_between_floor_and_ceiling(a, c, passes):
    cells = {"a": a, "b": constant(0.6), "c": c, "d": constant(0.9)}
    found = dissociation(score_table(cells), "unseen", "area", "other solved")
    assert found["passes"].tolist() == [passes]
    family = found.assign(levels="unseen", score="area", split="other solved")
    summary = alternatives(pd.concat([family, family.assign(dial="clutter", leak=0.5, passes=False)])).iloc[0]
    assert (summary["passing"], summary["dials"], summary["worst_leak"]) == (passes, 2, 0.5)


def test_a_policy_dial_is_asked_for_the_policy_demand():
    cells = {
        "a": lambda factor: 0.8 - 0.6 * factor,
        "b": lambda factor: 0.8 - 0.6 * factor,
        "c": constant(1),
        "d": constant(1),
    }
    found = dissociation(score_table(cells, factor="delay"), "unseen", "area", "shapley").iloc[0]
    assert (found["own"], found["spearman"], found["leak"]) == ("policy", pytest.approx(1), pytest.approx(0))
    responses = response_table(score_table(cells, factor="delay"), "unseen", "area", "shapley")
    policy = responses[responses["quantity"] == "policy"]
    assert policy["estimate"].tolist() == pytest.approx([0.2, 0.5, 0.8])
    floor = responses[responses["quantity"] == "a"]
    assert floor["estimate"].tolist() == pytest.approx([0.8, 0.5, 0.2])


def test_limits_hold_what_is_true_and_widen_with_noise():
    cells = {
        "a": lambda factor: 0.8 - 0.6 * factor,
        "b": constant(0.9),
        "c": lambda factor: 0.8 - 0.5 * factor,
        "d": constant(0.9),
    }
    exact = dissociation(score_table(cells), "unseen", "area", "shapley").iloc[0]
    assert (exact["movement"], exact["other_movement"], exact["leak"]) == pytest.approx((0.55, 0.05, 1 / 11))
    assert (exact["leak_low"], exact["leak_high"]) == pytest.approx((1 / 11, 1 / 11))
    held = dict.fromkeys(("movement", "other_movement", "leak"), 0)
    widths = []
    for seed in range(200):
        found = dissociation(score_table(cells, noise=0.05, seed=seed), "unseen", "area", "shapley").iloc[0]
        for name in held:
            held[name] += found[f"{name}_low"] <= exact[name] <= found[f"{name}_high"]
        widths.append(found["leak_high"] - found["leak_low"])
    assert all(count >= 0.9 * 200 for count in held.values()), held
    assert np.median(widths) > 0.05


def test_a_single_seed_has_no_limits_and_a_demand_that_stays_has_no_leak():
    alone = dissociation(
        score_table({name: constant(0.5) for name in "abcd"}, seeds=1), "unseen", "area", "shapley"
    ).iloc[0]
    assert np.isnan(alone[["leak", "leak_low", "leak_high", "movement_low", "spearman_high"]].astype(float)).all()
    down = {
        "a": lambda factor: 0.8 - 0.6 * factor,
        "b": lambda factor: 0.8 - 0.6 * factor,
        "c": constant(1),
        "d": constant(1),
    }
    assert dissociation(score_table(down), "unseen", "area", "shapley").iloc[0]["leak"] == np.inf


def test_a_sweep_turns_one_dial_at_a_time_and_shares_what_it_can():
    base = DifficultyFactors(horizon=0.25)
    sweep = Sweep(("noise", "horizon"), (0.0, 0.25, 1.0), base)
    settings = [factors for _, _, factors in sweep.settings()]
    assert settings == [
        base,
        replace(base, noise=0.25),
        replace(base, noise=1.0),
        DifficultyFactors(),
        base,
        DifficultyFactors(horizon=1.0),
    ]
    plan = sweep.plan()
    assert len(plan.games) == 5
    assert len(plan.runs) == (3 * 4 + 2 * 2) * PRESET.seeds  # label maps show no noise: their runs are there once
    assert {run.teacher for run in plan.runs if run.learning == "imitation"} == {EXPERT}
    assert set(Sweep().factors) == {*PERCEPTUAL, *POLICY}


@pytest.mark.parametrize(("factors", "changes_nothing"), [({"noise": 1}, "semantic"), ({"delay": 1}, "imitation")])
def test_what_a_run_cannot_depend_on_is_left_out_of_it(factors, changes_nothing):
    plain, nonzero = (
        plan_setting(DifficultyFactors(), PRESET).cells,
        plan_setting(DifficultyFactors(**factors), PRESET).cells,
    )
    for before, after in zip(plain, nonzero, strict=True):
        assert (before == after) == (changes_nothing in (after.view, after.learning))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"factors": ()}, "Every factor is swept once"),
        ({"factors": ("noise", "noise")}, "Every factor is swept once"),
        ({"values": (0, 0.5, 0.5)}, "different settings"),
        ({"values": (0, 2)}, "The difficulty factor clutter must be a number from 0 to 1"),
        ({"factors": ("horizon",), "values": (0, 0.05)}, "0 and 0.05 are the same game"),
    ],
)
def test_impossible_sweeps_are_one_clear_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Sweep(**settings)


def test_a_run_of_the_calibration_game_survives_its_own_record():
    run = plan_setting(DifficultyFactors(noise=0.5, slip=1), PRESET).cells[-1]
    assert RunSettings.from_dict(run.as_dict()) == run
    assert run.name.startswith("courier-slip1-semantic-imitation-seed2-")
    with pytest.raises(ValueError, match="No optimal policy is known for maze"):
        replace(run, options=ProcgenOptions("maze", num_levels=200))
    record = run.as_dict()
    with pytest.raises(ValueError, match=r"Unknown settings of a run: \['dials'"):
        RunSettings.from_dict(record | {"game": "maze"})
    with pytest.raises(ValueError, match=r"Unknown settings of a run: \['appearance'"):
        RunSettings.from_dict(record | {"appearance": ["monochrome"]})
    with pytest.raises(ValueError, match="courier has no setting 'gravity'"):
        RunSettings.from_dict(record | {"dials": {"gravity": 1}})


def starting_scores(sweep, store):
    """Normalised scores before any training, in the order of `sweep_scores`."""
    starts = []
    for _, _, factors in sweep.settings():
        plan = plan_setting(factors, sweep.preset)
        episodes = pd.concat(store.load(run).episodes for run in plan.cells)
        first = episodes[episodes["step"] == 0].groupby(["view", "learning", "seed", "levels"])["return"].mean()
        starts.append(plan.normalisation.score(first.to_numpy()))
    return np.concatenate(starts)


@pytest.mark.costly("analyses/*.py")
def test_the_command_writes_figure_and_tables_and_reuses_its_runs(tmp_path, monkeypatch):
    """At an eighth of the usual number of games."""
    few = replace(PRESET.hyperparameters, num_envs=8, minibatches=2)
    small = replace(PRESET, steps=1024, seeds=1, evaluation_episodes=8, hyperparameters=few)
    monkeypatch.setattr("lcd.studies.calibration.sweep.PRESET", small)
    arguments = ["calibrate", "--dials", "noise", "--values", "0,1", "--steps", "1024", "--seeds", "1"]
    places = ["--out", "out", "--store", "runs"]
    first = lcd(*arguments, *places, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    tables = {"scores.csv", "responses.csv", "dissociation.csv", "alternatives.csv"}
    assert set(written) == {"plan.json", "calibration.png", "SHA256SUMS"} | tables
    assert len(pd.read_csv(tmp_path / "out" / "alternatives.csv")) == len(SPLITS) * len(SCORES) * len(LEVELS)
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert len(scores) == 2 * 4 * 2  # values, cells, kinds of level
    sweep, store = Sweep(("noise",), (0, 1), preset=small), Store(tmp_path / "runs")
    assert np.allclose(sweep_scores(sweep, store)["area"], scores["area"], atol=1e-6)
    half = sweep_scores(sweep, store, 512)
    assert half["final"].to_numpy() == pytest.approx(2 * half["area"].to_numpy() - starting_scores(sweep, store))
    again = lcd(*arguments, *places, cwd=tmp_path)
    assert again.stderr.count("found in the store") == 6  # of 8: noise is not in label maps
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == written
    other = lcd(*arguments[:-1], "2", *places, cwd=tmp_path)
    assert other.returncode == 2
    assert "belongs to another plan" in other.stderr


@pytest.mark.costly
def test_games_with_settings_in_their_names_are_diagnosed_and_put_together(tmp_path):
    names = ("courier-clutter0.5-delay1", "courier")
    plan = Survey(names, "smoke", {"steps": 4096, "seeds": 1, "evaluations": 1, "evaluation_episodes": 2})
    found = survey(plan, out=tmp_path / "out", store=tmp_path / "runs")
    assert sorted(found.diagnoses) == sorted(names)
    tables = SurveyTables.read(tmp_path / "out")
    for table in (tables.games, tables.scores, tables.curves, tables.demands):
        assert set(table["game"]) == set(names)
    again = Diagnosis.read(tmp_path / "out" / names[0])
    assert again.game == names[0]
