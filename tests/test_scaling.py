"""Scaling laws recover what they were made from, and say where they cannot be trusted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from commands import lcd

from lcd.measurement.scaling import (
    FARTHEST,
    FORMS,
    JUDGED_SIZES,
    STAYS,
    best_fit,
    exponent_limits,
    extrapolations,
    fit,
    fits,
    multiple_limits,
    shown_multiple,
)
from lcd.studies.scaling import extrapolation_summary, judgements, laws_of, more_steps, scaling, values_of_survey
from lcd.studies.survey.tables import SurveyTables

SIZES = 1e4 * 2.0 ** np.arange(10)
TRUTHS = {
    "constant": np.full(10, 0.5),
    "logarithmic": 1.3 - 0.1 * np.log(SIZES / 1e4),
    "power": 0.9 * (SIZES / 1e4) ** -0.4,
    "saturating": 0.2 + 0.7 * (SIZES / 1e4) ** -0.6,
    "broken": 0.9 * np.where(SIZES < 8e4, (SIZES / 8e4) ** -0.05, (SIZES / 8e4) ** -0.8),
}


def noisy(values, seed, scale=0.004):
    return values + np.random.default_rng(seed).normal(0, scale, np.shape(values))


@pytest.mark.parametrize("form", FORMS)
def test_a_law_is_found_by_its_form_and_goes_on_as_it_began(form):
    values = noisy(TRUTHS[form], 0)
    found = fits(SIZES, values)
    assert best_fit(found).form == form
    assert best_fit(found).predict(SIZES) == pytest.approx(TRUTHS[form], abs=0.012)
    table = extrapolations(SIZES, values, 2.0).set_index("form")
    assert abs(table.loc[form, "error"]) < 0.03
    if form != "constant":
        assert abs(table.loc[form, "error"]) < abs(table.loc[STAYS, "error"])
    assert table["beyond"].unique() == pytest.approx([2.0])


def test_exponents_are_recovered_with_limits_over_seeds():
    values = np.stack([noisy(TRUTHS["power"], seed) for seed in range(5)])
    mean, low, high = exponent_limits(SIZES, values)
    assert low < 0.4 < high
    assert mean == pytest.approx(0.4, abs=0.02)
    assert np.isnan(exponent_limits(SIZES, values[:1])[1])


@pytest.mark.parametrize(("form", "target"), [("power", 0.05), ("logarithmic", 0.3), ("saturating", 0.21)])
def test_the_size_at_which_a_value_is_reached_is_that_of_the_formula(form, target):
    found = fit(form, SIZES, TRUTHS[form])
    reached = found.reaches(target)
    assert found.predict([reached])[0] == pytest.approx(target, abs=0.002)
    assert reached > SIZES[-1]
    assert found.reaches(2.0) == pytest.approx(SIZES[-1])


def test_what_saturates_above_the_target_never_reaches_it():
    assert fit("saturating", SIZES, TRUTHS["saturating"]).reaches(0.1) == np.inf
    values = np.stack([noisy(TRUTHS["saturating"], seed, 0.001) for seed in range(3)])
    assert multiple_limits(SIZES, values, 0.1) == (np.inf, np.inf, np.inf)


def test_multiples_hold_the_truth_and_start_at_one():
    values = np.stack([noisy(TRUTHS["power"], seed) for seed in range(4)])
    truth = (0.9 / 0.05) ** (1 / 0.4) * 1e4 / SIZES[-1]
    estimate, low, high = multiple_limits(SIZES, values, 0.05)
    assert low < truth < high
    assert estimate == pytest.approx(truth, rel=0.3)
    assert multiple_limits(SIZES, values, 0.5) == (1.0, 1.0, 1.0)
    assert high < FARTHEST
    one_stays = np.concatenate([values, np.full((1, len(SIZES)), 0.9)])
    law = best_fit(fits(SIZES, one_stays.mean(axis=0)))
    assert multiple_limits(SIZES, one_stays, 0.4) == (law.reaches(0.4) / SIZES[-1], 1.0, np.inf)
    assert multiple_limits(SIZES, values[:1], 0.05)[1:] == (pytest.approx(np.nan, nan_ok=True),) * 2


def test_what_never_changes_comes_nowhere():
    values = np.stack([noisy(np.full(len(SIZES), 0.82), seed, 0.01) for seed in range(3)])
    assert multiple_limits(SIZES, values, 0.6) == (np.inf, np.inf, np.inf)
    assert [shown_multiple(each) for each in (1.0, 9.44, 9.6, 99.7, 99.99999, 1_000, np.inf)] == [
        "1", "9.4", "10", "100", "100", "1,000", ">1,000",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "values"),
    [([1, 2, 3], [1, 1, 1]), ([0, 1, 2, 3], [1, 2, 3, 4]), ([1, 2, 3, 4], [1, 2, np.nan, 4]), ([1, 2, 3, 4], [1, 2])],
)
def test_what_cannot_be_fitted_is_one_sentence(sizes, values):
    with pytest.raises(ValueError, match=r"^[^\n]{20,120}\.$"):
        fit("constant", sizes, values)
    with pytest.raises(ValueError, match="values above 0"):
        fit("power", SIZES, TRUTHS["power"] - 1)


def test_gaps_and_demands_of_a_survey_are_those_of_its_scores():
    curves = SurveyTables.read("procgen-easy").curves
    values = values_of_survey(curves).set_index(["game", "quantity", "size", "seed"])["value"]
    at = {"game": "ninja", "seed": 1, "levels": "unseen"}
    step = int(curves["step"].max())
    of = curves[(curves[list(at)] == pd.Series(at)).all(axis=1) & (curves["step"] == step)]
    scores = of.set_index(["view", "learning"])["score"]
    assert values["ninja", "gap of cell a", step, 1] == pytest.approx(1 - scores["pixels", "rl"])
    policy = scores["semantic", "imitation"] - scores["semantic", "rl"]
    assert values["ninja", "policy", step, 1] == pytest.approx(policy)
    assert values.index.get_level_values("size").min() > 0


def test_a_sentence_says_how_many_more_steps_bring_what_help_brings():
    sizes = 1e4 * np.arange(1, 11)
    laws = {
        ("pixels", "rl"): 0.9,
        ("semantic", "rl"): 0.9,
        ("pixels", "imitation"): 0.9,
        ("semantic", "imitation"): 0.3,
    }
    rows = [
        ("g", *cell, seed, "unseen", step, 1 - start * (step / 1e4) ** -0.5)
        for cell, start in laws.items()
        for seed in range(3)
        for step in sizes
    ]
    curves = pd.DataFrame(rows, columns=["game", "view", "learning", "seed", "levels", "step", "score"])
    sentence = more_steps(curves)["g"]
    assert "by the power law" in sentence
    assert "with 9 times" in sentence  # a third of the gap, at an exponent of one half
    assert more_steps(curves[curves["step"] <= 4e4]) == {}
    constant = curves.assign(score=np.where(curves["learning"] == "rl", 0.1, curves["score"]))
    assert "does not come" in more_steps(constant)["g"]


def survey(laws, seeds=3):
    """Values of games whose gap of cell a follows a law, with noise."""
    rows = []
    for number, (game, truth) in enumerate(laws.items()):
        for seed in range(seeds):
            for size, value in zip(SIZES, noisy(truth, 100 * number + seed), strict=True):
                rows.append((game, "gap of cell a", size, seed, value))
    return pd.DataFrame(rows, columns=["game", "quantity", "size", "seed", "value"])


def test_laws_that_hold_are_trusted_and_laws_that_do_not_are_not():
    falling = survey({f"game{number}": (0.9 - 0.03 * number) * TRUTHS["power"] for number in range(6)})
    trusted = list(judgements(extrapolation_summary(laws_of(falling).extrapolation)))
    assert [sentence.split()[1] for sentence in trusted] == ["2", "8"]  # the largest of ten left out, and three
    assert all("may be trusted" in sentence for sentence in trusted)
    stopping = {
        f"game{number}": np.where(SIZES[-2] >= SIZES, TRUTHS["logarithmic"], TRUTHS["logarithmic"][-2])
        for number in range(6)
    }
    sentence, _ = judgements(extrapolation_summary(laws_of(survey(stopping)).extrapolation))
    assert "do not trust" in sentence
    few = falling[falling["size"] <= SIZES[6]]
    assert list(judgements(extrapolation_summary(laws_of(few).extrapolation))) == [
        "Nothing tells how far these laws can be trusted: that takes 8 sizes or more."
    ]


def test_every_law_can_be_chosen_where_laws_are_judged():
    """With fewer sizes only a constant has a finite criterion, and was "chosen" whatever the values are."""
    judged = laws_of(survey({"game": TRUTHS["power"]})).extrapolation
    fitted = fits(SIZES[:JUDGED_SIZES], TRUTHS["power"][:JUDGED_SIZES])
    assert all(np.isfinite(each.aicc) for each in fitted.values())
    assert set(FORMS) <= set(judged["form"])


def test_seeds_of_other_sizes_are_refused():
    """They would be left out without a word."""
    values = survey({"game": TRUTHS["power"]})
    with pytest.raises(ValueError, match="lacks the size 40000 of seed 1"):
        laws_of(values[(values["size"] != 4e4) | (values["seed"] != 1)])


def test_a_learner_without_helped_ones_is_told_nothing_of_them():
    curves = SurveyTables.read("procgen-easy").curves
    alone = curves[(curves["view"] == "pixels") & (curves["learning"] == "rl")]
    assert more_steps(alone) == {}
    assert len(more_steps(curves)) == 16


def test_a_table_of_ones_own_is_scaled_by_its_columns(tmp_path):
    table = survey({"easy": TRUTHS["power"], "hard": TRUTHS["saturating"]})
    table = table.rename(columns={"size": "num_levels", "value": "error"}).drop(columns="quantity")
    table.to_csv(tmp_path / "own.csv", index=False)
    found = scaling(tmp_path / "own.csv", size="num_levels", value="error", by=("game",), out=tmp_path / "laws.csv")
    assert found.laws.set_index("game")["form"].to_dict() == {"easy": "power", "hard": "saturating"}
    assert pd.read_csv(tmp_path / "laws.csv")["quantity"].unique().tolist() == ["error"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere"], "nowhere"),
        (["procgen-easy", "--levels", "both"], "both"),
        (["own.csv", "--size", "levels"], "levels"),
        (["own.csv", "--size", "size", "--value", "score", "--by", "game"], "game"),
        (["own.csv", "--size", "size", "--value", "word"], "word"),
        (["own.csv", "--size", "size"], "sizes"),
        (["procgen-easy", "--out", "laws.txt"], "laws.txt"),
        (["own.csv", "--size", "twice"], "--by COLUMN"),
        (["own.csv", "--size", "twice", "--levels", "training"], "levels are those of a survey's curves"),
        (["procgen-easy", "--value", "score"], "give size too"),
        (["procgen-easy", "--by", "game"], "give size too"),
        (["own.csv", "--size", "size", "--value", "twice", "--by", "gap"], "lacks a value of gap in line 3"),
        (["own.csv", "--size", "size", "--value", "twice", "--by", "seedless"], "no column 'seedless'"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, arguments, word):
    (tmp_path / "own.csv").write_text("size,seed,score,word,twice,gap\n1,0,0.5,a,1,x\n2,0,0.4,b,1,\n")
    ended = lcd("scaling", *arguments, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.strip().splitlines()) == 1
    assert word in ended.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["own.csv"]


def test_rows_without_a_seed_and_outputs_among_the_inputs_are_refused(tmp_path):
    table = survey({"easy": TRUTHS["power"]}).drop(columns=["game", "quantity"])
    table.loc[table["seed"] == table["seed"].max(), "seed"] = None
    table.to_csv(tmp_path / "own.csv", index=False)
    with pytest.raises(ValueError, match=r"own\.csv lacks a value of seed in line"):
        scaling(tmp_path / "own.csv", size="size", value="value")
    SurveyTables.read("procgen-easy").write(tmp_path / "kept")
    before = (tmp_path / "kept" / "curves.csv").read_bytes()
    for option in ({"out": tmp_path / "kept" / "curves.csv"}, {"figure": tmp_path / "kept" / "figure.png"}):
        with pytest.raises(ValueError, match="whose files are read, and would be overwritten"):
            scaling(tmp_path / "kept", **option)
    assert (tmp_path / "kept" / "curves.csv").read_bytes() == before


def test_the_command_fits_a_survey_and_draws(tmp_path):
    ended = lcd("scaling", "procgen-easy", "--out", "laws.csv", "--figure", "laws.png", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "times the largest size" in ended.stdout
    assert len(pd.read_csv(tmp_path / "laws.csv")) == 16 * 6
    assert (tmp_path / "laws.png").stat().st_size > 10_000


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_a_law_is_the_same_in_every_unit(unit):
    assert best_fit(fits(SIZES, unit * (SIZES / 1e4) ** -0.5)).form == "power"
    assert best_fit(fits(SIZES, np.full(len(SIZES), 3 * unit))).form == "constant"
