import gzip
import json
from importlib.metadata import EntryPoint
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from test_scores import BUDGET, episode_table

from lcd.analyses.diagnosis_figure import draw_diagnosis
from lcd.cli.errors import BAD_INPUT, exit_status, sentence
from lcd.cli.main import main
from lcd.experiments.plan import FORMAT as PLAN_FORMAT
from lcd.measurement.demands import CONTRASTS
from lcd.measurement.intervals import demand_table
from lcd.measurement.scores import Normalisation
from lcd.studies import figures
from lcd.studies.diagnosis import ALIKE, Diagnosis, TeacherCard
from lcd.studies.output import OutputFolder
from lcd.studies.survey.tables import SurveyTables

mpl.use("Agg")
FINAL = {"a": 0.1, "b": 0.9, "c": 0.15, "d": 0.95}
TEACHER = TeacherCard(source="trained", steps=5000, training_return=9.5, unseen_return=9.0)


def diagnose(table, **changes):
    keywords = {
        "game": "toy",
        "budget": BUDGET,
        "normalisation": Normalisation(0, 10, "measured"),
        "teacher": TEACHER,
        "settings": {"preset": "smoke", "seeds": [0, 1, 2]},
    }
    return Diagnosis.from_episodes(table, **{**keywords, **changes})


@pytest.fixture(scope="module")
def found():
    return diagnose(episode_table(FINAL))


def test_known_demands_are_found(found):
    # Areas of straight lines are half their ends.
    assert found.perceptual.low < 0.4 < found.perceptual.high
    assert found.policy.low < 0.025 < found.policy.high
    parts = found.perceptual, found.policy, found.joint
    assert found.gap.estimate == pytest.approx(sum(part.estimate for part in parts))
    assert found.headroom.low < 1 - 0.95 / 2 < found.headroom.high
    assert found.verdict.name == "perception-limited"


def test_same_episodes_give_the_same_diagnosis(found):
    assert diagnose(episode_table(FINAL).sample(frac=1, random_state=0)).to_json() == found.to_json()


def test_json_round_trip_restores_tables_and_verdict(found, tmp_path):
    written = found.to_json(tmp_path / "diagnosis.json")
    read = json.loads((tmp_path / "diagnosis.json").read_text(), parse_constant=pytest.fail)
    assert read == written
    assert list(tmp_path.iterdir()) == [tmp_path / "diagnosis.json"]
    again = demand_table(pd.DataFrame(read["scores"]))
    pd.testing.assert_frame_equal(again, pd.DataFrame(read["demands"]))
    assert read["verdict"]["reason"] == found.verdict.reason
    assert TeacherCard(**read["teacher"]) == TEACHER
    assert Normalisation(**read["normalisation"]) == found.normalisation


def test_json_of_a_diagnosis_without_intervals_has_nulls_and_no_nan():
    lone = diagnose(episode_table(FINAL, seeds=1, episodes=1), teacher=None, settings=None)
    text = json.dumps(lone.to_json(), allow_nan=False)
    assert json.loads(text)["demands"][0]["low"] is None
    assert lone.verdict.name == "inconclusive"


def test_nothing_is_said_of_generalisation_where_levels_are_alike(found):
    table = found.episodes
    same = Diagnosis.from_episodes(
        table, game=found.game, budget=found.budget, normalisation=found.normalisation, levels_differ=False
    )
    assert found.generalisation is not None
    assert same.generalisation is None
    assert same.to_json()["generalisation"] is None
    assert same.verdict.cautions == (*found.verdict.cautions, ALIKE)
    assert same.demands.equals(found.demands)


@pytest.mark.parametrize(("source", "named"), [("measured", True), ("given", False)])
def test_where_nothing_limits_its_own_best_return_may_not_be_the_games(source, named):
    same = dict.fromkeys("abcd", 1.0)
    diagnosis = diagnose(episode_table(same), normalisation=Normalisation(0, 10, source), teacher=None)
    assert diagnosis.verdict.name in ("not limited", "inconclusive")
    assert any("--best" in caution for caution in diagnosis.verdict.cautions) == named


