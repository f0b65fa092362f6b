"""Tables of surveys: their files, seeds that are pooled, and what is damaged."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from commands import lcd
from synthetic_survey import PLAN, diagnosis, measured, runs

from lcd.envs import GAMES
from lcd.experiments.settings import TRAINING_VERSION
from lcd.measurement.scores import Normalisation
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.survey.columns import COLUMNS, KEYS, TABLES
from lcd.studies.survey.tables import SurveyTables

pytestmark = pytest.mark.costly("lcd/studies/survey/plans/*", "analyses/*.py", "analyses/templates/*")


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
    usual = {"evaluation": {}, "env": {}, "game_version": "grid 1"}
    SurveyTables.of([measured("maze", **usual)]).enter(tmp_path)
    for changed, sentence in (
        ({"teacher": "0dd"}, "The seeds 0, 1, 2 of maze were measured with teacher_checksum = 5ea1, the seeds 3, 4, 5"),
        ({"version": 0}, f"training_version = {TRAINING_VERSION}, the seeds 3, 4, 5 with 0"),
        ({"episodes": 4}, "evaluation_episodes = 8, the seeds 3, 4, 5 with 4"),
        ({"evaluation": {"inverse_temperatures": [1, 2]}}, "temperatures = 1, the seeds 3, 4, 5 with 1 2"),
        ({"env": {"kwargs": {"limit": 9}}}, "arguments = {}, the seeds 3, 4, 5 with"),
        ({"game_version": "grid 2"}, "game_version = grid 1, the seeds 3, 4, 5 with grid 2"),
    ):
        with pytest.raises(ValueError, match=sentence):
            SurveyTables.of([measured("maze", first_seed=3, **usual | changed)]).enter(tmp_path)
    assert SurveyTables.read(tmp_path).games["seeds"].tolist() == [3]


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
        (
            {"version": 2, "learning": "rl", "hyperparameters": {}},
            f"training_version = 2, maze with {TRAINING_VERSION}",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            SurveyTables.of([measured("heist", **changed)]).enter(tmp_path / "kept")
    assert (tmp_path / "kept" / "games.csv").read_bytes() == before


def test_processes_that_enter_games_at_once_lose_none(tmp_path):
    games = list(GAMES)[:6]
    with ThreadPoolExecutor(len(games)) as together:
        list(together.map(lambda game: SurveyTables.of([measured(game)]).enter(tmp_path / "kept"), games))
    assert SurveyTables.read(tmp_path / "kept").games["game"].tolist() == sorted(games)


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
