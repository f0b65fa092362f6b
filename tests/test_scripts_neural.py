"""The study of which encoders explain which, at its smallest size."""

from __future__ import annotations

import neural_study
import pandas as pd
import pytest
from in_process import InProcess
from matplotlib.image import imread
from running import run_script
from tiny import GAME, TINY

from lcd.experiments.presets import PRESETS


@pytest.mark.costly()
def test_each_encoder_is_predicted_by_each(tmp_path, monkeypatch):
    monkeypatch.setattr("lcd.experiments.processes.LocalProcesses", InProcess)
    monkeypatch.setattr(neural_study, "PRESETS", dict(PRESETS) | {"tiny": TINY})
    asked = ["--game", GAME, "--preset", "tiny", "--games", 6, "--states", 7, "--folds", 3, "--units", 4]
    assert run_script(neural_study, *asked, "--store", tmp_path / "store", "--out", tmp_path / "out") == 0
    table = pd.read_csv(tmp_path / "out" / "mutual_prediction.csv")
    best = table[table["layer"] == "best"]
    assert (best["target"].nunique(), best["predictor"].nunique(), len(best)) == (8, 10, 78)
    assert best["score"].between(-1, 1).all()
    activity = pd.read_csv(tmp_path / "out" / "activity.csv")
    assert activity["active"].between(0, 1).all()
    assert set(activity["encoder"]) == set(best["target"])
    assert imread(tmp_path / "out" / "mutual_prediction.png").std() > 0
