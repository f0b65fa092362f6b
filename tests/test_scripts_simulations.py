"""Scripts that simulate, or score again what the store holds."""

from __future__ import annotations

import audit_error_rates
import calibration_budgets
import class_coverage
import interval_coverage
import pandas as pd
import pytest
from running import run_script

from lcd.experiments.store import Store
from lcd.studies.calibration.sweep import Sweep

pytestmark = pytest.mark.costly("scripts/*.py", "scripts/*/*.py")


def test_classes_are_simulated_in_each_setting(tmp_path):
    arguments = ["--surveys", 2, "--nulls", 1, "--output", tmp_path / "table.csv"]
    assert run_script(class_coverage, *arguments) == 0
    table = pd.read_csv(tmp_path / "table.csv")
    settings = len(class_coverage.GAMES) * len(class_coverage.NOISES)
    assert table.groupby("classes").size().to_dict() == {1: settings, 2: settings}
    assert table["mean_p"].isin([0.5, 0.75, 1.0]).all()  # with one set drawn for the test, p is 1/2 or 1
    assert (table["percent_rejected"] == 0).all()


def test_two_classes_far_apart_are_found_and_one_class_is_not():
    far = class_coverage.simulated(16, 0.0, 8.0, 2, 19, 0)
    assert (far["classes"], far["percent_rejected"]) == (2, 100)


def test_error_rates_of_an_audit_are_simulated_in_each_setting(tmp_path):
    assert run_script(audit_error_rates, "--tables", 2, "--output", tmp_path / "table.csv") == 0
    table = pd.read_csv(tmp_path / "table.csv")
    settings = len(audit_error_rates.TRUTHS) * len(audit_error_rates.SEEDS) * len(audit_error_rates.SPREADS)
    assert table.groupby("grouping").size().to_dict() == {"class": settings, "game": settings}
    assert (table["found_percent"].notna() == (table["truth"] == "losses")).all()
    many = table[(table["seeds"] == 5) & (table["spread"] == "equal") & (table["grouping"] == "class")]
    assert many["found_percent"].max() == 100  # losses of three standard errors of a class


def test_the_chosen_interval_covers_at_least_as_often_as_the_one_that_it_widens(tmp_path):
    arguments = ["--draws", 100, "--resamples", 20, "--output", tmp_path / "table.csv"]
    assert run_script(interval_coverage, *arguments) == 0
    table = pd.read_csv(tmp_path / "table.csv")
    covered = table[table["measure"] == "coverage"]
    rates = covered.pivot_table(
        index=["shape", "spread", "seeds", "quantity"], columns="method", values="percent", dropna=False
    )
    assert (rates["chosen"] >= rates["Welch"]).all()
    normal = rates.loc["normal", "equal", 10]
    assert normal["pooled t"].mean() == pytest.approx(95, abs=4)
    assert covered.groupby("method")["draws"].first().to_dict()["bootstrap-t"] == 10
    rules = table[table["measure"] == "verdict"].pivot_table(
        index=["shape", "spread", "truth", "seeds"], columns=["quantity", "method"], values="percent"
    )
    for method in ("as shown", "careful", "estimate and 0"):
        assert (rules["wrong verdict", method] <= rules["verdict given", method]).all()
    assert rules["wrong verdict", "careful"].mean() < rules["wrong verdict", "estimate and 0"].mean()


SCORES = {"pixels": lambda value: 0.8 - 0.5 * value, "semantic": lambda value: 0.9}


def test_a_smaller_calibration_is_scored_from_the_runs_in_the_store(tmp_path):
    """Runs that nobody played, whose scores fall with the perceptual factor from the first evaluation to the last."""
    options = ["--dials", "noise", "--values", "0,0.5,1", "--steps", 20_000, "--seeds", 2]
    store = Store(tmp_path / "store")
    sweep = calibration_budgets.sweep_of("noise", "0,0.5,1", 20_000, 2)
    assert isinstance(sweep, Sweep)
    for game in sweep.plan().games:
        for run in game.cells:
            if store.has(run):
                continue
            score = SCORES[run.view](run.options.factors.noise)
            earned = game.normalisation.random + score * (game.normalisation.best - game.normalisation.random)
            rows = [
                (run.game, run.view, run.learning, run.seed, step, levels, episode, episode, earned, 100)
                for step in run.evaluation.steps
                for levels in ("training", "unseen")
                for episode in range(2)
            ]
            names = ["game", "view", "learning", "seed", "step", "levels", "episode", "level_seed", "return", "length"]
            with store.workspace(run) as workspace:
                store.finish(run, workspace, pd.DataFrame(rows, columns=names), 1.0, None, {"threads": 1})
    arguments = [*options, "--store", store.root, "--output", tmp_path / "table.csv"]
    assert run_script(calibration_budgets, *arguments) == 0
    table = pd.read_csv(tmp_path / "table.csv")
    budgets = [step for step in next(iter(sweep.plan().games)).cells[0].evaluation.steps if step >= 8_000]
    assert table[["budget", "seeds"]].to_numpy().tolist() == [[budget, seeds] for budget in budgets for seeds in (1, 2)]
    assert (table["dials"] == 1).all()
    assert (table["passing"] == 1).all()
    assert (table["spearman"] == 1).all()
    assert table["leak"].to_numpy() == pytest.approx(0, abs=1e-3)
