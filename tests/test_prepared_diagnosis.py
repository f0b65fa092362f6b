"""A diagnosis is named after what was chosen, and computes as its device does best, or as it is asked to."""

from __future__ import annotations

import pytest

from lcd.agents.machine import fastest_precision
from lcd.experiments.presets import PRESETS
from lcd.experiments.resources import Resources
from lcd.studies.calibration.calibration import prepare_calibration
from lcd.studies.calibration.sweep import Sweep
from lcd.studies.diagnosing import prepare_diagnosis
from lcd.studies.survey.plan import Survey
from lcd.studies.survey.survey import prepare_survey
from lcd.studies.validation.plan import Validation
from lcd.studies.validation.validation import prepare_validation


@pytest.mark.parametrize(
    ("game", "chosen", "name"),
    [
        ("maze", {}, "maze-smoke"),
        ("maze", {"seeds": 2, "steps": 2_048}, "maze-smoke"),
        ("maze", {"seeds": 7}, "maze-smoke-7seeds"),
        ("maze", {"steps": 4_000, "encoder": "impala:8,8"}, "maze-smoke-4096steps-impala-8-8"),
        ("jumper", {"distribution_mode": "hard", "levels": 50}, "jumper-smoke-hard-50levels"),
        ("maze", {"appearance": ["monochrome"], "algorithm": "phasic"}, "maze-monochrome-smoke-phasic"),
    ],
)
def test_the_folder_tells_what_was_chosen(game, chosen, name, tmp_path):
    assert prepare_diagnosis(game, "smoke", store=tmp_path, **chosen).name == name


def test_more_seeds_go_to_another_folder(tmp_path):
    """A verdict asks for more seeds; the same command with them must not end in the folder of fewer."""
    few, more = (prepare_diagnosis("maze", "smoke", seeds=seeds, store=tmp_path).name for seeds in (2, 3))
    assert few != more


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_precision_can_be_chosen(precision, tmp_path):
    prepared = prepare_diagnosis("maze", "smoke", precision=precision, store=tmp_path)
    assert {run.precision for run in prepared.plan.runs} == {precision}
    survey = Survey(("maze",), "smoke", {"precision": precision})
    runs = prepare_survey(survey, out=tmp_path / "out", store=tmp_path).plan.runs
    assert {run.precision for run in runs} == {precision}


def test_the_precision_is_that_of_the_device_that_computes(tmp_path, monkeypatch):
    """A machine whose GPU has bfloat16 plans float32 where its processor, which has none, is to compute."""
    monkeypatch.setattr("lcd.agents.machine.torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("lcd.agents.machine.bfloat16_is_fast", lambda device: device.type == "cuda")
    assert fastest_precision() == "bfloat16"
    assert Resources.checked("cpu").precise(PRESETS["smoke"]).precision == "float32"
    prepared = prepare_diagnosis("maze", "smoke", device="cpu", store=tmp_path)
    assert {run.precision for run in prepared.plan.runs} == {"float32"}
    survey, asked = Survey(("maze",), "smoke"), {"device": "cpu", "store": tmp_path}
    assert {run.precision for run in prepare_survey(survey, out=tmp_path / "s", **asked).plan.runs} == {"float32"}
    calibration = prepare_calibration(Sweep(("noise",), (0.0, 1.0)), **asked)
    assert {run.precision for run in calibration.sweep.plan().runs} == {"float32"}
    validation = Validation(
        Survey(("maze", "heist", "jumper", "ninja", "miner"), "smoke"), ("augment-crop", "shorter-credit")
    )
    plan = prepare_validation(validation, out=tmp_path / "v", **asked).plan
    assert {run.precision for run in plan.runs} == {"float32"}


def test_an_unknown_precision_is_refused(tmp_path):
    with pytest.raises(ValueError, match="precision"):
        prepare_diagnosis("maze", "smoke", precision="half", store=tmp_path)
