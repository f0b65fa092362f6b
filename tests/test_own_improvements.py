"""Improvements of a user's own, named as ``module:NAME``."""

import importlib
import sys

import pytest
from commands import lcd as command
from tiny import TINY

import lcd
from lcd.experiments.improvements import get_improvement, import_improvement, version_of_improvement
from lcd.experiments.plan import GamePlan, Plan, plan_game
from lcd.experiments.run import learner
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.studies.survey.plan import Survey
from lcd.studies.validation.improving import improved_run
from lcd.studies.validation.plan import Hypothesis, Validation

OWN = "own_improvements:"


@pytest.fixture
def plain():
    return next(run for run in plan_game("starpilot", TINY).cells if (run.view, run.learning) == ("pixels", "rl"))


def improved(run, name):
    return improved_run(run, get_improvement(import_improvement(name)))


def test_a_learner_of_ones_own_learns(plain):
    run = improved(plain, f"{OWN}SLOWER")
    assert run.improvement == f"{OWN}SLOWER"
    assert run.improvement_version.startswith("source ")
    assert RunSettings.from_dict(run.as_dict()) == run
    model, env = learner(run, None, "cpu", 0)
    env.close()
    assert type(model).__name__ == "SlowPPO"
    assert model.learning_rate == plain.hyperparameters.learning_rate / 2


def test_hyperparameters_and_encoders_of_ones_own_are_other_settings(plain):
    patient, tiny = improved(plain, f"{OWN}PATIENT"), improved(plain, f"{OWN}TINY")
    assert (patient.hyperparameters.gamma, patient.improvement) == (0.9999, None)
    assert (tiny.encoder, tiny.improvement) == ("own_encoders:Tiny", None)
    assert tiny.encoder_version.startswith("source ")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("NUMBER", r"is no lcd.experiments.improvements.Improvement: give"),
        ("MISSING", r"is no lcd.experiments.improvements.Improvement: give"),
        ("NOTHING", r"must change one of learner, hyperparameters, .*, not nothing"),
        ("BOTH", r"must change one of .*, not learner and hyperparameters"),
        ("UNKIND", r"is perceptual or policy, not 'luck'"),
        ("NO_LEARNER", r"must make one, and 3 does not"),
    ],
)
def test_what_is_no_improvement_is_refused(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        import_improvement(OWN + name)
    with pytest.raises(ValueError, match="Unknown improvement"):
        get_improvement(OWN + name)


def test_one_that_changes_nothing_of_a_learner_is_refused(plain):
    with pytest.raises(ValueError, match="changes nothing of the learner of starpilot"):
        improved(plain, f"{OWN}SAME")


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"'no_such_ideas:SHARPER' cannot be found"):
        import_improvement("no_such_ideas:SHARPER")


def test_an_edited_improvement_is_another_run(plain, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = (
        "from lcd.agents import PPO\nfrom lcd.experiments.improvements import Improvement\n"
        "class Mine(PPO):\n    pass\nIDEA = Improvement('idea', 'policy', 'is mine', 'mine', Mine)\n"
    )
    file = tmp_path / "sourced_ideas.py"
    file.write_text(source)
    importlib.invalidate_caches()
    before = improved(plain, "sourced_ideas:IDEA")
    file.write_text(source + "\nEDITED = True\n")
    assert improved(plain, "sourced_ideas:IDEA").identity != before.identity
    with pytest.raises(ValueError, match="improvement sourced_ideas:IDEA has changed since the run was planned"):
        learner(before, None, "cpu", 0)
    del sys.modules["sourced_ideas"]
    assert version_of_improvement("phasic") is None
    assert version_of_improvement(None) is None


FILE = """
games = ["bossfight", "starpilot", "ninja", "leaper", "plunder"]
preset = "smoke"
improvements = ["augment-crop", "{improvement}"]
"""


def test_a_file_may_name_ones_own_only_where_it_is_trusted(tmp_path):
    (tmp_path / "v.toml").write_text(FILE.format(improvement=f"{OWN}SLOWER"))
    (tmp_path / "s.toml").write_text('games = ["starpilot"]\nencoder = "own_encoders:Tiny"\n')
    for name in (["validate", "v.toml"], ["survey", "s.toml"]):
        done = command(*name, "--dry-run", cwd=tmp_path)
        assert done.returncode == 2
        assert "whose code would be run: if you trust the file, give --trust" in done.stderr
        done = command(*name, "--dry-run", "--trust", cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_a_hypothesis_may_be_about_ones_own():
    survey = Survey(("bossfight", "starpilot", "ninja", "leaper", "plunder"), "smoke")
    name = f"{OWN}SLOWER"
    expected = Hypothesis("policy", name)
    assert name in expected.text
    assert Validation(survey, ("augment-crop", name), hypotheses=(expected,)).improvements[1] == name
    with pytest.raises(ValueError, match="which is not measured: add it"):
        Validation(survey, ("augment-crop", "phasic"), hypotheses=(expected,))


@pytest.mark.costly()
def test_it_reaches_the_processes_that_carry_out_runs(plain, tmp_path):
    from lcd.experiments.execution import execute

    run, store = improved(plain, f"{OWN}SLOWER"), Store(tmp_path)
    plan = Plan((GamePlan("starpilot", run.steps, None, None, None, (run,)),))
    execute(plan, store, workers=1, threads=1, device="cpu")
    assert store.load(run).settings == run


def test_hyperparameters_of_a_diagnosis_are_those_of_all_its_runs(tmp_path):
    from lcd.studies.diagnosing import prepare_diagnosis

    given = {"learning_rate": 1e-4, "gamma": 0.9}
    for asked in (given, '{"learning_rate": 1e-4, "gamma": 0.9}'):
        prepared = prepare_diagnosis("starpilot", "smoke", hyperparameters=asked, levels=50, train_teacher=True)
        runs = prepared.plan.runs
        assert {(run.hyperparameters.learning_rate, run.hyperparameters.gamma) for run in runs} == {(1e-4, 0.9)}
        assert {run.hyperparameters.rollout_steps for run in runs} == {16}
        assert {run.options.num_levels for run in runs} == {50}
    survey = Survey(("starpilot",), "smoke", {"hyperparameters": given})
    assert {run.hyperparameters.gamma for run in survey.plan.runs} == {0.9}
    for wrong, sentence in (
        ({"momentum": 3}, "momentum"),
        ({"minibatches": 7}, "7 minibatches do not divide a rollout of 64 x 16 steps"),
        ({"gamma": 2}, "gamma"),
        ("{", "must be an object in JSON, such as"),
    ):
        with pytest.raises(ValueError, match=sentence):
            lcd.diagnose("starpilot", "smoke", hyperparameters=wrong)