@pytest.mark.parametrize(
    ("low", "view", "settings"),
    [("b", "semantic", {}), ("a", "pixels", {"privileged_view": "expert"}), (None, None, {})],
)
def test_a_worse_teacher_than_a_learner_is_said_first(low, view, settings):
    """Of a privileged view that is an expert's encoder, only learners from pixels can be given as a teacher."""
    teacher = TeacherCard("trained", 5000, training_return=9.5 if low is None else 0.5, unseen_return=9.0)
    reason = diagnose(episode_table({**FINAL, "a": 0.3}), teacher=teacher, settings=settings).verdict.reason
    assert reason.startswith("A learner from reward beats the teacher") == (low is not None)
    assert low is None or f"({view}/rl, seed" in reason


def test_where_something_limits_nothing_is_said_of_the_best_return(found):
    assert not any("--best" in caution for caution in found.verdict.cautions)


def test_settings_that_are_no_json_are_refused():
    with pytest.raises(ValueError, match="settings"):
        diagnose(episode_table(FINAL), settings={"encoder": np.zeros(2)})


def test_a_teacher_without_a_finite_return_is_refused():
    with pytest.raises(ValueError, match="A teacher's unseen_return must be finite, not nan"):
        TeacherCard("trained", 5000, 9.5, float("nan"))


def test_summary_and_notebook_form_tell_the_verdict(found):
    assert found.summary().loc["perceptual", "unseen area"] == str(found.perceptual)
    assert list(found.summary().index) == list(CONTRASTS)
    assert "perception-limited" in repr(found)
    assert "perception-limited" in found._repr_html_()


def test_demands_of_a_game_do_not_depend_on_the_scale_of_its_returns(found):
    table = episode_table(FINAL)
    other = diagnose(
        table.assign(**{"return": table["return"] * 3 + 1}),
        normalisation=Normalisation(1, 31, "measured"),
        teacher=TeacherCard("trained", 5000, 29.5, 28.0),
    )
    pd.testing.assert_frame_equal(other.demands, found.demands)
    assert other.verdict == found.verdict


def test_plot_without_an_installed_figure_says_what_to_do(found, monkeypatch):
    monkeypatch.setattr(figures, "entry_points", lambda **_: ())
    with pytest.raises(RuntimeError, match="pip install"):
        found.plot()


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ((), r"^No figure 'diagnosis' is registered"),
        (
            (EntryPoint("diagnosis", "lcd.analyses.gone:draw", figures.GROUP),),
            r"^The figure .*gone.* be imported",
        ),
        ((EntryPoint("diagnosis", "lcd.analyses:gone", figures.GROUP),), r"^The figure .*gone.* be imported"),
    ],
)
def test_a_figure_that_an_old_installation_lacks_is_one_sentence(found, monkeypatch, entries, why):
    monkeypatch.setattr(figures, "entry_points", lambda **_: entries)
    with pytest.raises(ValueError, match=why) as caught:
        found.plot()
    assert exit_status(caught.value) == BAD_INPUT
    assert sentence(caught.value) == str(caught.value)
    assert str(caught.value).endswith("make install).")


@pytest.mark.parametrize(
    "command",
    [
        ["diagnose", "maze", "--preset", "smoke"],
        ["survey", "procgen-easy"],
        ["calibrate"],
        ["watch", "maze"],
        ["taxonomy", "procgen-easy"],
        ["report", "procgen-easy"],
    ],
)
def test_a_figure_that_is_not_registered_is_told_before_any_work(tmp_path, monkeypatch, capsys, command):
    monkeypatch.setattr(figures, "entry_points", lambda **_: ())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lcd", *command])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == BAD_INPUT
    said = capsys.readouterr().err
    assert "is registered in the entry points 'lcd.figures': install the package again" in " ".join(said.split())
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seeds", [1, 3])
def test_figure_shows_both_kinds_of_level_and_the_verdict(seeds):
    figure = draw_diagnosis(diagnose(episode_table(FINAL, seeds=seeds), teacher=TEACHER if seeds > 1 else None))
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles[:2] == ["Unseen levels", "Training levels"]
    texts = " ".join(text.get_text() for text in figure.texts)
    assert ("perception-limited" if seeds > 1 else "inconclusive") in texts


