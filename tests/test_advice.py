"""Advice follows the evidence of a validation, and is none where that does not carry it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lcd.experiments.improvements import get_improvement
from lcd.measurement.intervals import Interval
from lcd.studies.advice import advise
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.finished_runs import read_diagnosis
from lcd.studies.validation.evidence import PLAN, read_evidence
from lcd.studies.validation.predictors import PREDICTORS
from lcd.studies.validation.tables import FILES

GAMES = [f"g{number}" for number in range(12)]


def written(folder, perceptual, policy, difference=0.0, generalisation=0.0):
    """A validation's folder: gains of both kinds by game, P minus L, and what is lost on unseen levels."""
    folder.mkdir(exist_ok=True)
    numbers = dict.fromkeys(PREDICTORS, np.nan) | {"score": np.linspace(0, 1, 12), "training_score": 1.0}
    predictors = pd.DataFrame({"game": GAMES} | numbers | {"difference": difference, "generalisation": generalisation})
    predictors.to_csv(folder / FILES[0], index=False)
    rows = [
        {"game": game, "improvement": name, "kind": get_improvement(name).kind, "gain": gain}
        for name, values in (("invariant-crop", perceptual), ("phasic", policy))
        for game, gain in zip(GAMES, np.broadcast_to(values, 12), strict=True)
    ]
    pd.DataFrame(rows).to_csv(folder / FILES[1], index=False)
    return folder


@pytest.fixture
def diagnosis(trained):
    return replace(read_diagnosis(trained.plan, trained.store), difference=Interval(0.3, 0.2, 0.4))


ALTERNATING = np.array([1.0, -1.0] * 6)


def test_the_larger_demand_decides_where_it_decided_well(tmp_path, diagnosis):
    evidence = read_evidence(written(tmp_path / "v", 0.1 + 0.1 * ALTERNATING, 0.1 - 0.1 * ALTERNATING, ALTERNATING))
    found = advise(diagnosis, evidence)
    assert found.kind == "perceptual"
    assert found.expected.estimate == pytest.approx(0.2)  # where it decides so; over all games it is 0.1
    assert "In the 6 where it decides so they gained 0.200" in found.text
    assert found.text.startswith("Try improvements of perception first: the larger demand decides")
    assert "12 games" in found.text
    other = replace(diagnosis, difference=Interval(-0.3, -0.4, -0.2))
    assert advise(other, evidence).kind == "policy"
    unsure = advise(replace(diagnosis, difference=Interval(0.3, -0.1, 0.7)), evidence)
    assert (unsure.kind, unsure.expected) == (None, None)
    assert "in this game it cannot be told which is larger" in unsure.text


def test_floor_limited_demands_are_put_in_no_order(tmp_path, diagnosis):
    """A verdict says that their order cannot be told; advice must not rest on it."""
    evidence = read_evidence(written(tmp_path / "v", 0.1 + 0.1 * ALTERNATING, 0.1 - 0.1 * ALTERNATING, ALTERNATING))
    committed = Diagnosis.read(Path(__file__).parents[1] / "docs" / "diagnoses" / "starpilot-quick")
    assert committed.difference.high < 0
    assert advise(committed, evidence).kind is None


def test_evidence_of_other_learners_recommends_nothing(tmp_path, diagnosis):
    folder = written(tmp_path / "v", 0.1 + 0.1 * ALTERNATING, 0.1 - 0.1 * ALTERNATING, ALTERNATING)
    plan = diagnosis.settings["plan"]["games"][0]
    for budget, kind in ((plan["budget"], "perceptual"), (2 * plan["budget"], None)):
        (folder / PLAN).write_text(json.dumps({"plan": {"games": [plan | {"budget": budget}]}}))
        found = advise(diagnosis, read_evidence(folder))
        assert found.kind == kind
    assert f"budget {2 * plan['budget']} and here {plan['budget']}" in found.text
    (folder / PLAN).write_text("[]")
    with pytest.raises(ValueError, match="is no plan of what was measured"):
        read_evidence(folder)


