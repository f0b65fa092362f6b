"""Predictive validity: known answers, and limits that hold for all measures at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lcd.analyses.encoder_figure import NAMES, draw_encoders
from lcd.studies.predictive_validity import MEASURES, alignment_measures, predictive_validity, rank_correlations

GAMES, ENCODERS = [f"game{number}" for number in range(6)], [f"encoder{number}" for number in range(6)]


def study(seed: int = 0, measures: int = 3) -> pd.DataFrame:
    """Encoders of six games, with outcomes and measures that have nothing to do with each other."""
    random = np.random.default_rng(seed)
    rows = pd.MultiIndex.from_product([GAMES, ENCODERS], names=["game", "encoder"]).to_frame(index=False)
    rows["score"] = random.normal(size=len(rows))
    for number in range(measures):
        rows[f"measure{number}"] = random.normal(size=len(rows))
    return rows


def test_a_measure_that_rises_with_the_outcome_predicts_it_whatever_its_scale_in_each_game() -> None:
    encoders = study()
    encoders["same"] = np.exp(encoders["score"]) * (1 + encoders["game"].str[-1].astype(int))
    encoders["opposite"] = -(encoders["score"] ** 3)
    table = predictive_validity(encoders, ["same", "opposite"]).set_index("measure")
    assert table.loc["same", ["spearman", "low", "high", "least", "most"]].tolist() == pytest.approx([1.0] * 5)
    assert table.loc["opposite", "spearman"] == pytest.approx(-1.0)
    assert (table["games"] == len(GAMES)).all()


def test_differences_between_games_are_no_predictive_validity() -> None:
    encoders = study()
    game = encoders["game"].str[-1].astype(int)
    encoders["score"] += 100 * game
    encoders["measure0"] += 100 * game
    mean = predictive_validity(encoders, ["measure0"])["spearman"].iloc[0]
    assert abs(mean) < 0.4  # over all rows together it is 0.97


@pytest.mark.costly()
def test_limits_and_p_hold_for_all_measures_at_once() -> None:
    names = [f"measure{number}" for number in range(5)]
    missed = found = 0
    for seed in range(60):
        table = predictive_validity(study(seed, measures=5), names)
        missed += bool(((table["low"] > 0) | (table["high"] < 0)).any())
        found += bool((table["p"] < 0.05).any())
    assert missed <= 6  # 3 are meant; by themselves, at 95 % each, one of them would miss in 14
    assert found <= 6


def test_encoders_that_are_alike_in_all_games_are_six_observations_and_not_thirty_six() -> None:
    found = missed = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        encoders = study(seed, measures=1)
        of_encoder = pd.DataFrame(random.normal(size=(len(ENCODERS), 2)), index=ENCODERS, columns=["score", "measure0"])
        for column in of_encoder:
            encoders[column] = 0.2 * encoders[column] + of_encoder.loc[encoders["encoder"], column].to_numpy()
        table = predictive_validity(encoders, ["measure0"]).iloc[0]
        missed += bool(table["low"] > 0 or table["high"] < 0)
        found += bool(table["p"] < 0.05)
    assert found <= 6
    assert missed > 20  # limits over games do not see it: they speak of other games with these encoders


def test_a_correlation_that_rests_on_one_encoder_is_reported() -> None:
    encoders = study()
    encoders["one"] = (encoders["encoder"] == "encoder0").astype(float)
    encoders.loc[encoders["encoder"] == "encoder0", "score"] = 9.0
    table = predictive_validity(encoders, ["one"]).iloc[0]
    assert table["spearman"] > 0.6
    assert table["least"] == 0  # without it nothing can be ranked
    assert table["p"] == pytest.approx(1 / 6)  # one of six encoders has to be on top
    assert table[["p_least", "p_most"]].tolist() == pytest.approx([1 / 5] * 2)  # one of five is on top


def test_games_where_nothing_can_be_ranked_are_left_out_and_counted() -> None:
    encoders = study()
    encoders.loc[encoders["game"] == "game0", "score"] = 0.5
    encoders.loc[encoders["game"] == "game1", "measure0"] = np.nan
    table = predictive_validity(encoders, ["measure0"]).iloc[0]
    assert table["games"] == len(GAMES) - 2
    ranks = rank_correlations(encoders, ["measure0"]).set_index("game")
    assert ranks["spearman"].isna().tolist() == [True, True, False, False, False, False]
    two = predictive_validity(encoders[encoders["game"].isin(GAMES[2:4])], ["measure0"]).iloc[0]
    assert np.isfinite(two["spearman"]) and np.isnan(two["low"])  # two games say nothing about others


def test_ranks_are_spearmans() -> None:
    encoders = study()
    encoders["measure0"] = encoders["measure0"].round()  # some are alike
    ranks = rank_correlations(encoders, ["measure0"]).set_index("game")["spearman"]
    for game, rows in encoders.groupby("game"):
        assert ranks[game] == pytest.approx(stats.spearmanr(rows["measure0"], rows["score"]).statistic)


def test_what_a_table_shows_alike_is_a_tie() -> None:
    encoders = study()
    encoders.loc[encoders["encoder"].isin(["encoder0", "encoder1"]), "score"] = 0.1791987
    moved = encoders.assign(score=encoders["score"] + 3e-7 * (encoders["encoder"] == "encoder0"))
    names = ["measure0", "measure1"]
    pd.testing.assert_frame_equal(predictive_validity(encoders, names), predictive_validity(moved, names))


def test_alignment_measures_come_from_an_alignment_table() -> None:
    rows = [(*row, value) for value, row in enumerate(MEASURES.values()) if len(row) == 3]
    rows += [("invariance", "found", name, value) for name, value in (("flat", 0.25), ("plain", 0.75))]
    rows += [("value", "spearman", "gradient", 9.0), ("invariance", "ratio", "flat", 9.0)]
    found = alignment_measures(pd.DataFrame(rows, columns=["aspect", "measure", "method", "mean"]))
    assert found == {name: number for number, name in enumerate(MEASURES) if name != "invariance"} | {"invariance": 0.5}


def test_the_figure_names_every_measure_and_draws_the_demand_as_a_band_behind_the_gains() -> None:
    assert list(NAMES) == list(MEASURES)
    encoders = study().assign(**dict.fromkeys(MEASURES, 0.0))
    for name in MEASURES:
        encoders[name] = encoders["score"]
    demand = {"demand": 0.2, "demand_low": 0.1, "demand_high": 0.3}
    gains = {"gain": [-0.1, 0.15], "gain_low": [-0.2, 0.1], "gain_high": [0.1, 0.2]}
    shares = pd.DataFrame({"game": "game0", "encoder": ["random", "segmentation"]} | gains | demand)
    names = list(MEASURES)
    figure = draw_encoders(shares, rank_correlations(encoders, names), predictive_validity(encoders, names))
    left, right = figure.axes
    (band,) = left.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((0.1, 0.3))
    drawn = {round(float(line.get_xdata()[0]), 6) for line in left.lines if len(line.get_xdata()) == 1}
    assert drawn == {-0.1, 0.15}
    assert [text.get_text() for text in right.get_yticklabels()] == list(NAMES.values())


@pytest.mark.parametrize("beyond", [True, False])
def test_limits_of_a_correlation_that_lie_beyond_one_end_in_an_arrow(beyond: bool) -> None:
    names = list(MEASURES)
    encoders = study().assign(**dict.fromkeys(MEASURES, 0.0))
    means = predictive_validity(encoders, names).assign(spearman=0.8, low=0.2, high=1.1 if beyond else 0.9)
    shares = pd.DataFrame({"game": ["game0"], "encoder": "random"}).assign(
        **dict.fromkeys(("gain", "gain_low", "gain_high", "demand", "demand_low", "demand_high"), 0.0)
    )
    _, right = draw_encoders(shares, rank_correlations(encoders, names), means).axes
    assert [line.get_marker() for line in right.lines].count(">") == beyond * len(names)
