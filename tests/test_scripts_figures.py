"""Scripts that draw figures of the documentation, or make its tables from what is in the package."""

from __future__ import annotations

import shutil
from pathlib import Path

import calibration_games_figure
import numpy as np
import pandas as pd
import procgen_checks
import pytest
import semantic_view_figure
import teachers
from matplotlib.image import imread
from running import run_script
from tables import check_joins, enter

from lcd.envs import class_names
from lcd.envs.calibration.difficulty import PERCEPTUAL, POLICY

pytestmark = pytest.mark.costly("scripts/*.py", "scripts/*/*.py")

DOCS = Path(__file__).parents[1] / "docs"


def pictures(figure):
    """Images of a figure, by their titles and places."""
    return [(axes.get_title(), axes.get_ylabel(), axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_calibration_games_are_drawn_at_each_setting_of_each_factor(tmp_path, monkeypatch):
    figures = []

    def keep():
        figures.append(drawn())
        return figures[0]

    drawn = calibration_games_figure.draw
    monkeypatch.setattr(calibration_games_figure, "draw", keep)
    assert run_script(calibration_games_figure, "--output", tmp_path / "games.png") == 0
    assert imread(tmp_path / "games.png").shape[:2] == (810, 1215)
    found = pictures(figures[0])
    courier = found[: 3 * (len(PERCEPTUAL) + len(POLICY))]
    assert [side for _, side, _ in courier[::3]] == [*PERCEPTUAL, *POLICY]
    for place, factor in enumerate(PERCEPTUAL):
        easiest, _, hardest = (image for *_, image in courier[3 * place : 3 * place + 3])
        assert (easiest != hardest).any(), factor
    assert len(found) == len(courier) + 4 * (len(calibration_games_figure.TRACKED) + 1)


def test_label_maps_are_drawn_below_their_frames_with_the_names_of_their_classes(tmp_path, monkeypatch):
    figures = []
    drawn = semantic_view_figure.draw
    monkeypatch.setattr(
        semantic_view_figure, "draw", lambda *arguments: figures.append(drawn(*arguments)) or figures[0]
    )
    arguments = ["--games", "maze", "--steps", 8, "--output", tmp_path / "view.png"]
    assert run_script(semantic_view_figure, *arguments) == 0
    assert imread(tmp_path / "view.png").ndim == 3
    images = [axes.images[0].get_array() for axes in figures[0].axes if axes.images]
    assert [image.shape for image in images] == [(64, 64, 3)] * 6
    names = {text.get_text() for axes in figures[0].axes if axes.get_legend() for text in axes.get_legend().get_texts()}
    assert len(names) > 1
    assert names <= set(class_names("maze").values())
    colours = [len(np.unique(image.reshape(-1, 3), axis=0)) for image in images]
    assert max(colours[1::2]) < min(colours[::2])  # a label map has few colours, a frame many


def test_the_table_of_teachers_is_the_committed_one(tmp_path):
    assert run_script(teachers, "--output", tmp_path / "teachers.csv") == 0
    assert (tmp_path / "teachers.csv").read_text() == (DOCS / "teachers.csv").read_text()
    assert imread(tmp_path / "teachers.png").ndim == 3


def test_the_predictions_about_procgen_are_checked_as_in_the_committed_table(tmp_path):
    for name in ("curves", "scores"):
        (tmp_path / "hard").mkdir(exist_ok=True)
        shutil.copy(DOCS / "procgen-hard" / f"{name}.csv", tmp_path / "hard")
    arguments = ["--games", "", "--hard", tmp_path / "hard", "--output", tmp_path / "checks.csv"]
    assert run_script(procgen_checks, *arguments) == 0
    found, committed = (pd.read_csv(path) for path in (tmp_path / "checks.csv", DOCS / "procgen_checks.csv"))
    pd.testing.assert_frame_equal(found, committed, rtol=0, atol=1e-5)
    assert imread(tmp_path / "hard" / "curves.png").ndim == 3


def test_rows_take_the_place_of_those_of_the_same_runs_alone(tmp_path):
    first = pd.DataFrame({"game": ["maze", "maze", "heist"], "seed": [0, 1, 0], "score": [0.1, 0.2, 0.3]})
    again = pd.DataFrame({"game": ["maze", "ninja"], "seed": [1, 0], "score": [0.5, 0.6]})
    file = tmp_path / "tables" / "scores.csv"
    pd.testing.assert_frame_equal(enter(first, file, ("game", "seed")), first)
    found = enter(again, file, ("game", "seed"))
    assert found.to_numpy().tolist() == [["maze", 0, 0.1], ["heist", 0, 0.3], ["maze", 1, 0.5], ["ninja", 0, 0.6]]
    pd.testing.assert_frame_equal(pd.read_csv(file), found)
    assert len(enter(first, file, ("game", "seed"))) == 4
    check_joins(tmp_path / "none yet.csv", "score", 0.1)
    check_joins(file, "score", 0.63)
    with pytest.raises(SystemExit, match=r"has runs of 1 score, not of 2: name another with --output"):
        check_joins(file, "score", 2)
