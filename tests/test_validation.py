"""A validation: its plan, its runs, and what is reported of its hypotheses."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import lcd as command
from synthetic_survey import diagnosis
from tiny import TINY

from lcd.cli.display import changes_of
from lcd.experiments.execution import Event
from lcd.experiments.improvements import IMPROVEMENTS, get_improvement
from lcd.experiments.plan import Plan, plan_game
from lcd.experiments.resources import Resources
from lcd.experiments.store import Store
from lcd.measurement.capacity import information_capacity
from lcd.studies.finished_runs import NothingLearned, read_diagnosis
from lcd.studies.output import OutputFolder
from lcd.studies.survey.plan import Survey
from lcd.studies.survey.tables import SurveyTables
from lcd.studies.validation.complexity import policy_capacity
from lcd.studies.validation.effective_horizon import procgen_horizon
from lcd.studies.validation.evidence import read_evidence
from lcd.studies.validation.game_runs import GameRuns, Held
from lcd.studies.validation.improving import improved_run
from lcd.studies.validation.plan import Hypothesis, Validation
from lcd.studies.validation.predictors import PREDICTORS, SCORE, predictors_of, predictors_of_scores
from lcd.studies.validation.result import analyse
from lcd.studies.validation.validation import PreparedValidation, prepare_validation

GAMES = ("bossfight", "maze", "starpilot", "ninja", "leaper")
SURVEY = Survey(GAMES, "smoke", {"steps": 1024, "seeds": 1, "evaluations": 1, "evaluation_episodes": 2})

FILE = """
games = ["bossfight", "starpilot", "ninja", "leaper", "plunder"]
preset = "smoke"
steps = 1024
seeds = 1
evaluations = 1
evaluation_episodes = 2
improvements = ["augment-crop", "shorter-credit"]
further_seeds = 1

[[hypotheses]]
predictor = "perceptual"
gain = "perceptual"