def test_the_cheap_estimate_decides_where_only_it_did(tmp_path, diagnosis):
    folder = written(tmp_path / "v", 0.1 + 0.1 * ALTERNATING, 0.1 - 0.1 * ALTERNATING, -ALTERNATING, ALTERNATING)
    found = advise(diagnosis, read_evidence(folder))
    assert "generalisation estimate" in found.text
    estimate = diagnosis.generalisation
    sure = replace(estimate, perceptual=Interval(0.5, 0.4, 0.6), policy=Interval(0.1, 0.0, 0.2))
    assert advise(replace(diagnosis, generalisation=sure), read_evidence(folder)).kind == "perceptual"


def test_what_gained_more_everywhere_is_recommended_whatever_the_demands(tmp_path, diagnosis):
    random = np.random.default_rng(0)
    gains = 0.2 + 0.02 * random.normal(size=12)
    found = advise(diagnosis, read_evidence(written(tmp_path / "v", 0.01, gains, random.normal(size=12))))
    assert found.kind == "policy"
    assert "whatever the demands were" in found.text
    assert found.expected.estimate == pytest.approx(gains.mean())
    spread = gains.std(ddof=1)
    assert found.expected.high - found.expected.low > 4 * spread  # of a further game, not of a mean


def test_nothing_is_recommended_on_no_evidence(tmp_path, diagnosis):
    assert advise(diagnosis, None).kind is None
    random = np.random.default_rng(1)
    noise = written(tmp_path / "v", random.normal(size=12), random.normal(size=12), random.normal(size=12))
    found = advise(diagnosis, read_evidence(noise))
    assert found.kind is None
    assert found.text.startswith("Nothing to recommend")


def test_by_default_the_packaged_validation_that_was_measured_alike_is_the_evidence(tmp_path, monkeypatch, diagnosis):
    plan = diagnosis.settings["plan"]["games"][0]
    for name, budget in (("longer", 2 * plan["budget"]), ("same", plan["budget"])):
        folder = written(tmp_path / name, 0.01, 0.2 + 0.02 * ALTERNATING)
        (folder / PLAN).write_text(json.dumps({"plan": {"games": [plan | {"budget": budget}]}}))
    for kept, said in ((["longer", "same"], "on 12 games of the validation same"), (["longer"], "longer was measured")):
        monkeypatch.setattr("lcd.studies.advice.reference_validations", lambda kept=kept: kept)
        monkeypatch.setattr("lcd.studies.advice.read_evidence", lambda name: read_evidence(tmp_path / name))
        assert said in advise(diagnosis).text
    monkeypatch.setattr("lcd.studies.advice.reference_validations", list)
    assert advise(diagnosis).text.startswith("Nothing to recommend: no validation was given")


def test_predictions_of_a_further_game_hold_95_percent_of_them(tmp_path, diagnosis):
    random, held = np.random.default_rng(2), 0
    for _ in range(60):
        gains, further = 0.3 + 0.05 * random.normal(size=12), 0.3 + 0.05 * random.normal()
        found = advise(diagnosis, read_evidence(written(tmp_path / "v", gains, 0.0)))
        held += found.expected.low <= further <= found.expected.high
    assert held >= 52


@pytest.mark.parametrize("damage", ["no file", "no column", "text", "infinite", "twice", "unknown", "empty", "binary"])
def test_what_is_no_evidence_is_one_sentence(tmp_path, damage):
    folder = written(tmp_path / "v", 0.1, 0.2)
    gains = pd.read_csv(folder / FILES[1])
    if damage == "no file":
        (folder / FILES[0]).unlink()
    elif damage == "binary":
        (folder / FILES[1]).write_bytes(bytes(range(256)))
    else:
        changed = {
            "no column": gains.drop(columns="gain"),
            "text": gains.assign(gain="much"),
            "infinite": gains.assign(gain=np.inf),
            "twice": pd.concat([gains, gains]),
            "unknown": gains.assign(improvement="magic").drop_duplicates(["game", "improvement"]),
            "empty": gains.iloc[:0],
        }
        changed[damage].to_csv(folder / FILES[1], index=False)
    with pytest.raises(ValueError, match=r"^[^\n]{1,400}$"):
        read_evidence(folder)
