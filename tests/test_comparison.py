"""Two diagnoses of a game are compared: what changed, with intervals, and what cannot be compared."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic_survey import diagnosis, runs

import lcd
from lcd.measurement.scores import PRIMARY, Normalisation
from lcd.studies.comparison import QUANTITIES, TITLES

COMMITTED = Path(__file__).parents[1] / "docs" / "diagnoses"


def of(perceptual, policy, *, named="", learners=("rl", "imitation"), **settings):
    """A diagnosis whose runs from these learners have names of their own."""
    made = [run | {"run": run["run"] + named * (run["learning"] in learners)} for run in runs(range(3))]
    return diagnosis("maze", perceptual, policy, settings={"runs": made}, **settings)


def test_the_changes_are_those_of_the_demands_and_their_intervals_are_welchs():
    before, after = of(0.1, 0.3, noise=0.05, episodes=1), of(0.5, 0.3, named="-new", seed=1, noise=0.05, episodes=1)
    found = lcd.compare(before, after)
    for quantity in QUANTITIES:
        if quantity != "score":
            change = getattr(after, quantity).estimate - getattr(before, quantity).estimate
            assert found.change(quantity).estimate == pytest.approx(change)
    learner = [
        each.scores.query("view == 'pixels' and learning == 'rl' and levels == 'unseen'")["area"]
        for each in (after, before)
    ]
    known = stats.ttest_ind(*learner, equal_var=False).confidence_interval()
    measured = found.change("score")
    assert (measured.low, measured.high) == pytest.approx((known.low, known.high))
    assert found.change("perceptual").low > 0.1
    assert found.claims[1].startswith("The perceptual demand P rises by 0.")
    assert found.claims[2].startswith("The policy-learning demand L is not shown to change")
    assert QUANTITIES.keys() == TITLES.keys()


def test_cells_of_the_same_runs_cancel():
    """Another learner from reward leaves imitation as it is: P cannot have changed, and L only by its cell b."""
    before = of(0.2, 0.3, noise=0.05, episodes=1)
    after = of(0.2, 0.1, named="-new", learners=("rl",), noise=0.05, seed=1, episodes=1)
    found = lcd.compare(before, after)
    assert found.shared == "cd"
    assert (found.change("perceptual").low, found.change("perceptual").high) == (0, 0)
    cell = [
        each.scores.query("view == 'semantic' and learning == 'rl' and levels == 'unseen'")["area"]
        for each in (before, after)
    ]
    known = stats.ttest_ind(*cell, equal_var=False).confidence_interval()
    assert (found.change("policy").low, found.change("policy").high) == pytest.approx((known.low, known.high))
    assert found.claims[1] == "The perceptual demand P is that of the same runs."


def test_returns_of_a_games_own_best_are_put_on_one_scale():
    before, after = of(0.2, 0.3), of(0.2, 0.3, named="-new")
    before, after = (
        lcd.Diagnosis.from_episodes(
            each.episodes, game="maze", budget=each.budget, normalisation=constants, settings=each.settings
        )
        for each, constants in (
            (before, Normalisation(0.0, 5.0, "measured")),
            (after, Normalisation(0.0, 10.0, "measured")),
        )
    )
    found = lcd.compare(before, after)
    assert found.before.normalisation.best == found.after.normalisation.best == 10
    assert found.change("perceptual").estimate == pytest.approx(0, abs=0.05)
    given = Normalisation(0.0, 10.0 * (1 + 1e-12), "given")  # the same returns, as a user writes them
    assert lcd.compare(replace(before, normalisation=given), after).after.normalisation.best == 10
    for other in (Normalisation(0.0, 5.0, "given"), Normalisation(1.0, 5.0, "measured")):
        with pytest.raises(ValueError, match="--random and --best"):
            lcd.compare(replace(before, normalisation=other), after)


def test_what_was_measured_otherwise_is_named():
    """Other rules of evaluation, another game behind the same name, and other precision change demands, too."""

    def measured(named, evaluation, **run):
        runs_of_plan = [{"view": "pixels", "learning": "rl", "evaluation": evaluation, "env": {}} | run]
        found = of(0.2, 0.3, named=named)
        made = [each | {"precision": "bfloat16" if named else "float32"} for each in found.settings["runs"]]
        return replace(found, settings=found.settings | {"plan": {"games": [{"runs": runs_of_plan}]}, "runs": made})

    sampled, tempered = {"num_envs": 8}, {"num_envs": 8, "inverse_temperatures": [1.0, 2.0]}
    before = measured("", sampled, game_version="grid 1")
    after = measured("-new", tempered, game_version="grid 2", env={"kwargs": {"limit": 9}})
    assert lcd.compare(before, after).differing == {
        "temperatures": ("1", "1 2"),
        "arguments": ("{}", '{"kwargs": {"limit": 9}}'),
        "game_version": ("grid 1", "grid 2"),
        "precision": ("float32", "bfloat16"),
    }


def test_what_cannot_be_compared_is_refused(tmp_path):
    one = of(0.2, 0.3)
    with pytest.raises(ValueError, match="the same runs"):
        lcd.compare(one, of(0.2, 0.3))
    with pytest.raises(ValueError, match=r"differ in their game.*maze.*heist"):
        lcd.compare(one, diagnosis("heist", 0.2, 0.3))
    with pytest.raises(ValueError, match="share 3 of their runs"):
        lcd.compare(one, diagnosis("maze", 0.2, 0.3, seeds=4))
    with pytest.raises(ValueError, match="steps a cell"):
        lcd.compare(one, replace(of(0.2, 0.3, named="-new"), budget=1_000))
    with pytest.raises(ValueError, match="holds no diagnosis"):
        lcd.compare(one, tmp_path)
    with pytest.raises(ValueError, match=r"\.csv"):
        lcd.compare(one, of(0.2, 0.3, named="-new"), out=tmp_path / "changes.txt")
    with pytest.raises(ValueError, match="whose files are read"):
        lcd.compare(one, tmp_path, out=tmp_path / "demands.csv")


def test_the_command_says_what_another_teacher_changed(tmp_path):
    """The committed diagnoses of a game whose learners stood still, and of the same with another teacher."""
    folders = [str(COMMITTED / name) for name in ("obstacles-quick", "obstacles-taught")]
    command = [sys.executable, "-m", "lcd", "compare", *folders, "--out", "changes.csv"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "The cells a, b are the same runs." in ended.stdout
    assert "The policy-learning demand L rises by 0.39" in ended.stdout
    assert "Verdict: inconclusive -> policy-limited" in ended.stdout
    table = pd.read_csv(tmp_path / "changes.csv")
    assert len(table) == len(QUANTITIES) * 6
    primary = table[(table["levels"] == PRIMARY[0]) & (table["score"] == PRIMARY[1])].set_index("quantity")
    assert np.allclose(primary["change"], primary["after"] - primary["before"], atol=2e-6)
    again = subprocess.run(
        [sys.executable, "-m", "lcd", "compare", folders[0], folders[0]], capture_output=True, text=True, check=False
    )
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
