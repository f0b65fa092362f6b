"""Improvements of a user's own, named as ``module:NAME``."""

import importlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import lcd as command
from stable_baselines3.common.vec_env import VecNormalize
from tiny import TINY

import lcd
from lcd.agents import ENCODERS
from lcd.experiments.improvements import get_improvement, import_improvement, is_imported, version_of_improvement
from lcd.experiments.own_code import OwnCode
from lcd.experiments.plan import Plan, plan_game
from lcd.experiments.run import learner
from lcd.experiments.settings import RunSettings
from lcd.studies.advice import advise
from lcd.studies.diagnosing import prepare_diagnosis
from lcd.studies.survey.plan import Survey
from lcd.studies.survey.rows import measured_settings, rows_of
from lcd.studies.validation.improving import encoder_with, improved_run
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
        ("NO_LEARNER", r"must be a class that derives from lcd.agents.PPO, or make one of them, and 3 is none"),
        ("NO_PPO", r"must be a class that derives from lcd.agents.PPO.*dict'> is none"),
        ("LISTED", r"hyperparameters of the improvement .* are a dictionary, not \[\('gamma'"),
        ("NUMBERED", r"encoder of the improvement .* is a name, not 3"),
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


def test_games_are_closed_where_their_learner_cannot_be_built(plain, monkeypatch):
    closed = []
    monkeypatch.setattr(VecNormalize, "close", lambda env: closed.append(env))
    with pytest.raises(ValueError, match=r"no lcd\.agents\.PPO"):
        learner(improved(plain, f"{OWN}HIDDEN"), None, "cpu", 0)
    assert len(closed) == 1


def test_what_is_only_found_while_planning_is_refused_there(plain):
    with pytest.raises(ValueError, match=r"pretrains on 'nonsense': choose one of .*autoencoding"):
        encoder_with(plain, get_improvement(import_improvement(f"{OWN}NO_OBJECTIVE")), "weights")
    with pytest.raises(ValueError, match=r"HIDDEN makes a dict, and no lcd.agents.PPO: derive it from that"):
        learner(improved(plain, f"{OWN}HIDDEN"), None, "cpu", 0)