[[hypotheses]]
predictor = "score"
gain = "shorter-credit"
sign = "negative"
"""


def prepared(validation: Validation, folder: Path) -> PreparedValidation:
    return PreparedValidation(validation, OutputFolder(folder / "out"), Store(folder / "runs"), Resources())


def test_no_further_seed_takes_part_in_a_diagnosis(tmp_path):
    validation = Validation(replace(SURVEY, changes=SURVEY.changes | {"seeds": 2}), ("augment-crop", "longer-credit"))
    assert list(validation.further) == [2, 3]
    for game in prepared(validation, tmp_path).games():
        diagnosed = {run.seed for run in game.plan.cells}
        assert diagnosed == {0, 1}
        for runs in (game.plain, *game.improved.values()):
            assert [run.seed for run in runs] == [2, 3]
            assert {(run.view, run.learning) for run in runs} == {("pixels", "rl")}


def test_a_diagnosis_that_begins_with_a_later_seed_shares_none_either():
    survey = replace(SURVEY, changes=SURVEY.changes | {"seeds": 2, "first_seed": 3})
    assert list(Validation(survey, ("augment-crop", "longer-credit")).further) == [5, 6]


def test_predictors_are_the_same_from_a_diagnosis_and_from_a_surveys_tables():
    made = diagnosis("maze", 0.3, 0.2)
    of_diagnosis = predictors_of(made)
    assert predictors_of_scores(SurveyTables.of([made]).scores) == pytest.approx(of_diagnosis, nan_ok=True)
    assert of_diagnosis["perceptual"] == pytest.approx(made.perceptual.estimate)
    assert of_diagnosis["difference"] == pytest.approx(made.difference.estimate)


def test_diagnoses_that_tables_hold_are_not_trained_again(tmp_path):
    folder = Path(__file__).parents[1] / "docs" / "procgen-standard"
    plan, tables = (
        Validation(Survey.read(folder / "survey.toml"), ("augment-crop", "shorter-credit")),
        folder / "tables",
    )
    made = prepare_validation(plan, tables=tables, out=tmp_path / "out", store=tmp_path / "store")
    assert "coinrun" in made.held
    trained = {(run.game, run.view, run.learning, run.seed) for run in made.plan.runs}
    for game in made.held:
        runs = {key for key in trained if key[0] == game}
        assert {(view, learning) for _, view, learning, _ in runs} == {("pixels", "rl")}
        assert {seed for *_, seed in runs} == set(made.validation.further)
    ladder = replace(made.validation, ladder=True)
    assert not prepare_validation(ladder, tables=tables, out=tmp_path / "o", store=tmp_path / "store").held


def test_constants_that_were_measured_come_from_the_tables(monkeypatch):
    made = diagnosis("maze", 0.3, 0.2)
    plan = replace(plan_game("maze", TINY), normalisation=None)
    known = []
    monkeypatch.setattr("lcd.studies.validation.game_runs.gains_of", lambda *given: known.append(given[3]))
    held = Held(SurveyTables.of([made]).scores, made.normalisation)
    predictors, _ = GameRuns(plan, None, (), {}, held).read(Store(Path("there is none")))
    assert known == [made.normalisation]
    assert predictors["perceptual"] == pytest.approx(made.perceptual.estimate)


def test_a_game_in_which_nobody_learned_is_left_out(tmp_path, monkeypatch):
    def read(game, store):
        if game.plan.game in lost:
            raise NothingLearned(f"Nobody returned more than a random policy in {game.plan.game}.")
        rows = [(game.plan.game, name, get_improvement(name).kind, 0.1) for name in game.improved]
        return dict.fromkeys(PREDICTORS, 0.5), pd.DataFrame(rows, columns=["game", "improvement", "kind", "gain"])

    def execute(plan, store, *, listener, **resources):
        for run in plan.runs:
            listener(Event("finished", run))

    monkeypatch.setattr(GameRuns, "read", read)
    monkeypatch.setattr("lcd.studies.validation.validation.execute", execute)
    monkeypatch.setattr(PreparedValidation, "_with_complexity", lambda self, predictors, report: predictors)
    validation = Validation(SURVEY, ("augment-crop", "longer-credit"), further_seeds=1)
    lost, said = ["maze"], []
    result = prepared(validation, tmp_path).run(report=said.append)
    assert set(result.predictors["game"]) == set(result.gains["game"]) == set(GAMES) - {"maze"}
    assert said == ["maze is left out. Nobody returned more than a random policy in maze."]
    lost = GAMES
    with pytest.raises(ValueError, match=r"No game of the validation has scores\. Nobody"):
        prepared(validation, tmp_path / "other").run()


def begun(folder: Path, plan: str, *, gains: dict[str, list[str]], precision: str = "bfloat16") -> PreparedValidation:
    """The same validation after another machine wrote the gains of some games and improvements into its folder."""
    (folder / "v.toml").write_text(plan)
    planned = partial(prepare_validation, folder / "v.toml", out=folder / "out", store=folder / "runs")
    first = planned()
    first.out.claim(first.as_dict())
    predictors = [{"game": game} | dict.fromkeys(PREDICTORS, 0.5) for game in gains]
    rows = [(game, name, get_improvement(name).kind, 0.1, precision) for game, names in gains.items() for name in names]
    columns = ["game", "improvement", "kind", "gain", "precision"]
    written = {"predictors": pd.DataFrame(predictors), "gains": pd.DataFrame(rows, columns=columns)}
    first.out.write_results(written, {})
    return planned()


def test_games_that_are_finished_on_another_machine_are_not_trained_again(tmp_path):
    both = ["augment-crop", "shorter-credit"]
    made = begun(tmp_path, FILE, gains={"ninja": both, "starpilot": both, "leaper": both[:1]})
    assert made.finished.games == ["ninja", "starpilot"]
    assert set(made.finished.gains["game"]) == {"ninja", "starpilot"}
    assert {run.game for run in made.plan.runs} == {"bossfight", "leaper", "plunder"}


def test_a_validation_that_asks_for_a_precision_keeps_no_gains_of_another(tmp_path):
    both = {"ninja": ["augment-crop", "shorter-credit"]}
    asked = 'precision = "float32"\n' + FILE
    assert not begun(tmp_path, asked, gains=both).finished.games
    assert begun(tmp_path, asked, gains=both, precision="float32").finished.games == ["ninja"]


def test_each_improvement_is_another_run(tmp_path, monkeypatch):
    validation = Validation(SURVEY, tuple(IMPROVEMENTS), further_seeds=1)
    first = next(iter(prepared(validation, tmp_path).plan.games))
    assert first.game == "bossfight"
    games = list(prepared(validation, tmp_path).games())
    for game in games:
        runs = [*game.plain, *(run for (run,) in game.improved.values())]
        assert len({run.identity for run in runs}) == 1 + len(IMPROVEMENTS)
    improved = games[0].improved
    assert improved["shorter-credit"][0].hyperparameters.gamma == 0.99
    assert improved["harmonized"][0].harmonizer == 1.0
    assert improved["augment-crop"][0].improvement == "augment-crop"
    assert improved["pretrained-frozen"][0].encoder != games[0].plain[0].encoder
    monkeypatch.setattr("lcd.studies.validation.improving.has_label_maps", lambda options: False)
    with pytest.raises(ValueError, match="trained with label maps, and bossfight has none: leave it out"):
        improved_run(games[0].plain[0], get_improvement("harmonized"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"improvements": ("augment-crop",)}, "there is no policy one"),
        ({"improvements": ("augment-crop", "augment-crop", "longer-credit")}, "each improvement once"),
        ({"improvements": ("no-such",)}, "Unknown improvement"),
        ({"survey": replace(SURVEY, games=GAMES[:4])}, "5 or more, not 4"),
        ({"hypotheses": (Hypothesis("policy", "harmonized"),)}, "harmonized, which is not measured"),
        ({"hypotheses": (Hypothesis("credit_assignment", "policy"),)}, "set ladder = true"),
        ({"hypotheses": (Hypothesis("policy", "policy"),) * 2}, "there twice, and would widen the limits of all"),
        ({"further_seeds": 0}, "further_seeds"),
        ({"survey": replace(SURVEY, baselines=True)}, "no baselines"),
    ],
)
def test_what_validates_nothing_is_refused(given, sentence):
    usual = {"survey": SURVEY, "improvements": ("augment-crop", "longer-credit")}
    with pytest.raises(ValueError, match=sentence):
        Validation(**(usual | given))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ("improvements = 3", "improvements"),
        ("hypotheses = 3", r"\[\[hypotheses\]\]"),
        ('[[hypotheses]]\npredictor = "luck"\ngain = "policy"', "no predictor"),
        ('[[hypotheses]]\npredictor = "policy"\ngain = "luck"', "are about|is about"),
        ('[[hypotheses]]\npredictor = "policy"', "gain"),
        ('[[hypotheses]]\npredictor = "score"\ngain = "policy"\ngiven_score = true', "cannot be held constant as well"),
        ("improved = 3", "cannot set 'improved'"),
    ],
)
def test_a_file_that_is_no_validation_is_one_sentence_with_status_2(tmp_path, changed, sentence):
    text = FILE.partition("[[hypotheses]]")[0]
    name = changed.partition(" ")[0]
    text = "\n".join(line for line in text.splitlines() if not line.startswith(f"{name} "))
    (tmp_path / "v.toml").write_text(f"{text}\n{changed}\n")
    done = command("validate", "v.toml", "--dry-run", cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert re.search(sentence, done.stderr)


def tables(slope: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    random = np.random.default_rng(0)
    names = [f"g{number}" for number in range(10)]
    demand = random.normal(size=10)
    predictors = pd.DataFrame({"game": names} | dict.fromkeys(PREDICTORS, np.nan))
    predictors = predictors.assign(perceptual=demand, score=random.normal(size=10), policy=random.normal(size=10))
    predictors = predictors.assign(
        difference=predictors["perceptual"] - predictors["policy"], generalisation=0.1, training_score=0.2
    )
    gains = [
        {"game": name, "improvement": improvement, "kind": get_improvement(improvement).kind, "gain": gain}
        for improvement, values in {
            "augment-crop": slope * demand,
            "augment-colour": slope * demand + 0.01 * random.normal(size=10),
            "shorter-credit": random.normal(size=10),
        }.items()
        for name, gain in zip(names, values, strict=True)
    ]
    return predictors, pd.DataFrame(gains)


def test_tables_of_before_the_gains_were_predictors_are_read(tmp_path):
    predictors, gains = tables(1.0)
    predictors = predictors.assign(joint=0.25)
    gains.to_csv(tmp_path / "gains.csv", index=False)
    predictors.drop(columns=["perceptual_gain", "policy_gain"]).to_csv(tmp_path / "predictors.csv", index=False)
    found = read_evidence(tmp_path).predictors
    assert found["policy_gain"].to_numpy() == pytest.approx(predictors["policy"] + 0.25)
    assert found["perceptual_gain"].to_numpy() == pytest.approx(predictors["perceptual"] + 0.25)


@pytest.mark.parametrize(("slope", "outcome"), [(1.0, "supported"), (-1.0, "contradicted"), (0.0, "undecided")])
def test_every_hypothesis_is_reported(slope, outcome):
    expected = (
        Hypothesis("perceptual", "perceptual"),
        Hypothesis("perceptual", "augment-crop", given_score=True),
        Hypothesis("capacity", "policy"),
    )
    predictors, gains = tables(slope)
    found = analyse(predictors, gains, expected)
    assert found.hypotheses["outcome"].tolist() == [outcome if slope else "undecided"] * 2 + ["undecided"]
    assert found.hypotheses["games"].tolist()[:2] == [10, 10]
    assert set(found.correlations["predictor"]) == {
        "perceptual", "policy", SCORE, "difference", "generalisation", "training_score"
    }  # fmt: skip
    assert "threshold of capacity" not in set(found.decisions["rule"])
    assert {"larger demand", "always policy", "threshold of perceptual"} <= set(found.decisions["rule"])


def test_what_one_hypothesis_supports_alone_many_may_not():
    predictors, gains = tables(0.0)
    noise = np.random.default_rng(4).normal(size=10)
    weak = dict(zip(predictors["game"], predictors["perceptual"] + noise, strict=True))
    gains.loc[gains["improvement"] == "augment-crop", "gain"] = list(weak.values())
    one = Hypothesis("perceptual", "augment-crop")
    others = tuple(Hypothesis("policy", "policy", given_score=given) for given in (False, True) for _ in range(10))
    alone = analyse(predictors, gains, (one,)).hypotheses.iloc[0]
    among = analyse(predictors, gains, (one, *others)).hypotheses.iloc[0]
    assert alone[["low", "high", "outcome"]].tolist() == among[["low", "high", "outcome"]].tolist()
    assert alone["joint_outcome"] == alone["outcome"] == "supported"
    assert among["joint_low"] < 0 < among["low"]
    assert among["joint_outcome"] == "undecided"


def test_a_diagnosis_gives_the_predictors(trained):
    diagnosis = read_diagnosis(trained.plan, trained.store)
    found = predictors_of(diagnosis)
    assert list(found) == list(PREDICTORS)
    scores = diagnosis.scores
    cell = scores[(scores["view"] == "pixels") & (scores["learning"] == "rl")].groupby("levels")["area"].mean()
    assert found[SCORE] == pytest.approx(cell["unseen"])
    assert found["generalisation"] == pytest.approx(cell["training"] - cell["unseen"])
    assert found["difference"] == pytest.approx(found["perceptual"] - found["policy"])
    assert found["gap"] == pytest.approx(found["perceptual"] + found["policy"] + found["joint"])
    assert np.isnan(found["capacity"])


def test_capacity_is_what_policies_decide():
    random = np.random.default_rng(0)
    for nothing in (random.normal(size=(32, 64)), random.exponential(size=(32, 64)), random.integers(0, 50, (32, 64))):
        assert abs(information_capacity(nothing)) < 0.06  # 0.2 to 0.5 bits, if chance were not subtracted
    nothing = random.normal(size=(64, 64))
    everything = np.repeat(np.arange(16.0)[:, None], 64, axis=1)
    assert information_capacity(everything) == pytest.approx(4 - 225 / (2 * 1024 * np.log(2)), abs=0.05)
    assert information_capacity(np.ones((4, 4))) == 0
    assert 0.2 < information_capacity(nothing + 3 * np.arange(64)[:, None] / 64, bins=10) < 1
    for wrong in ([[1.0, 2.0]], [1.0, 2.0], [[1.0, np.inf], [1.0, 2.0]]):
        with pytest.raises(ValueError, match=r"capacity needs|not finite"):
            information_capacity(wrong)


@pytest.mark.costly()
def test_the_command_trains_resumes_and_writes_its_tables(tmp_path, monkeypatch):
    monkeypatch.setattr("lcd.studies.validation.plan.FEWEST_GAMES", 2)
    monkeypatch.setattr("lcd.studies.validation.complexity.policy_capacity", partial(policy_capacity, episodes=4))
    short = partial(procgen_horizon, levels=2, steps=12, rollouts=(1, 2))
    monkeypatch.setattr("lcd.studies.validation.effective_horizon.procgen_horizon", short)
    two_games = FILE.replace(', "ninja", "leaper", "plunder"', "")
    (tmp_path / "v.toml").write_text(two_games)
    done = command("validate", "v.toml", "--out", "out", "--store", "runs", "--workers", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Hypotheses" in done.stdout
    read = {name: pd.read_csv(tmp_path / "out" / f"{name}.csv") for name in ("predictors", "gains", "hypotheses")}
    assert len(read["predictors"]) == 2
    assert len(read["gains"]) == 4
    assert read["predictors"]["capacity"].notna().all()
    assert read["hypotheses"]["games"].tolist() == [2, 2]
    later = next((tmp_path / "runs").glob("starpilot-*-rl-*/episodes.csv"))
    whole = later.read_bytes()
    later.write_bytes(whole[:-20])
    damaged = command("validate", "v.toml", "--out", "out", "--store", "runs", cwd=tmp_path)
    assert damaged.returncode == 2, damaged.stderr
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "gains.csv"), read["gains"])  # of both games still
    later.write_bytes(whole)
    again = command("validate", "v.toml", "--out", "out", "--store", "runs", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert ": started" not in again.stdout
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "gains.csv"), read["gains"])
    elsewhere = command("validate", "v.toml", "--out", "out", "--store", "new", cwd=tmp_path)
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert "out holds the gains in bossfight, starpilot." in elsewhere.stdout
    assert ": started" not in elsewhere.stdout
    planned = prepare_validation(tmp_path / "v.toml", out=tmp_path / "out", store=tmp_path / "runs")
    for run in planned.plan.runs:
        if (run.game, run.improvement) == ("starpilot", "augment-crop"):
            shutil.rmtree(planned.store.folder(run))  # the folder of results holds what it gave
    without = command("validate", "v.toml", "--out", "out", "--store", "runs", cwd=tmp_path)
    assert "out holds the gains in starpilot." in without.stdout, without.stderr
    assert ": started" not in without.stdout
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "gains.csv"), read["gains"])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "predictors.csv"), read["predictors"])
    (tmp_path / "other.toml").write_text(two_games.replace("augment-crop", "augment-colour"))
    other = command("validate", "other.toml", "--out", "out", "--store", "runs", cwd=tmp_path)
    assert other.returncode == 2
    assert "belongs to another plan" in other.stderr


def test_encoders_that_are_not_pretrained_yet_are_runs_of_their_own(tmp_path):
    given = FILE.replace('"shorter-credit"]', '"shorter-credit", "pretrained-frozen", "pretrained-tuned"]')
    (tmp_path / "v.toml").write_text(given)
    planned = prepare_validation(tmp_path / "v.toml", out=tmp_path / "out", store=tmp_path / "runs")
    encoders = [run.encoder for run in planned.plan.runs]
    assert [encoders.count(name) for name in ("nature+frozen", "nature+tuned")] == [5, 5]
    assert len(planned.game_encoders()) == 5  # of one objective
    assert len(planned.unplayed()) == 5


def test_a_dry_run_writes_nothing(tmp_path):
    (tmp_path / "v.toml").write_text(FILE)
    validation = prepare_validation(tmp_path / "v.toml", out=tmp_path / "out", store=tmp_path / "runs")
    runs = Plan(tuple(validation.plan.games)).runs
    assert len(runs) == 5 * (4 + 1 + 2)
    assert [path.name for path in tmp_path.iterdir()] == ["v.toml"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "cannot be read"),
        ("a,b\n1,2\n", "has no column 'game'"),
        ("game,capacity\nmaze,1\n", "has no column 'effective_horizon'"),
        ("game,capacity,effective_horizon\nmaze,1,2\nmaze,1,2\n", "each game once"),
        ("game,capacity,effective_horizon\nmaze,x,2\n", "in the column 'capacity' that are no numbers"),
    ],
)
def test_a_damaged_table_of_complexity_is_named_before_anything_is_trained(tmp_path, content, sentence):
    validation = Validation(SURVEY, ("augment-crop", "longer-credit"), further_seeds=1)
    (tmp_path / "out").mkdir()
    first = prepare_validation(validation, out=tmp_path / "out", store=tmp_path / "runs")
    first.out.claim(first.as_dict())
    (tmp_path / "out" / "complexity.csv").write_text(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        prepare_validation(validation, out=tmp_path / "out", store=tmp_path / "runs")
    assert str(tmp_path / "out" / "complexity.csv") in str(caught.value)


def test_a_learner_with_other_hyperparameters_is_told_from_a_plain_one(tmp_path):
    validation = Validation(SURVEY, ("augment-crop", "shorter-credit"), further_seeds=1)
    game = next(prepared(validation, tmp_path).games())
    (plain,) = game.plain
    assert changes_of(plain, plain) == []
    assert changes_of(game.improved["augment-crop"][0], plain) == ["augment-crop"]
    assert changes_of(game.improved["shorter-credit"][0], plain) == ["gamma=0.99 gae_lambda=0.9"]
