"""The plans of surveys: what they may say, and what is refused."""

from __future__ import annotations

import pytest
from commands import lcd
from synthetic_survey import PLAN

from lcd.envs import GAMES
from lcd.studies.survey.plan import Survey, shipped_surveys
from lcd.studies.survey.survey import prepare_survey
from lcd.studies.survey.tables import load_reference, reference_surveys

pytestmark = pytest.mark.costly("lcd/studies/survey/plans/*", "analyses/*.py", "analyses/templates/*")


def test_a_plan_is_read_from_its_file(tmp_path):
    file = tmp_path / "small.toml"
    file.write_text(PLAN + 'appearance = ["no-backgrounds"]')
    survey = Survey.read(file)
    assert (survey.games, survey.appearance) == (("coinrun", "maze"), ("no-backgrounds",))
    assert survey.changes == {"steps": 1024, "seeds": 1, "teacher_factor": 1}
    assert [run.game for run in survey.plan.runs] == ["coinrun"] * 6 + ["maze"] * 6  # one game after the other
    assert {run.options.appearance for run in survey.plan.runs if run.view == "pixels"} == {("no-backgrounds",)}
    assert survey.only(["maze"]).plan.games == survey.plan.games[1:]


def test_the_survey_of_procgen_has_all_games_and_a_budget_that_the_taxonomy_asks_for():
    survey = Survey.read("procgen-easy")
    assert "procgen-easy" in shipped_surveys()
    assert set(survey.games) == set(GAMES)
    for plan in survey.plan.games:
        assert plan.budget >= 500_000
        assert {run.seed for run in plan.runs} == {0, 1, 2}
        assert {run.options.num_levels for run in plan.cells} == {200}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("games = ['pong']", "Unknown game"),
        ("games = []", "names each of its games once"),
        ("games = ['maze', 'maze']", "names each of its games once"),
        ("steps = 5", "names no games"),
        ("games = ['maze']\ncolour = 3", "cannot set 'colour'"),
        ("games = ['maze']\nsteps = 'many'", "steps must be a whole number, not 'many'"),
        ("games = ['maze']\npreset = 'huge'", "Unknown preset 'huge'"),
        ("games = 'maze'", "games must be a list of names, each in quotation marks, not 'maze'"),
        ("games = ['maze']\nappearance = 'monochrome'", "appearance must be a list of names"),
        ("games = ['maze']\nsteps = true", "steps must be a whole number, not True"),
        ("games = ['maze']\ntrain_teachers = 'no'", "train_teachers must be true or false, not 'no'"),
        ("games = 3", "games must be a list of names, each in quotation marks, not 3"),
        ("games = [", "not written as a survey is, in TOML"),
    ],
)
def test_impossible_plans_are_one_clear_sentence(tmp_path, text, sentence):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        Survey.read(tmp_path / "bad.toml")


def test_what_is_no_plan_or_not_in_it_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"There is no survey nothing: give a file, or one of .*procgen-easy"):
        Survey.read("nothing")
    with pytest.raises(ValueError, match="has no game 'pong'"):
        Survey.read("procgen-easy").only(["pong"])
    refused = lcd("survey", "nothing", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("name", ["teacher_factor", "teacher_candidates"])
def test_what_is_said_of_teachers_is_refused_where_none_is_trained(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name} is about the training of teachers, and this survey trains none"):
        prepare_survey(Survey(("starpilot",), "smoke", {name: 2}), out=tmp_path / "out", store=tmp_path / "runs")
    both = Survey(("starpilot", "chaser"), "smoke", {name: 2})
    with pytest.raises(ValueError, match=f"{name} is about"):
        prepare_survey(both, games=["chaser"], out=tmp_path / "out", store=tmp_path / "runs")


def test_a_survey_that_does_not_come_with_the_package_is_named():
    with pytest.raises(ValueError, match="No survey 'atari' comes with this package"):
        load_reference("atari")
    assert "procgen-easy" in reference_surveys()
    for name in reference_surveys():
        assert len(load_reference(name).games) >= 3


def test_games_of_other_packages_are_surveyed_where_the_file_is_trusted(tmp_path, monkeypatch, tiny_preset):
    file = tmp_path / "own.toml"
    file.write_text(
        'games = ["own_games:Grid", "own_games:Hidden"]\npreset = "tiny"\n'
        '[arguments."own_games:Hidden"]\nsemantic = "own_games:Labelled"\n'
        "env_kwargs = {limit = 9}\nrandom = 0.2\nbest = 1\n"
    )
    with monkeypatch.context() as patched:
        patched.setattr("lcd.envs.external.making.import_named", lambda name: pytest.fail("imported"))
        with pytest.raises(ValueError, match="names 'own_games:Grid', whose code would be run"):
            Survey.read(file)
        wrapped = (
            file.read_text()
            .replace('"own_games:Grid", "own_games:Hidden"', '"maze"')
            .replace("own_games:Hidden", "maze")
        )
        (tmp_path / "wrapped.toml").write_text(wrapped)
        with pytest.raises(ValueError, match="names 'own_games:Labelled', whose code would be run"):
            Survey.read(tmp_path / "wrapped.toml")
    grid, hidden = Survey.read(file, trust=True).plan.games
    assert (grid.game, hidden.game) == ("own_games:Grid", "own_games:Hidden")
    assert hidden.cells[0].options.env_kwargs == '{"limit": 9}'
    assert hidden.normalisation.best == 1
    assert not hidden.is_encoded
    for wrong, words in (("maze", "none of its games"), ("own_games:Grid", "cannot set 'steps'")):
        with pytest.raises(ValueError, match=words):
            Survey(games=("own_games:Grid",), arguments={wrong: {"steps": 1}})


def test_arguments_go_with_their_games():
    survey = Survey(("maze", "StarPilot"), arguments={"Maze": {"best": 9.0}, "StarPilot": {"best": 60.0}})
    assert survey.arguments == {"maze": {"best": 9.0}, "starpilot": {"best": 60.0}}
    assert survey.only(["starpilot"]).arguments == {"starpilot": {"best": 60.0}}
    assert survey.only(["maze", "starpilot"]) == survey
    with pytest.raises(ValueError, match="arguments for 'maze' twice"):
        Survey(("maze",), arguments={"Maze": {"best": 3.0}, "maze": {"best": 9.0}})
    with pytest.raises(ValueError, match="arguments for 'pong', which is none of its games"):
        Survey(("maze",), arguments={"pong": {"best": 1.0}})
