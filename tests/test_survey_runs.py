"""Carrying out surveys: what they write, and what is refused before anything is trained."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from commands import lcd
from PIL import Image
from synthetic_survey import PLAN, diagnosis, measured
from tiny import GAME
from typer.testing import CliRunner

from lcd.cli.main import app
from lcd.envs import GAMES
from lcd.experiments.plan import Plan
from lcd.studies.survey.budget import Budget, choose
from lcd.studies.survey.plan import Survey
from lcd.studies.survey.pooling import Measured
from lcd.studies.survey.survey import prepare_survey, with_game
from lcd.studies.survey.tables import SurveyTables

pytestmark = pytest.mark.costly("lcd/studies/survey/plans/*", "analyses/*.py", "analyses/templates/*")


def test_a_survey_writes_each_diagnosis_and_goes_on_where_it_stopped(tmp_path, tiny_preset):
    plan = f"games = ['{GAME}', 'starpilot']\npreset = '{tiny_preset}'\nsteps = 128\nseeds = 1\n"
    plan += "teacher_factor = 1\ntrain_teachers = true\n"
    (tmp_path / "small.toml").write_text(plan)
    one = lcd("survey", "small.toml", "--games", GAME, cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    written = tmp_path / "surveys" / "small"
    assert [path.name for path in written.iterdir()] == [GAME]
    first = (written / GAME / "diagnosis.json").read_bytes()
    both = lcd("survey", "small.toml", "--tables", "kept", cwd=tmp_path)
    assert both.returncode == 0, both.stderr
    assert both.stderr.count(GAME) == both.stderr.count("found in the store") == 6
    assert both.stdout.count("inconclusive") == 2
    assert both.stdout.endswith("lcd taxonomy sorts 3 games or more, and surveys/small has 2.\n")
    assert (written / GAME / "diagnosis.json").read_bytes() == first
    survey, kept = Survey.read(tmp_path / "small.toml"), SurveyTables.read(tmp_path / "kept")
    for precision in ("float32", "bfloat16"):  # in which the identities of their teachers are others
        elsewhere = replace(survey, changes=survey.changes | {"precision": precision})
        assert all(kept.holds(plan, tiny_preset) for plan in elsewhere.plan.games)
    (run,) = (tmp_path / "lcd-runs").glob(f"{GAME}-pixels-rl-*")
    seen = lcd("watch", "--run", str(run), "--max-steps", "5", cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr
    with Image.open(tmp_path / f"{GAME}.gif") as film:
        assert (film.n_frames, film.width) == (5, 2 * 256 + 8)
    wrong = lcd("watch", "heist", "--run", str(run), cwd=tmp_path)
    assert (wrong.returncode, f"plays {GAME}, not heist" in wrong.stderr) == (2, True)
    tables = SurveyTables.read(written)
    assert tables.games["game"].tolist() == [GAME, "starpilot"]
    assert len(tables.scores) == 2 * 4 * 2  # games, cells, kinds of level
    assert SurveyTables.read(tmp_path / "kept").scores.equals(tables.scores.round(6))
    (tmp_path / "small.toml").write_text(plan.replace("128", "256"))
    other = lcd("survey", "small.toml", cwd=tmp_path)
    assert other.returncode == 2
    assert "belongs to another plan" in other.stderr


def test_ladder_and_baselines_are_measured_in_each_game_of_a_survey(tmp_path, tiny_preset, monkeypatch):
    monkeypatch.setattr("lcd.studies.baselines.STATES", 256)
    survey = Survey((GAME,), tiny_preset, {"steps": 128, "teacher_factor": 1}, train_teachers=True)
    asked = {"first_seed": 1, "out": tmp_path / "out", "store": tmp_path / "runs", "workers": 1, "threads": 1}
    plain = prepare_survey(survey, **asked)
    assert plain.further_runs() == []
    both = prepare_survey(survey, ladder=True, baselines=True, **asked)
    assert {run.seed for _, run in both.further_runs()} == {1, 2}
    found = both.run()
    assert both.further_runs() == []
    assert found.ladder["game"].unique().tolist() == found.baselines["game"].unique().tolist() == [GAME]
    assert found.baselines.groupby("baseline").size().to_dict() == {"blind": 2, "imitability": 2}
    for name in ("ladder", "baselines"):
        together, own = (pd.read_csv(tmp_path / "out" / folder / f"{name}.csv") for folder in (".", GAME))
        assert together.drop(columns="game").equals(own)
    with pytest.raises(ValueError, match="counts the four cells of each game only"):
        choose(both.survey, Budget.parse("1 core-hours"), both.store, both.resources)


def test_the_table_of_all_ladders_keeps_the_games_of_other_calls(tmp_path):
    file, table = tmp_path / "ladder.csv", pd.DataFrame({"step": ["credit assignment"], "gain": [0.5]})
    for game, gain in (("maze", 0.1), ("heist", 0.2), ("maze", 0.3)):
        whole = with_game(file, game, table.assign(gain=gain))
    assert whole.equals(pd.read_csv(file))
    assert dict(zip(whole["game"], whole["gain"], strict=True)) == {"heist": 0.2, "maze": 0.3}


def test_several_calls_at_once_lose_no_game_of_a_common_table(tmp_path):
    file, table = tmp_path / "ladder.csv", pd.DataFrame({"step": ["credit assignment"], "gain": [0.5]})
    with ThreadPoolExecutor(8) as together:
        list(together.map(lambda game: with_game(file, game, table), list(GAMES)))
    assert set(pd.read_csv(file)["game"]) == set(GAMES)


def test_a_game_that_nobody_learns_does_not_keep_the_others_from_their_diagnoses(tmp_path, monkeypatch, tiny_preset):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "both.toml").write_text(f'games = ["own_games:Unpaid", "own_games:Grid"]\npreset = "{tiny_preset}"\n')
    for _ in range(2):
        ended = lcd("survey", "both.toml", "--trust", "--ladder", cwd=tmp_path)
        assert ended.returncode == 1, ended.stderr
        assert "own_games:Unpaid has no diagnosis: Nobody returned more than a random policy" in " ".join(
            ended.stdout.split()
        )
        assert len(SurveyTables.read(tmp_path / "surveys" / "both").games) == 1
        assert set(pd.read_csv(tmp_path / "surveys" / "both" / "ladder.csv")["game"]) == {"own_games:Grid"}
    alone = lcd("diagnose", "own_games:Unpaid", "--preset", tiny_preset, cwd=tmp_path)
    assert alone.returncode == 1
    assert alone.stderr.splitlines()[-1].startswith("Error: Nobody returned more than a random policy")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("ladder.csv", "foo,bar\n1,2\n"),
        ("ladder.csv", "game,gain\n,2\n"),
        ("heist/plan.json", "[]"),
        ("heist/plan.json", "{}"),
        ("heist/plan.json", '{"games": []}'),
        ("heist/plan.json", '{"games": [{}]}'),
        ("heist/plan.json", '{"games": [{"budget": 5, "runs": [3]}]}'),
        ("maze/plan.json", '{"games": 5}'),
        ("maze/plan.json", '{"games": [{"runs": 5}]}'),
        ("maze/plan.json", "[]"),
    ],
)
def test_files_of_something_else_in_the_folder_are_named(tmp_path, file, content):
    with_game(tmp_path / "ladder.csv", "heist", pd.DataFrame({"step": ["credit assignment"], "gain": [0.5]}))
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    survey = Survey(("maze",), "smoke", train_teachers=True, ladder=True)
    with pytest.raises(ValueError, match=r"is no (table|plan)|belongs to another plan \(\w"):
        prepare_survey(survey, out=tmp_path, store=tmp_path / "runs")


def test_what_tables_hold_is_not_trained_again_and_other_seeds_join_it(tmp_path, tiny_preset):
    plan = f"games = ['{GAME}']\npreset = '{tiny_preset}'\nsteps = 128\nseeds = 1\n"
    (tmp_path / "small.toml").write_text(plan)
    one = lcd("survey", "small.toml", "--tables", "kept", cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    again = lcd("survey", "small.toml", "--tables", "kept", "--store", "empty", "--out", "other", cwd=tmp_path)
    assert (again.returncode, f"kept holds the runs of {GAME}." in again.stdout) == (0, True)
    assert not (tmp_path / "empty").exists()
    dry = lcd("survey", "small.toml", "--tables", "kept", "--store", "empty", "--dry-run", cwd=tmp_path)
    assert (dry.returncode, dry.stdout.count("\n")) == (0, 1)
    more = ("survey", "small.toml", "--first-seed", "1", "--tables", "kept", "--store", "empty", "--out", "other")
    added = lcd(*more, cwd=tmp_path)
    assert added.returncode == 0, added.stderr
    tables = SurveyTables.read(tmp_path / "kept")
    assert tables.games["seeds"].tolist() == [2]
    assert set(tables.demands["over"]) == {"seeds"}
    assert len(set(tables.runs["run"])) == 8
    assert tables.runs[["training_version", "precision", "finished", "machine"]].notna().all(axis=None)
    (tmp_path / "small.toml").write_text(plan + "num_levels = 100\nfirst_seed = 7\n")
    refused = lcd("survey", "small.toml", "--tables", "kept", "--out", "third", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "with training_levels = 200, the seeds 7 with 100" in refused.stderr


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_tables_hold_is_not_trained_again_on_a_machine_of_another_precision(precision):
    folder = Path(__file__).parents[1] / "docs" / "procgen-standard"
    survey = Survey.read(folder / "survey.toml").only(["coinrun"])
    survey = replace(survey, changes=survey.changes | {"precision": precision})
    assert SurveyTables.read(folder / "tables").holds(survey.plan.games[0], "standard")
    longer = replace(survey, changes=survey.changes | {"steps": 500_000})
    assert not SurveyTables.read(folder / "tables").holds(longer.plan.games[0], "standard")


def test_a_table_of_all_games_mixes_no_budgets(tmp_path):
    survey, out = Survey(("maze",), "smoke", ladder=True), tmp_path / "out"
    (out / "heist").mkdir(parents=True)
    (out / "ladder.csv").write_text("game,step\nheist,the rest\n")
    other = Survey(("heist",), "smoke", {"steps": 4_096}).plan.as_dict(measure=False)
    (out / "heist" / "plan.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match=r"ladder.csv has heist with budget 4096, and here it is 2048"):
        prepare_survey(survey, out=out, store=tmp_path / "store")
    prepare_survey(replace(survey, ladder=False), out=out, store=tmp_path / "store")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        ({"preset": "standard"}, "preset = smoke, the seeds 1 with standard"),
        ({"evaluations": 1}, "evaluations = 2, the seeds 1 with 1"),
        ({"evaluation_episodes": 4}, "evaluation_episodes = 8, the seeds 1 with 4"),
        ({"teacher_factor": 2}, "teacher_checksum = "),
        ({"arguments": {"maze": {"best": 9.123456789}}}, "best = 10, the seeds 1 with 9.123457"),
        ({"seeds": 2, "first_seed": 0, "evaluations": 1}, None),  # both seeds are measured anew
    ],
)
def test_seeds_that_could_not_be_pooled_are_refused_before_anything_is_trained(changes, sentence):
    usual = {"games": ["maze"], "preset": "smoke", "train_teachers": True}
    usual |= {"steps": 32_768, "seeds": 1, "evaluations": 2, "evaluation_episodes": 8, "teacher_factor": 1}
    kept, newer = (Survey.from_toml(usual | more, "plan.toml") for more in ({}, {"first_seed": 1} | changes))
    one, other = (Measured.planned(survey.plan.games[0], survey.preset) for survey in (kept, newer))
    with pytest.raises(ValueError, match=re.escape(sentence)) if sentence else nullcontext():
        one.check_takes(other)


def test_a_best_return_that_runs_measure_is_to_be_given_before_seeds_are_pooled(tmp_path):
    game = "MiniGrid-Empty-5x5-v0"
    (plan,) = Survey.from_toml({"games": [game], "preset": "smoke", "seeds": 1}, "plan.toml").plan.games
    tables = SurveyTables.of([diagnosis(game, 0.1, 0.2, seeds=1, first_seed=1)])
    known = Measured.planned(plan, "smoke").settings
    columns = {name: value for name, value in known.items() if name in tables.games and name != "budget"}
    curves = tables.curves[tables.curves["step"].isin([0, 40_000, 100_000])]
    alike = replace(tables, games=tables.games.assign(**columns), curves=curves.assign(episodes=8))
    alike.write(tmp_path)
    with pytest.raises(ValueError, match="give best = 10 for it"):
        SurveyTables.with_room(tmp_path, Plan((replace(plan, budget=100_000),)), "smoke")


def test_tables_of_games_measured_otherwise_are_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "small.toml").write_text(PLAN)
    survey = Survey.read(tmp_path / "small.toml").only(["maze"])
    survey = replace(survey, changes=survey.changes | {"seeds": 3})
    for game, changed, sentence in (
        ("heist", {"encoder": "impala"}, "budget = 100000, maze with 1024"),
        ("heist", {"budget": 1024, "encoder": "impala"}, "heist was measured with encoder = impala, maze with nature"),
        ("heist", {"budget": 1024, "mode": "hard"}, "heist was measured with mode = hard, maze with easy"),
        ("heist", {"budget": 1024}, None),
        ("maze", {"encoder": "impala"}, None),  # a game takes its own place
    ):
        tables = SurveyTables.of([measured(game)])
        tables.games[list(changed)] = list(changed.values())
        tables.curves.loc[tables.curves["step"] == 100_000, "step"] = tables.games["budget"][0]
        tables.write(tmp_path / game)
        with pytest.raises(ValueError, match=sentence) if sentence else nullcontext():
            SurveyTables.with_room(tmp_path / game, survey.plan, survey.preset)
    SurveyTables.of([measured("heist", encoder="impala")]).write(tmp_path / "kept")
    refused = lcd("survey", "small.toml", "--tables", "kept", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "surveys").exists()
    refused = lcd("survey", "small.toml", "--tables", "/dev/null/kept", cwd=tmp_path)
    assert (refused.returncode, "with --tables" in refused.stderr) == (2, True)


def test_a_survey_whose_tables_lack_a_game_goes_on_and_ends_as_a_failure(tmp_path, monkeypatch):
    def measure(survey, out, store, *, done, **settings):
        for game in survey.games:
            done(measured(game))

    def enter(tables, folder):
        if "coinrun" in set(tables.games["game"]):
            raise OSError("No space left on device.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lcd.studies.survey.survey.carry_out", measure)
    monkeypatch.setattr(SurveyTables, "enter", enter)
    (tmp_path / "small.toml").write_text(PLAN)
    done = CliRunner().invoke(app, ["survey", "small.toml", "--tables", "kept"])
    assert done.exit_code == 1, done.output
    assert "coinrun is not added to kept: No space left on device. The survey goes on." in done.output
    assert "maze: " in done.output
    assert "Not in kept: coinrun." in done.output
