"""Correlations over games and decisions: known answers, and limits that hold what they promise."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lcd.measurement.validity import Rule, correlation_table, decision_table, outcomes, rank_correlation


def test_a_rank_correlation_is_scipys_and_its_p_value_exact():
    one, other = np.arange(6.0), np.array([0.0, 2.0, 1.0, 3.0, 5.0, 4.0])
    found = rank_correlation(one, other**3)
    assert found.estimate == pytest.approx(stats.spearmanr(one, other).statistic)
    orders = np.array(list(permutations(range(6))))
    as_large = [abs(np.corrcoef(one[order], other)[0, 1]) >= found.estimate - 1e-9 for order in orders]
    assert found.p == pytest.approx(np.mean(as_large))
    low, high = found.limits()
    assert low < found.estimate < high
    assert rank_correlation(-one, other).estimate == pytest.approx(-found.estimate)
    perfect = rank_correlation(one, one**3)
    assert perfect.estimate == pytest.approx(1)
    assert perfect.limits()[0] < 0.9  # six games in order prove no perfect relation


def test_a_partial_correlation_is_that_of_the_residuals_of_ranks():
    random = np.random.default_rng(0)
    held = random.normal(size=30)
    one, other = held + random.normal(size=30), held + random.normal(size=30)
    ranks = [stats.rankdata(each) for each in (one, other, held)]
    residuals = [each - np.polyval(np.polyfit(ranks[2], each, 1), ranks[2]) for each in ranks[:2]]
    found = rank_correlation(one, other, held)
    assert found.estimate == pytest.approx(np.corrcoef(residuals)[0, 1])
    assert found.estimate < rank_correlation(one, other).estimate - 0.1
    assert np.isnan(found.p)


@pytest.mark.parametrize(("rho", "given"), [(0.0, False), (0.6, False), (0.0, True)])
def test_limits_hold_the_truth_in_95_percent(rho, given):
    random = np.random.default_rng(1)
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's of a normal pair
    held = 0
    for _ in range(600):
        one, other = random.multivariate_normal([0, 0], [[1, rho], [rho, 1]], 12).T
        third = random.normal(size=12) if given else None
        found = rank_correlation(one, other, third)
        low, high = found.limits()
        held += low <= truth <= high
    assert 0.92 <= held / 600 <= 0.99


def test_p_values_are_below_5_percent_in_5_percent_where_nothing_is_predicted():
    random = np.random.default_rng(2)
    small = [rank_correlation(*random.normal(size=(2, 8)), seed=draw).p < 0.05 for draw in range(200)]
    assert np.mean(small) < 0.09


def test_too_little_is_nothing():
    for one, other in (([1, 2, 3, 4], [1, 2, 3, 4]), ([1] * 6, range(6)), ([1, 2, 3, 4, np.nan, np.nan], range(6))):
        found = rank_correlation(one, list(other))
        assert np.isnan(found.estimate)
        assert np.isnan(found.limits()).all()
    assert found.games == 4


def gains_of(table: dict[str, list[float]]) -> pd.DataFrame:
    kinds = {"crop": "perceptual", "colour": "perceptual", "phasic": "policy"}
    rows = [
        {"game": f"g{number}", "improvement": name, "kind": kinds[name], "gain": gain}
        for name, values in table.items()
        for number, gain in enumerate(values)
    ]
    return pd.DataFrame(rows).dropna()


def test_gains_are_averaged_over_a_kind_where_all_were_measured():
    gains = gains_of({"crop": [1, 2, 3], "colour": [3, 4, np.nan], "phasic": [5, 5, 5]})
    found = {key: series.to_dict() for key, series in outcomes(gains)}
    assert found["perceptual", ""] == {"g0": 2, "g1": 3}
    assert found["perceptual", "crop"] == {"g0": 1, "g1": 2, "g2": 3}
    assert found["policy", ""] == found["policy", "phasic"] == {"g0": 5, "g1": 5, "g2": 5}


def test_every_predictor_meets_every_gain():
    random = np.random.default_rng(3)
    demand = random.normal(size=10)
    predictors = pd.DataFrame({"demand": demand, "score": random.normal(size=10)}, [f"g{n}" for n in range(10)])
    gains = gains_of({"crop": list(2 * demand), "phasic": list(random.normal(size=10))})
    table = correlation_table(predictors, gains, given="score").set_index(["predictor", "kind", "improvement"])
    assert len(table) == 2 * 4
    assert table.loc[("demand", "perceptual", "crop"), "spearman"] == pytest.approx(1)
    assert table.loc[("demand", "perceptual", ""), "p"] < 0.001
    assert table["partial"].isna().to_dict()["score", "policy", ""]
    assert table.loc[("demand", "perceptual", "crop"), "partial"] == pytest.approx(1)


def test_regret_is_what_the_better_choice_would_have_earned():
    gains = {"perceptual": np.array([3.0, 0.0, 1.0, np.nan]), "policy": np.array([1.0, 1.0, 1.5, 0.0])}
    rules = [Rule("larger demand", np.array([1.0, 1.0, -1.0, 1.0]), 0.0), Rule("silent", np.full(4, np.nan), 0.0)]
    table = decision_table(rules, gains).set_index("rule")
    assert list(table.index) == ["always perception", "always policy", "larger demand"]
    assert table.loc["larger demand", ["games", "perception", "right", "regret"]].tolist() == pytest.approx(
        [3, 2 / 3, 2 / 3, 1 / 3]
    )
    assert table["regret"]["always perception"] == pytest.approx(1.5 / 3)
    assert table["regret"]["always policy"] == pytest.approx(2 / 3)
    assert table["gain_over_fixed"]["larger demand"] == pytest.approx(0.5 - 1 / 3)
    assert table["gain_over_fixed"]["always perception"] == 0


def test_a_threshold_is_learned_without_the_game_that_it_decides():
    advantage = np.array([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0])
    falling = Rule("falling", np.array([9.0, 8.0, 7.0, 3.0, 2.0, 1.0]))
    assert (falling.choices(advantage) == (advantage > 0)).all()
    alone = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 9.0])
    assert not Rule("one of its kind", alone).choices(np.array([-1.0] * 5 + [5.0]))[5]  # which only it would teach