@pytest.mark.parametrize("unseen", [4.8, 5.0, 5.1, 5.2, 6.0])
def test_no_line_of_a_reference_lies_so_high_that_its_name_meets_the_title(unseen):
    few = {cell: 0.3 * score for cell, score in FINAL.items()}
    card = TeacherCard(source="trained", steps=5000, training_return=4.85, unseen_return=unseen)
    axes = draw_diagnosis(diagnose(episode_table(few), teacher=card)).axes[0]
    low, high = axes.get_ylim()
    drawn = [line.get_ydata()[0] for line in axes.get_lines() if line.get_transform() == axes.get_yaxis_transform()]
    assert 0.0 in drawn
    assert max(drawn) < high - 0.07 * (high - low)


@pytest.mark.parametrize("score", [-0.04, -0.01, 0.0, 0.01, 0.3, 0.98, 1.0, 1.02])
def test_the_names_of_references_lie_apart(score):
    card = TeacherCard(source="trained", steps=5000, training_return=10 * score, unseen_return=10 * score)
    figure = draw_diagnosis(diagnose(episode_table(FINAL), teacher=card))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    names = [text for text in figure.axes[0].texts if text.get_text().startswith(("random", "teacher", "best"))]
    assert len(names) == 3
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in names]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_figure_is_drawn_without_touching_pyplot_state(found):
    before = mpl._pylab_helpers.Gcf.get_all_fig_managers()
    draw_diagnosis(found)
    assert mpl._pylab_helpers.Gcf.get_all_fig_managers() == before


def test_committed_diagnoses_still_load():
    folders = sorted((Path(__file__).parents[1] / "docs" / "diagnoses").iterdir())
    assert len(folders) >= 4
    for folder in folders:
        tables = SurveyTables.read(folder)
        assert json.loads((folder / "plan.json").read_text())["format"] == PLAN_FORMAT
        (game,) = tables.games["game"]
        assert folder.name.split("-")[0] in game.lower()


def test_a_written_diagnosis_is_read_again(found, tmp_path):
    folder = OutputFolder(tmp_path / "out")
    folder.path.mkdir()
    folder.write(found)
    folder.add_table("ladder", pd.DataFrame({"step": ["where"], "gain": [0.5]}))
    read = Diagnosis.read(tmp_path / "out")
    assert read.verdict == found.verdict
    assert (read.teacher, read.settings, read.normalisation) == (found.teacher, found.settings, found.normalisation)
    for table in ("episodes", "curves", "scores", "demands"):
        pd.testing.assert_frame_equal(getattr(read, table), getattr(found, table), check_dtype=False, rtol=1e-12)
    assert read.ladder is not None
    assert read.ladder["gain"].tolist() == [0.5]
    assert read.encoders is None
    folder.write(found)  # as the same command does without --ladder
    folder.path.joinpath("ladder.csv").write_text("step,gain\nwhere,0.9\n")
    with pytest.raises(ValueError, match=r"ladder\.csv has changed since it was written"):
        Diagnosis.read(tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("diagnosis.json", b"{}", "is no diagnosis of this version"),
        ("diagnosis.json", b'{"format": "lcd.diagnosis/1"}', "is damaged"),
        ("episodes.csv.gz", b"no gzip", "is damaged"),
        ("episodes.csv.gz", gzip.compress(b"game,return", mtime=0), "is damaged|has changed"),
    ],
)
def test_a_damaged_diagnosis_is_refused(found, tmp_path, file, content, words):
    folder = OutputFolder(tmp_path)
    folder.write(found)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        Diagnosis.read(tmp_path)
    with pytest.raises(ValueError, match="holds no diagnosis"):
        Diagnosis.read(tmp_path / "nowhere")
