"""The scripts on feature visualisation, at their smallest size."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest
import torch
import visualisation_peer
import visualisation_study
from matplotlib.image import imread
from running import run_script
from test_visualising import made_policy

from lcd.alignment.spectra import natural_spectrum, unit_phases
from lcd.alignment.visualisation import SPACES

pytestmark = pytest.mark.costly("scripts/*.py", "scripts/*/*.py")

SMALLEST = ("--steps", 2, "--crops", 1, "--count", 40, "--targets", 2, "--layer", "backbone.2")


@pytest.fixture
def policies(tmp_path):
    for seed in range(2):
        made_policy(tmp_path / f"{seed}.safetensors", seed=seed)
    return [tmp_path / f"{seed}.safetensors" for seed in range(2)]


def test_units_of_several_encoders_are_drawn(tmp_path, policies):
    named = [f"maze/{name}={file}" for name, file in zip(("one", "other"), policies, strict=True)]
    assert run_script(visualisation_study, "units", *named, *SMALLEST, "--out", tmp_path) == 0
    table = pd.read_csv(tmp_path / "units.csv")
    assert table["network"].value_counts().to_dict() == {"maze/one": 2, "maze/other": 2}
    assert table["target"].str.fullmatch(r"backbone\.2:\d+@3x3").all()
    assert imread(tmp_path / "units.png").ndim == 3
    assert run_script(visualisation_study, "units", "maze", "--out", tmp_path) == 2


def test_spaces_are_compared_on_the_same_targets(tmp_path, policies):
    group = f"maze={policies[0]},{policies[1]}"
    assert run_script(visualisation_study, "methods", group, *SMALLEST, "--out", tmp_path) == 0
    images = pd.read_csv(tmp_path / "images.csv")
    assert len(images) == 2 * 7 * 4 * 2  # models, targets (value, and two each of 3 kinds), spaces, networks
    found = pd.read_csv(tmp_path / "methods.csv").set_index(["group", "kind", "space", "measure"]).sort_index()
    assert set(found.index.get_level_values("group")) == {"maze", "all"}
    assert set(found.index.get_level_values("space")) == {"random phase", *SPACES}
    assert (found.loc[("all", "output", "phase"), "images"] == 6).all()
    own = images[(images["network"] == images["source"]) & (images["kind"] == "unit")].set_index("space")["deviations"]
    phase, pixels = (found.loc[("all", "unit", space, "deviations")] for space in ("phase", "pixels"))
    assert phase["mean"] == pytest.approx(own["phase"].mean(), abs=1e-3)
    assert phase["difference"] == 0
    assert pixels["difference"] == pytest.approx(own["pixels"].mean() - own["phase"].mean(), abs=1e-3)
    assert found["low"].isna().all()  # two models are too few
    still = images[images["space"] == "random phase"].groupby("source")["outside"]
    assert (still.max() == still.min()).all()  # one image, whatever the target


def test_the_peers_table_is_of_both_programs(tmp_path, policies, monkeypatch):
    """A stand-in for the peer: random phases, squeezed into [0, 1] as the peer does it, which keeps no magnitude."""

    def maco(objective, total_steps, image_size, **others):
        spectrum = natural_spectrum(image_size, image_size)
        angles = torch.randn(spectrum.magnitude.shape, generator=torch.Generator().manual_seed(0))
        image = torch.sigmoid(3 * spectrum.image(unit_phases(angles, image_size)))
        return image, image

    stand_in = ModuleType("horama")
    stand_in.maco = maco
    stand_in.common = SimpleNamespace(get_color_correlation_svd_sqrt=lambda device: torch.linalg.inv(torch.eye(3)))
    monkeypatch.setattr(visualisation_peer, "linear_rows", lambda horama: [])
    monkeypatch.setattr(visualisation_peer, "STEPS", 2)
    monkeypatch.setitem(sys.modules, "horama", stand_in)
    asked = [policies[0], "--target", "logit:1", "--out", tmp_path / "peer.csv"]
    assert run_script(visualisation_peer, *asked) == 0
    table = pd.read_csv(tmp_path / "peer.csv").set_index("program")
    assert table.loc["lcd", "magnitude_error"] < 1e-5 < 1e-2 < table.loc["horama", "magnitude_error"]
    monkeypatch.setitem(sys.modules, "horama", None)
    assert run_script(visualisation_peer, *asked) == 2