@pytest.mark.parametrize(
    "source", ["def", "raise RuntimeError('no luck')", "raise SystemExit", "import no_such_module"]
)
def test_a_module_that_cannot_be_imported_is_named(source, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_ideas.py").write_text(source)
    importlib.invalidate_caches()
    for module in ("broken_ideas", "no_such_ideas"):
        with pytest.raises(ValueError, match=rf"'{module}:SHARPER' cannot be found: [^\n]+\.$"):
            import_improvement(f"{module}:SHARPER")


def test_the_record_of_a_run_is_read_without_its_code(plain):
    record = improved(plain, f"{OWN}SLOWER").as_dict() | {"improvement": "elsewhere:IDEA"}
    assert RunSettings.from_dict(record).improvement == "elsewhere:IDEA"
    assert not is_imported("elsewhere:IDEA")
    assert "elsewhere" not in sys.modules
    with pytest.raises(ValueError, match="Unknown improvement 'elsewhere:IDEA'"):
        learner(RunSettings.from_dict(record | {"improvement_version": None}), None, "cpu", 0)
    with pytest.raises(ValueError, match="is of the learner 'rl'"):
        RunSettings.from_dict(record | {"learning": "imitation", "teacher": "0"})


def test_a_new_process_imports_what_its_runs_need(plain, monkeypatch):
    runs = [improved(plain, f"{OWN}SLOWER"), improved(plain, f"{OWN}TINY"), plain]
    own = OwnCode.of(runs)
    assert own == OwnCode(("own_encoders",), ("own_encoders:Tiny",), (f"{OWN}SLOWER",))
    monkeypatch.setattr("lcd.experiments.improvements._IMPORTED", {})
    known = {name: encoder for name, encoder in ENCODERS.items() if name != "own_encoders:Tiny"}
    monkeypatch.setattr("lcd.agents.encoders.registry.ENCODERS", known)
    own.load()
    assert is_imported(f"{OWN}SLOWER")
    assert "own_encoders:Tiny" in known


def test_a_number_is_the_same_run_however_it_is_written():
    runs = [
        prepare_diagnosis("starpilot", "smoke", hyperparameters=given).plan.runs
        for given in ('{"entropy": 0, "gamma": 1}', {"entropy": 0.0, "gamma": 1.0})
    ]
    assert [run.identity for run in runs[0]] == [run.identity for run in runs[1]]


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
improvements = ["augment-crop", "{}"]
"""


@pytest.mark.parametrize(
    ("asked", "text", "own"),
    [
        ("validate", FILE, "own_improvements:SLOWER"),
        ("survey", 'games = ["starpilot"]\nencoder = "{}"\n', "own_encoders:Tiny"),
        ("survey", 'games = ["starpilot"]\nalgorithm = "{}"\n', "own_improvements:SLOWER"),
    ],
)
def test_a_file_may_name_ones_own_only_where_it_is_trusted(asked, text, own, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "marking_ideas.py").write_text("open('imported', 'w').close()\n")
    (tmp_path / "plan.toml").write_text(text.format("marking_ideas:SHARPER"))
    done = command(asked, "plan.toml", "--dry-run", cwd=tmp_path)
    assert done.returncode == 2
    assert "whose code would be run: if you trust the file, give --trust" in done.stderr
    assert not (tmp_path / "imported").exists()
    (tmp_path / "plan.toml").write_text(text.format(own))
    done = command(asked, "plan.toml", "--dry-run", "--trust", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_hypothesis_may_be_about_ones_own():
    survey = Survey(("bossfight", "starpilot", "ninja", "leaper", "plunder"), "smoke")
    name = f"{OWN}SLOWER"
    expected = Hypothesis("policy", name)
    assert name in expected.text
    assert Validation(survey, ("augment-crop", name), hypotheses=(expected,)).improvements[1] == name
    with pytest.raises(ValueError, match="which is not measured: add it"):
        Validation(survey, ("augment-crop", "phasic"), hypotheses=(expected,))


def test_the_example_of_the_page_learns_as_it_says(plain, tmp_path, monkeypatch):
    page = (Path(__file__).parents[1] / "docs" / "improvements.md").read_text()
    (example,) = re.findall(r"```py\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my_ideas.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    run = improved(plain, "my_ideas:SHARPER")
    model, env = learner(run, None, "cpu", 0)
    model.learn(2 * run.hyperparameters.rollout)
    env.close()
    assert model.ent_coef == pytest.approx(0.0)  # the last rollout ends the run
    assert model.first_entropy == run.hyperparameters.entropy
    del sys.modules["my_ideas"]


@pytest.mark.costly("envs/external/*.py", "tests/own_games.py", "tests/own_improvements.py")
def test_a_diagnosis_learns_by_ones_own_algorithm_in_the_processes_that_carry_out_runs(tmp_path):
    found = lcd.diagnose(
        "own_games:Grid", "smoke", seeds=1, steps=1024, algorithm=f"{OWN}SLOWER", store=tmp_path, workers=1
    )
    runs = found.settings["plan"]["games"][0]["runs"]
    own = [run for run in runs if run.get("improvement") == f"{OWN}SLOWER"]
    assert {(run["view"], run["learning"]) for run in own} == {("pixels", "rl"), ("semantic", "rl")}
    assert all(run["improvement_version"].startswith("source ") for run in own)
    version = own[0]["improvement_version"]
    assert rows_of(found.to_json()).game["learner"] == f"{OWN}SLOWER ({version}) rollout_steps=16"
    assert advise(found, SimpleNamespace()).text.endswith(f"the evidence is of PPO, and this diagnosis of {OWN}SLOWER.")


def test_an_algorithm_learns_from_reward_alone():
    plan = prepare_diagnosis("starpilot", "smoke", algorithm="phasic", train_teacher=True).game_plan
    assert {run.improvement for run in plan.cells if run.learning == "rl"} == {"phasic"}
    others = [run for run in plan.cells if run.learning != "rl"]
    assert {run.improvement for run in (*others, *plan.candidates, plan.teacher_run)} == {None}
    surveyed = Survey(("starpilot",), "smoke", algorithm="phasic").plan.games[0].cells
    assert {(run.learning, run.improvement) for run in surveyed} == {("rl", "phasic"), ("imitation", None)}
    (data,) = Plan((plan,)).as_dict()["games"]
    assert measured_settings(data)["learner"] == "phasic rollout_steps=16"


@pytest.mark.parametrize(
    ("algorithm", "sentence"),
    [
        ("shorter-credit", "is no algorithm but other settings of PPO: set them as the encoder or as hyperparameters"),
        (f"{OWN}TINY", "is no algorithm but other settings of PPO"),
        ("augment-crop", "is of learners from frames, not from semantic"),
        ("luck", "Unknown improvement 'luck': choose one of augment-crop"),
    ],
)
def test_what_is_no_algorithm_is_refused(algorithm, sentence):
    with pytest.raises(ValueError, match=sentence):
        prepare_diagnosis("starpilot", "smoke", algorithm=algorithm)


def test_what_is_measured_with_plain_ppo_is_not_measured_with_another():
    with pytest.raises(ValueError, match="The ladder is climbed by PPO, not by phasic"):
        prepare_diagnosis("starpilot", "smoke", algorithm="phasic", ladder=True)
    survey = Survey(("bossfight", "starpilot", "ninja", "leaper", "plunder"), "smoke", algorithm="phasic")
    with pytest.raises(ValueError, match="A validation improves plain PPO, not phasic"):
        Validation(survey, ("augment-crop", "phasic"))


def test_hyperparameters_of_a_diagnosis_are_those_of_all_runs_that_use_them(tmp_path):
    given = {"learning_rate": 1e-4, "gamma": 0.9}
    for asked in (given, '{"learning_rate": 1e-4, "gamma": 0.9}'):
        prepared = prepare_diagnosis("starpilot", "smoke", hyperparameters=asked, levels=50, train_teacher=True)
        runs = prepared.plan.runs
        assert {run.hyperparameters.learning_rate for run in runs} == {1e-4}
        assert {run.hyperparameters.gamma for run in runs if run.learning == "rl"} == {0.9}
        assert {run.hyperparameters.rollout_steps for run in runs} == {16}
        assert {run.options.num_levels for run in runs} == {50}
    survey = Survey(("starpilot",), "smoke", {"hyperparameters": given})
    assert {run.hyperparameters.gamma for run in survey.plan.runs if run.learning == "rl"} == {0.9}
    for wrong, sentence in (
        ({"momentum": 3}, "momentum"),
        ({"minibatches": 7}, "7 minibatches do not divide a rollout of 64 x 16 steps"),
        ({"gamma": 2}, "gamma"),
        ("{", "must be an object in JSON, such as"),
    ):
        with pytest.raises(ValueError, match=sentence):
            lcd.diagnose("starpilot", "smoke", hyperparameters=wrong)
