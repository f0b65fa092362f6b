"""Surveys: their plans, what carrying them out writes, and their tables."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import lcd
from PIL import Image
from synthetic_survey import diagnosis, runs
from tiny import GAME
from typer.testing import CliRunner

from lcd.cli.main import app
from lcd.envs import GAMES
from lcd.experiments.plan import Plan
from lcd.measurement.scores import Normalisation
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.survey.budget import Budget, choose
from lcd.studies.survey.columns import COLUMNS, KEYS, TABLES
from lcd.studies.survey.plan import Survey, shipped_surveys
from lcd.studies.survey.pooling import Measured
from lcd.studies.survey.survey import prepare_survey, with_game
from lcd.studies.survey.tables import SurveyTables, load_reference, reference_surveys

pytestmark = pytest.mark.costly("lcd/studies/survey/plans/*", "analyses/*.py", "analyses/templates/*")

PLAN = """
games = ["coinrun", "Maze"]
preset = "smoke"
steps = 1024
seeds = 1
teacher_factor = 1
train_teachers = true
"""


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
    assert (written / GAME / "diagnosis.json").read_bytes() == first
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


@pytest.mark.parametrize("name", ["teacher_factor", "teacher_candidates"])
def test_what_is_said_of_teachers_is_refused_where_none_is_trained(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name} is about the training of teachers, and this survey trains none"):
        prepare_survey(Survey(("starpilot",), "smoke", {name: 2}), out=tmp_path / "out", store=tmp_path / "runs")


def test_tables_survive_their_files_and_every_column_is_documented(tmp_path):
    tables = SurveyTables.of([diagnosis("maze", 0.1, 0.2), diagnosis("heist", 0.2, 0.1)])
    tables.write(tmp_path)
    again = SurveyTables.read(tmp_path)
    for name in TABLES:
        one, other = getattr(tables, name), getattr(again, name)
        assert list(one.columns) == list(other.columns) == list(COLUMNS[name])
        numbers = one.select_dtypes("number").columns
        assert np.allclose(one[numbers], other[numbers], atol=1e-6, equal_nan=True)
        texts = [column for column in one.columns if column not in numbers]
        for column in texts:  # nothing is an empty field; the type of texts is that of the installed pandas
            assert one[column].isna().tolist() == other[column].isna().tolist()
            assert one[column].dropna().tolist() == other[column].dropna().tolist()


def test_tables_take_up_new_games_and_newer_diagnoses_of_old_ones(tmp_path):
    tables = SurveyTables.of([diagnosis("maze", 0.1, 0.2), diagnosis("heist", 0.2, 0.1)])
    newer = SurveyTables.of([diagnosis("maze", 0.3, 0.2, seeds=4), diagnosis("coinrun", 0.2, 0.1)])
    both = tables.updated(newer)
    assert both.games["game"].tolist() == ["coinrun", "heist", "maze"]
    assert both.games["seeds"].tolist() == [3, 3, 4]
    for name in TABLES:
        ours, theirs, mine = (getattr(each, name) for each in (both, newer, tables))
        assert len(ours) == len(theirs) + (mine["game"] == "heist").sum()
    (row,) = both.demands.query(
        "game == 'maze' and quantity == 'perceptual' and levels == 'unseen' and score == 'area'"
    )["estimate"]
    assert abs(row - 0.3) < 0.05


def pooled_and_whole(**settings):
    """The same runs as a diagnosis of three seeds beside one of two, and as one diagnosis of five."""
    parts = [
        diagnosis("maze", 0.3, 0.2, **settings),
        diagnosis("maze", 0.3, 0.2, seeds=2, first_seed=3, seed=1, **settings),
    ]
    whole = Diagnosis.from_episodes(
        pd.concat([part.episodes for part in parts]),
        game="maze",
        budget=parts[0].budget,
        normalisation=parts[0].normalisation,
        teacher=parts[0].teacher,
        settings={"preset": "smoke", "runs": runs(range(5)), "core_hours": 2.0},
    )
    return SurveyTables.of(parts[:1]).updated(SurveyTables.of(parts[1:])), SurveyTables.of([whole])


@pytest.mark.parametrize(("teacher_return", "worse"), [(9.5, False), (5.0, True)])
def test_other_seeds_of_a_game_are_pooled_as_if_they_had_been_trained_together(teacher_return, worse):
    pooled, whole = pooled_and_whole(teacher_return=teacher_return)
    assert whole.games["reason"][0].startswith("A learner from reward beats the teacher") == worse
    for name in TABLES:
        order = KEYS[name]
        one, other = (getattr(each, name).sort_values(order, ignore_index=True) for each in (pooled, whole))
        pd.testing.assert_frame_equal(one, other, check_dtype=False)
    assert (whole.games["seeds"][0], len(whole.runs)) == (5, 20)


def test_the_hours_of_a_teacher_that_seeds_share_count_once():
    def with_a_teacher(seeds, first_seed):
        tables = SurveyTables.of([diagnosis("maze", 0.3, 0.2, seeds=seeds, first_seed=first_seed)])
        return replace(tables, games=tables.games.assign(core_hours=tables.runs["core_hours"].sum() + 1))

    pooled = with_a_teacher(3, 0).updated(with_a_teacher(2, 3))
    assert pooled.games["core_hours"][0] == pytest.approx(pooled.runs["core_hours"].sum() + 1)


def test_seeds_are_pooled_in_files_and_of_a_seed_that_is_there_the_newer_run_counts(tmp_path):
    whole = pooled_and_whole()[1]
    SurveyTables.of([diagnosis("maze", 0.3, 0.2), diagnosis("heist", 0.3, 0.2)]).enter(tmp_path)
    SurveyTables.of([diagnosis("maze", 0.3, 0.2, seeds=2, first_seed=3, seed=1)]).enter(tmp_path)
    pooled = SurveyTables.read(tmp_path)
    assert pooled.games["seeds"].tolist() == [3, 5]
    maze = pooled.of_game("maze").demands[["quantity", "estimate", "low"]]
    assert np.allclose(maze[["estimate", "low"]], whole.demands[["estimate", "low"]], atol=1e-5)
    SurveyTables.of([diagnosis("maze", 0.3, 0.2)]).enter(tmp_path)  # again
    again = SurveyTables.read(tmp_path)
    assert again.games["seeds"].tolist() == [3, 5]
    pd.testing.assert_frame_equal(again.of_game("maze").demands, pooled.of_game("maze").demands, rtol=0, atol=2e-6)
    SurveyTables.of([diagnosis("maze", 0.1, 0.2, seeds=1, first_seed=3, seed=7)]).enter(tmp_path)
    newer = SurveyTables.read(tmp_path).of_game("maze")
    assert newer.games["seeds"][0] == 5
    scores = [table.scores.set_index(KEYS["scores"])["area"] for table in (newer, pooled.of_game("maze"))]
    changed = scores[0] != scores[1].loc[scores[0].index]
    assert set(changed[changed].index.get_level_values("seed")) == {3}
    assert len(newer.runs) == 20
    SurveyTables.of([diagnosis("maze", 0.1, 0.2, seeds=6)]).enter(tmp_path)
    assert SurveyTables.read(tmp_path).games["seeds"].tolist() == [3, 6]


def test_seeds_that_were_not_measured_alike_are_not_pooled(tmp_path):
    SurveyTables.of([measured("maze")]).enter(tmp_path)
    for changed, sentence in (
        ({"teacher": "0dd"}, "The seeds 0, 1, 2 of maze were measured with teacher_checksum = 5ea1, the seeds 3, 4, 5"),
        ({"version": 3}, "training_version = 2, the seeds 3, 4, 5 with 3"),
        ({"episodes": 4}, "evaluation_episodes = 8, the seeds 3, 4, 5 with 4"),
    ):
        with pytest.raises(ValueError, match=sentence):
            SurveyTables.of([measured("maze", first_seed=3, **changed)]).enter(tmp_path)
    assert SurveyTables.read(tmp_path).games["seeds"].tolist() == [3]


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
    folder = Path(__file__).parents[1] / "docs" / "procgen-quick"
    survey = Survey.read(folder / "survey.toml").only(["climber"])
    survey = replace(survey, changes=survey.changes | {"precision": precision})
    assert SurveyTables.read(folder / "tables").holds(survey.plan.games[0], "quick")
    longer = replace(survey, changes=survey.changes | {"steps": 500_000})
    assert not SurveyTables.read(folder / "tables").holds(longer.plan.games[0], "quick")


def test_a_table_of_all_games_mixes_no_budgets(tmp_path):
    survey, out = Survey(("maze",), "smoke", ladder=True), tmp_path / "out"
    (out / "heist").mkdir(parents=True)
    (out / "ladder.csv").write_text("game,step\nheist,the rest\n")
    other = Survey(("heist",), "smoke", {"steps": 4_096}).plan.as_dict(measure=False)
    (out / "heist" / "plan.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match=r"ladder.csv has heist with budget 4096, and here it is 2048"):
        prepare_survey(survey, out=out, store=tmp_path / "store")
    prepare_survey(replace(survey, ladder=False), out=out, store=tmp_path / "store")


def test_pooled_seeds_keep_the_caution_that_score_1_is_their_own_best():
    parts = []
    for first in (0, 3):
        found = diagnosis("maze", 0.0, 0.0, joint=0.0, top=0.95, first_seed=first, seed=first)
        parts.append(
            Diagnosis.from_episodes(
                found.episodes,
                game="maze",
                budget=found.budget,
                normalisation=Normalisation(0.0, 10.0, "measured"),
                settings=found.settings,
            )
        )
    caution = "Score 1 is a return of 10, the highest that these learners"
    pooled = SurveyTables.of(parts[:1]).updated(SurveyTables.of(parts[1:]))
    assert pooled.games["verdict"][0] in ("not limited", "inconclusive")
    assert caution in pooled.games["cautions"][0]


def test_the_tables_of_the_first_surveys_have_no_runs_and_are_read(tmp_path):
    SurveyTables.of([diagnosis("maze", 0.3, 0.2)]).write(tmp_path)
    (tmp_path / "runs.csv").unlink()
    with pytest.raises(ValueError, match=r"runs\.csv"):
        SurveyTables.read(tmp_path)  # its checksum says that it was there
    sums = tmp_path / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(keepends=True) if "runs" not in line))
    tables = SurveyTables.read(tmp_path)
    assert (len(tables.games), len(tables.runs)) == (1, 0)
    tables.enter(tmp_path / "new")
    SurveyTables.of([diagnosis("heist", 0.3, 0.2), diagnosis("maze", 0.3, 0.2, first_seed=3)]).enter(tmp_path / "new")
    runs = SurveyTables.read(tmp_path / "new").runs
    assert set(zip(runs["game"], runs["seed"], strict=True)) == {(g, s) for g, s in product(["heist"], range(3))} | {
        ("maze", seed) for seed in range(3, 6)
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda runs: runs.assign(seed=runs["seed"].replace(0, 9)),
            "runs.csv tells of the run maze, pixels, imitation, seed 9",
        ),
        (lambda runs: runs[:-1], "runs.csv lacks the run maze, semantic, imitation, seed 2"),
    ],
)
def test_runs_that_are_not_those_of_the_scores_are_named(tmp_path, change, sentence):
    SurveyTables.of([diagnosis("maze", 0.3, 0.2)]).write(tmp_path)
    change(pd.read_csv(tmp_path / "runs.csv")).to_csv(tmp_path / "runs.csv", index=False)
    (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(ValueError, match=re.escape(sentence)):
        SurveyTables.read(tmp_path)


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


def test_tables_are_entered_beside_others_and_nowhere_else(tmp_path):
    for game in ("maze", "heist"):
        SurveyTables.of([diagnosis(game, 0.1, 0.2)]).enter(tmp_path / "kept")
    assert SurveyTables.read(tmp_path / "kept").games["game"].tolist() == ["heist", "maze"]
    (tmp_path / "kept" / ".scores.123.csv").write_text("what a process that was killed left")
    SurveyTables.of([diagnosis("maze", 0.3, 0.2)]).enter(tmp_path / "kept")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".scores.123.csv").write_text("the same at the first entry")
    SurveyTables.of([diagnosis("maze", 0.3, 0.2)]).enter(tmp_path / "new")
    (tmp_path / "kept" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "kept", tmp_path / "file"):
        with pytest.raises(ValueError, match="no folder of a survey's tables"):
            SurveyTables.kept(place)
    (tmp_path / "small.toml").write_text(PLAN)
    refused = lcd("survey", "small.toml", "--tables", "kept", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def measured(game, first_seed=0, teacher="5ea1", version=2, episodes=8, **run):
    first = {"view": "pixels", "distribution_mode": "easy", "num_levels": 200, "encoder": "nature"} | run
    plan = {"games": [{"teacher": teacher, "runs": [{"view": "semantic"}, first]}]}
    made = [run | {"training_version": version} for run in runs(range(first_seed, first_seed + 3))]
    settings = {"preset": "smoke", "plan": plan, "runs": made}
    return diagnosis(game, 0.1, 0.2, first_seed=first_seed, episodes=episodes, settings=settings)


def test_tables_say_how_games_were_measured_and_what_the_verdict_leaves_out():
    row = SurveyTables.of([measured("maze", appearance=["monochrome", "no-backgrounds"])]).games.iloc[0]
    assert row[["preset", "mode", "training_levels", "encoder", "teacher_checksum"]].tolist() == [
        "smoke", "easy", 200, "nature", "5ea1",
    ]  # fmt: skip
    assert row["appearance"] == "monochrome no-backgrounds"
    low = diagnosis("maze", 0.85, 0.2)
    assert SurveyTables.of([low]).games["cautions"][0].startswith("pixels/imitation ends at 0.0")
    assert SurveyTables.of([diagnosis("maze", 0.05, 0.05)]).games["would_decide"][0].startswith("More seeds")


def test_tables_of_before_do_not_know_their_learner(tmp_path):
    usual = {"learning": "rl", "hyperparameters": {"gamma": 0.999}}
    SurveyTables.of([measured("maze", **usual)]).enter(tmp_path)
    games = pd.read_csv(tmp_path / "games.csv")
    assert games["learner"].tolist() == ["ppo"]
    games.drop(columns="learner").to_csv(tmp_path / "games.csv", index=False)
    (tmp_path / "SHA256SUMS").unlink()
    assert SurveyTables.read(tmp_path).games["learner"].isna().all()
    SurveyTables.of([measured("heist", **usual)]).enter(tmp_path)
    SurveyTables.of([measured("maze", first_seed=3, **usual)]).enter(tmp_path)
    found = SurveyTables.read(tmp_path).games.set_index("game")
    assert found["seeds"].to_dict() == {"heist": 3, "maze": 6}


def test_games_that_were_not_measured_alike_share_no_tables(tmp_path):
    SurveyTables.of([measured("maze", learning="rl", hyperparameters={})]).enter(tmp_path / "kept")
    before = (tmp_path / "kept" / "games.csv").read_bytes()
    for changed, sentence in (
        ({"encoder": "impala"}, "heist was measured with encoder = impala, maze with nature"),
        (
            {"learning": "rl", "hyperparameters": {"gamma": 0.9}},
            "heist was measured with learner = ppo gamma=0.9, maze",
        ),
        ({"learning": "rl", "hyperparameters": {}, "improvement": "phasic"}, "with learner = phasic, maze with ppo"),
        ({"appearance": ["monochrome"]}, "heist was measured with appearance = monochrome, maze with none"),
        ({"num_levels": 500}, "training_levels = 500, maze with 200"),
    ):
        with pytest.raises(ValueError, match=sentence):
            SurveyTables.of([measured("heist", **changed)]).enter(tmp_path / "kept")
    assert (tmp_path / "kept" / "games.csv").read_bytes() == before


def test_processes_that_enter_games_at_once_lose_none(tmp_path):
    games = list(GAMES)[:6]
    with ThreadPoolExecutor(len(games)) as together:
        list(together.map(lambda game: SurveyTables.of([measured(game)]).enter(tmp_path / "kept"), games))
    assert SurveyTables.read(tmp_path / "kept").games["game"].tolist() == sorted(games)


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


def test_damaged_and_doubled_diagnoses_are_refused(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        diagnosis("maze", 0.1, 0.2).to_json(tmp_path / folder / "diagnosis.json")
    with pytest.raises(ValueError, match="several diagnoses of maze"):
        SurveyTables.read(tmp_path)
    file = tmp_path / "two" / "diagnosis.json"
    file.write_text(json.dumps({"format": "lcd.diagnosis/0"}))
    with pytest.raises(ValueError, match="no diagnosis of this version"):
        SurveyTables.read(tmp_path)
    for text, sentence in (("{", "cannot be read"), ("[]", "no diagnosis of this version")):
        file.write_text(text)
        with pytest.raises(ValueError, match=sentence):
            SurveyTables.read(tmp_path)


@pytest.mark.parametrize("lost", ["game", "seeds", "normalisation", "settings", "verdict", "demands", "curves"])
def test_a_diagnosis_that_lacks_something_is_named(tmp_path, lost):
    (tmp_path / "one").mkdir()
    file = tmp_path / "one" / "diagnosis.json"
    record = diagnosis("maze", 0.1, 0.2).to_json()
    del record[lost]
    file.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=rf"one.diagnosis\.json is damaged \(KeyError.*{lost}"):
        SurveyTables.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("scores", lambda rows: rows[:-1], "has not each run's curve up to 100,000 steps and its scores"),
        ("curves", lambda rows: rows[:3], "has not each run's curve up to 100,000 steps and its scores"),
        ("curves", lambda rows: [row | {"game": "heist"} for row in rows], "is of maze, and its curves of 'heist'"),
        ("seeds", lambda seeds: [*seeds, 7], r"names the seeds \[0, 1, 2, 7\], and its scores have others"),
    ],
)
def test_a_diagnosis_whose_tables_do_not_fit_is_named(tmp_path, name, change, sentence):
    (tmp_path / "one").mkdir()
    record = diagnosis("maze", 0.1, 0.2).to_json()
    record[name] = change(record[name])
    (tmp_path / "one" / "diagnosis.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=sentence):
        SurveyTables.read(tmp_path)


@pytest.mark.parametrize("name", TABLES)
def test_damaged_tables_are_named(tmp_path, name):
    SurveyTables.of([diagnosis("heist", 0.1, 0.2), diagnosis("maze", 0.1, 0.2)]).write(tmp_path)
    file = tmp_path / f"{name}.csv"
    whole = file.read_text()
    lines = whole.splitlines(keepends=True)
    short = r"has \d+ rows of maze instead of \d+: restore it\.$"
    for damaged in (b"", b"\xff\x00" * 50, "".join(lines[:-1]).encode(), whole.replace("0", "zero").encode()):
        file.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=rf"\.csv ({short}|cannot be|has no column|holds|lacks maze|lacks the run maze)"
        ):
            SurveyTables.read(tmp_path)
    file.write_text(whole)
    assert len(SurveyTables.read(tmp_path).games) == 2


@pytest.mark.parametrize(
    ("name", "column", "value", "sentence"),
    [
        ("games", "verdict", "", r"games\.csv lacks a value of 'verdict' in line 2"),
        ("scores", "area", "inf", r"scores\.csv lacks a value of 'area' in line 2"),
        ("scores", "view", "both", r"'both' in the column 'view', where there is only pixels or semantic"),
        ("curves", "levels", "test", r"'test' in the column 'levels', where there is only unseen or training"),
        ("scores", "seed", "1", r"scores\.csv has two rows of heist, pixels, imitation, 1"),
        ("games", "game", "maze", r"games\.csv has two rows of maze"),
        ("games", "seeds", "99", r"games\.csv has 99 seeds of heist, and scores\.csv has 3: restore it"),
        ("scores", "seed", "0.5", r"scores\.csv holds a number with a fraction in the column 'seed'"),
    ],
)
def test_what_cannot_stand_in_a_table_is_named(tmp_path, name, column, value, sentence):
    SurveyTables.of([diagnosis("heist", 0.1, 0.2), diagnosis("maze", 0.1, 0.2)]).write(tmp_path)
    table = pd.read_csv(tmp_path / f"{name}.csv", dtype=str)
    table.loc[0, column] = value
    table.to_csv(tmp_path / f"{name}.csv", index=False)
    with pytest.raises(ValueError, match=sentence):
        SurveyTables.read(tmp_path)


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
