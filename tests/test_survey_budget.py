"""Steps and seeds for a budget: costs from measured speeds, decided games from the curves of a survey."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from commands import lcd

from lcd.experiments.executor import Share
from lcd.experiments.resources import Resources
from lcd.experiments.store import Store
from lcd.experiments.timing import Speeds, kind_of
from lcd.studies.survey import budget as budgets
from lcd.studies.survey.budget import Budget, choose, costs
from lcd.studies.survey.plan import Survey
from lcd.studies.survey.power import power_table
from lcd.studies.survey.tables import load_reference
from lcd.studies.taxonomy.reliability import seeds_table, steps_table

pytestmark = pytest.mark.costly("lcd/studies/survey/plans/*", "lcd/studies/survey/reference/*/*")

ALONE = Share()
SURVEY = Survey(("maze", "starpilot"), "standard", {"steps": 100_000, "seeds": 1})


def speeds_of(runs, share: Share = ALONE, workers: int = 2) -> Speeds:
    """Imitation trains at 500 steps a second, everything else at 1,000."""
    return Speeds({kind_of(run): 500 if run.learning == "imitation" else 1000 for run in runs}, workers, share)


@pytest.fixture
def measured(monkeypatch):
    def replace(**others) -> None:
        monkeypatch.setattr(budgets, "measure_speeds", lambda runs, *rest: speeds_of(runs, **others))

    replace()
    return replace


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [("8 gpu-hours", 8, "gpu-hours"), ("1.5 core-hours", 1.5, "core-hours"), ("1 HOUR", 1, "hours")],
)
def test_a_budget_is_read(text, amount, unit):
    assert Budget.parse(text) == Budget(amount, unit)


@pytest.mark.parametrize(
    "text", ["", "8", "gpu-hours", "-3 hours", "0 hours", "8 dollars", "nan hours", "1e9 hours", 8]
)
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(ValueError, match=r"^[^\n]{1,300}$"):
        Budget.parse(text)


def test_power_agrees_with_the_tables_of_the_taxonomy():
    tables = load_reference("procgen-easy")
    power = power_table(tables.curves, counts=(3,)).set_index("steps")["decided"]
    pd.testing.assert_series_equal(power, steps_table(tables.curves).set_index("steps")["decided"], atol=0.07)
    assert power.index[-1] == tables.games["budget"].iloc[0]
    with_noise = seeds_table(tables.scores, (3,))["decided"].iloc[0]
    assert power.iloc[-1] == pytest.approx(with_noise, abs=0.07)  # of 16 games one at the most
    with pytest.raises(ValueError, match="two seeds or more"):
        power_table(tables.curves[tables.curves["seed"] == 0])


def test_costs_are_those_of_the_runs():
    plan = SURVEY.plan
    runs = list(plan.runs)
    found = costs(
        pd.DataFrame({"steps": [runs[0].steps, 2 * runs[0].steps], "seeds": [1, 3], "decided": [0.1, 0.2]}),
        runs,
        runs,
        speeds_of(runs, Share(threads=4, gpus=0.25), workers=2),
    )
    hours = np.array([1, 2 * 3]) * 2 * runs[0].steps * (2 / 1000 + 2 / 500) / 3600  # of two games with four cells
    np.testing.assert_allclose(found["hours"], hours / 2)
    np.testing.assert_allclose(found["core_hours"], 4 * hours)
    np.testing.assert_allclose(found["gpu_hours"], hours / 4)


def test_a_trained_teacher_is_paid_once(measured, tmp_path):
    survey = Survey(("maze",), "standard", train_teachers=True)
    options = choose(survey, Budget(1000, "core-hours"), Store(tmp_path), Resources()).options
    cost = options.set_index(["steps", "seeds"])["core_hours"]
    steps = options["steps"].max()
    seed = steps * (2 / 1000 + 2 / 500) / 3600
    assert cost[steps, 5] - cost[steps, 4] == pytest.approx(seed, rel=0.01)
    hour = steps / 1000 / 3600  # of a learner from label maps
    further = 4 * hour  # the teacher's run, which goes on from one of three learners
    assert cost[steps, 2] == pytest.approx(2 * seed + further + hour, rel=0.01)  # of the three, two are cells
    assert cost[steps, 3] == pytest.approx(3 * seed + further, rel=0.01)


def test_most_is_decided_for_the_least(measured, tmp_path):
    choice = choose(SURVEY, Budget(4, "core-hours"), Store(tmp_path), Resources())
    options = choice.options
    within = options[options["core_hours"] <= 4]
    assert choice.decided == within["decided"].max()
    chosen = options[(options["steps"] == choice.steps) & (options["seeds"] == choice.seeds)].iloc[0]
    assert chosen["core_hours"] == within[within["decided"] == choice.decided]["core_hours"].min()
    assert choice.next_better is not None
    assert choice.next_better["core_hours"] > 4
    assert choice.worthwhile["decided"].is_monotonic_increasing
    richer = choose(SURVEY, Budget(4000, "core-hours"), Store(tmp_path), Resources())
    assert richer.decided == options["decided"].max()
    assert richer.next_better is None


def test_cautions_name_what_was_measured_otherwise(measured, tmp_path):
    def cautions(*arguments: object) -> str:
        return " ".join(choose(Survey(*arguments), Budget(9, "hours"), Store(tmp_path), Resources()).cautions)

    assert cautions(("maze",)).startswith("Its learner was ppo, and here it is ppo epochs=1 ")
    assert "Its encoder was nature, and here it is impala." in cautions(("maze",), "standard", {"encoder": "impala"})
    assert "MiniGrid-Empty-5x5-v0 were not in it." in cautions(("maze", "MiniGrid-Empty-5x5-v0"))
    assert "in the mode easy, and here they are in the mode hard" in cautions(("maze",), "standard", {}, "hard")


def test_the_command_prints_the_choice_and_trains_nothing(measured, tmp_path):
    done = lcd("survey", "procgen-easy", "--games", "maze", "--budget", "2 core-hours", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "instead of --budget" in done.stdout
    assert not list(tmp_path.iterdir())
    refused = {"2 gpu-hours": "No run would use a GPU", "0.001 hours": "are too few", "2": "A budget is"}
    for given, sentence in refused.items():
        done = lcd("survey", "procgen-easy", "--games", "maze", "--budget", given, cwd=tmp_path)
        assert done.returncode == 2
        assert sentence in done.stderr


def test_steps_and_seeds_replace_those_of_the_file(tmp_path):
    from lcd.studies.survey.survey import prepare_survey

    prepared = prepare_survey("procgen-easy", games=["maze"], steps=64_000, seeds=2, out=tmp_path, store=tmp_path / "s")
    assert {run.steps for run in prepared.survey.plan.runs} == {65_536}
    assert {run.seed for run in prepared.survey.plan.runs} == {0, 1}
