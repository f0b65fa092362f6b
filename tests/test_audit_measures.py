"""Statistics of an audit, on tables whose answers are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lcd.measurement import rankings
from lcd.measurement.game_subsets import smallest_set, subset_table
from lcd.measurement.hidden_losses import gain_table
from lcd.measurement.method_scores import MethodScores, with_pooled_errors, with_single_games
from lcd.measurement.publication_noise import independent, noise_by_game, noise_share
from lcd.measurement.rankings import (
    AGGREGATES,
    agreement,
    choice_table,
    influence_tables,
    normalised,
    places,
    ranking_table,
    repeatability,
)


def scores_of(means, errors=0.01, seeds=3) -> MethodScores:
    means = np.asarray(means, dtype=np.float64)
    methods, games = (
        tuple(f"{name}{number}" for number in range(count)) for name, count in zip("mg", means.shape, strict=True)
    )
    squared = np.broadcast_to(np.square(errors), means.shape) / seeds
    return MethodScores(methods, games, means, squared, np.full(means.shape, seeds - 1.0))


def drawn(gains, seeds, random, spread=0.1) -> MethodScores:
    """Scores of methods with known means over normal seeds; the last method is a baseline at 0."""
    means = np.concatenate([gains, np.zeros((1, gains.shape[1]))])
    runs = means + spread * random.standard_normal((seeds, *means.shape))
    found = scores_of(runs.mean(axis=0), seeds=seeds)
    return MethodScores(found.methods, found.games, found.means, runs.var(axis=0, ddof=1) / seeds, found.freedom)


CLASSES = {"class": {f"c{number}": [f"g{game}" for game in range(number, 16, 4)] for number in range(4)}}
PAIRS = [(number, 8) for number in range(8)]


def test_a_known_hidden_loss_is_found_with_its_size():
    gains = np.full((8, 16), 0.2)
    gains[3, 0::4] = -0.2
    table = gain_table(drawn(gains, 5, np.random.default_rng(1)), PAIRS, CLASSES)
    classes = table[(table["grouping"] == "class") & table["hidden_loss"]]
    assert list(zip(classes["improvement"], classes["group"], strict=True)) == [("m3", "c0")]
    row = classes.iloc[0]
    assert row["low"] < -0.2 < row["high"]
    assert row["mean_gain"] == pytest.approx(0.1, abs=0.05)
    assert row["over"] == "seeds"


@pytest.mark.parametrize("seeds", [2, 5])
def test_losses_that_are_not_there_are_found_at_the_stated_rate(seeds):
    random, false = np.random.default_rng(seeds), []
    for _ in range(150):
        table = gain_table(drawn(np.zeros((8, 16)), seeds, random), PAIRS, CLASSES)
        false.append(table[table["grouping"] == "class"]["hidden_loss"].any())
    assert stats.binomtest(int(np.sum(false)), len(false), 0.05, alternative="greater").pvalue > 0.01
    assert np.mean(false) < 0.1


def test_without_the_correction_losses_would_be_found_far_more_often():
    random, false = np.random.default_rng(0), []
    for _ in range(60):
        table = gain_table(drawn(np.zeros((8, 16)), 5, random), PAIRS, CLASSES)
        false.append(((table["p"] < 0.05) & (table["grouping"] == "class") & (table["mean_gain"] > 0)).any())
    assert np.mean(false) > 0.2


def test_a_single_games_test_is_welchs():
    random = np.random.default_rng(4)
    runs = random.normal(size=(2, 5, 4))  # methods, seeds, games
    scores = scores_of(runs.mean(axis=1), seeds=5)
    scores = MethodScores(scores.methods, scores.games, scores.means, runs.var(axis=1, ddof=1) / 5, scores.freedom)
    table = gain_table(scores, [(0, 1)], {}).set_index("group")
    for number, game in enumerate(scores.games):
        peer = stats.ttest_ind(runs[0, :, number], runs[1, :, number], equal_var=False, alternative="less")
        assert table.loc[game, "p"] == pytest.approx(peer.pvalue)
        limits = stats.ttest_ind(runs[0, :, number], runs[1, :, number], equal_var=False).confidence_interval()
        assert table.loc[game, ["low", "high"]].tolist() == pytest.approx(list(limits))


def test_without_errors_gains_are_tested_over_games_or_not_at_all():
    random = np.random.default_rng(2)
    means = random.normal(size=(2, 6))
    scores = MethodScores(("a", "b"), tuple("uvwxyz"), means, np.full((2, 6), np.nan), np.full((2, 6), np.nan))
    table = gain_table(scores, [(0, 1)], {"class": {"four": list("uvwx"), "two": ["y", "z"]}}).set_index("group")
    peer = stats.ttest_1samp(means[0, :4] - means[1, :4], 0, alternative="less")
    assert table.loc["four", "over"] == "games"
    assert table.loc["four", "p"] == pytest.approx(peer.pvalue)
    assert table.loc["two", "over"] == table.loc["u", "over"] == "nothing"
    assert table.loc[["two", "u"], "p"].isna().all()
    assert not table["hidden_loss"].any()


def test_missing_cells_leave_the_games_that_both_have():
    means = np.array([[1.0, np.nan, 3.0, 4.0], [0.0, 5.0, np.nan, 1.0]])
    table = gain_table(scores_of(means), [(0, 1)], {}).set_index("group")
    assert table.loc["all", ["games", "gain"]].tolist() == [2, 2.0]
    assert list(table.index) == ["all", "g0", "g3"]


def test_seeds_that_agree_to_the_last_digit_prove_no_loss():
    means = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1e-9]])
    table = gain_table(scores_of(means, errors=0.0), [(0, 1)], {}).set_index("group")
    assert np.isnan(table.loc["g2", "p"])
    assert not table["hidden_loss"].any()


def test_a_single_run_has_the_pooled_variance_of_the_game():
    means = np.zeros((3, 2))
    squared = np.array([[0.04 / 4, np.nan], [0.01 / 2, np.nan], [np.nan, np.nan]])
    freedom = np.array([[3.0, np.nan], [1.0, np.nan], [np.nan, np.nan]])
    seeds = np.array([[4.0, 1.0], [2.0, 1.0], [1.0, 1.0]])
    found = with_pooled_errors(MethodScores(("a", "b", "c"), ("u", "v"), means, squared, freedom), seeds)
    assert found.squared_errors[2, 0] == pytest.approx((0.04 * 3 + 0.01 * 1) / 4)
    assert found.freedom[2, 0] == 4
    assert np.isnan(found.squared_errors[:, 1]).all()  # no method tells that game's variance
    assert found.squared_errors[0, 0] == squared[0, 0]


def test_a_pooled_error_of_two_methods_is_one_estimate():
    """Taken for two, it would have twice its degrees of freedom, and intervals would be too narrow."""
    squared = np.array([[0.02, 0.03], [np.nan, 0.03], [np.nan, 0.03]])
    freedom = np.array([[1.0, 2.0], [np.nan, 2.0], [np.nan, 2.0]])
    scores = MethodScores(("a", "b", "c"), ("u", "v"), np.zeros((3, 2)), squared, freedom)
    found = with_pooled_errors(scores, np.array([[2.0, 3.0], [1.0, 3.0], [1.0, 3.0]]))
    assert found.pooled.tolist() == [[False, False], [True, False], [True, False]]
    for part in (found, found.part([0, 1, 2], [0, 1])):
        errors, degrees = part.pair_errors(np.array([1, 0]), np.array([2, 1]))
        assert errors.tolist() == [[0.08, 0.03, 0.0, 0.03], [0.02, 0.03, 0.04, 0.03]]
        assert degrees[:, [0, 2]].tolist() == [[1, 1], [1, 1]]
    alone = gain_table(found, [(1, 2)], {}).set_index("group").loc["u"]
    assert alone["high"] == pytest.approx(stats.t.ppf(0.975, 1) * np.sqrt(0.08))


def test_the_complete_part_is_the_largest_block():
    means = np.zeros((4, 5))
    means[0, 3:] = means[1, 4] = means[3, :4] = np.nan
    block = scores_of(means).complete()
    assert (block.methods, block.games) == (("m0", "m1", "m2"), ("g0", "g1", "g2"))
    with pytest.raises(ValueError, match="No two methods have two games in common"):
        scores_of([[1, 2, np.nan, np.nan], [np.nan, np.nan, 3, 4]]).complete()


def test_groups_of_no_game_or_of_all_games_are_no_groups():
    groups = {"a": {"all": ["u", "v"], "none": ["x"]}, "b": {"one": ["u", "x"]}}
    assert with_single_games(groups, ("u", "v")) == {"b": {"one": ["u"]}, "game": {"u": ["u"], "v": ["v"]}}


def test_a_ranking_that_one_game_decides_is_found():
    """m0 leads m1 by one game in which it is far ahead; elsewhere it is behind."""
    means = np.zeros((3, 6))
    means[0], means[1] = [3.0, 0, 0, 0, 0, 0], [0, 0.2, 0.2, 0.2, 0.2, 0.2]
    influence, decided = influence_tables(scores_of(means), {})
    games = influence.set_index("group")
    assert decided[["better", "worse", "group"]].to_numpy().tolist() == [["m0", "m1", "g0"], ["m0", "m2", "g0"]]
    assert games.loc["g0", ["first", "first_without"]].tolist() == ["m0", "m1"]
    assert (games.drop("g0")["first_without"] == "m0").all()
    assert decided["lead"].iloc[0] == pytest.approx(2 / 6)
    assert decided["lead_without"].iloc[0] == pytest.approx(-0.2)


def test_a_lead_within_the_noise_is_decided_by_no_game():
    means = np.zeros((3, 6))
    means[0], means[1] = [3.0, 0, 0, 0, 0, 0], [0, 0.2, 0.2, 0.2, 0.2, 0.2]
    influence, decided = influence_tables(scores_of(means, errors=5.0), {})
    assert decided.empty
    assert (influence["reversed"] > 0).any()


def test_shares_of_the_variance_add_up_and_are_those_of_the_construction():
    random = np.random.default_rng(0)
    means = random.normal(size=(400, 4)) * np.array([3.0, 1.0, 1.0, 0.0])
    influence, _ = influence_tables(scores_of(means[:40]), {"half": {"left": ["g0", "g1"]}})
    games = influence[influence["grouping"] == "game"].set_index("group")["share"]
    assert games.sum() == pytest.approx(1)
    half = influence[influence["group"] == "left"]["share"].iloc[0]
    assert half == pytest.approx(games["g0"] + games["g1"])
    large = influence_tables(scores_of(means[:200]), {})[0].set_index("group")["share"]
    assert large["g0"] == pytest.approx(9 / 11, abs=0.12)
    assert large["g3"] == 0


def test_normalisations_on_a_table_done_by_hand():
    means = np.array([[1.0, 10.0], [3.0, 20.0], [2.0, 40.0]])
    found = normalised(means, (np.array([0.0, 0.0]), np.array([4.0, 50.0])), 0)
    assert found["range"][1].tolist() == [0.75, 0.4]
    assert found["baseline"][2].tolist() == [2.0, 4.0]
    assert found["min-max"][:, 1].tolist() == pytest.approx([0, 1 / 3, 1])
    assert found["rank"].tolist() == [[0, 0], [1, 0.5], [0.5, 1]]
    assert found["z-score"].mean(axis=0) == pytest.approx([0, 0])
    assert "baseline" not in normalised(np.array([[0.0, 1.0], [1.0, 2.0]]), None, 0)


def test_the_aggregate_changes_a_ranking_as_it_should():
    """One game in which m0 is far ahead raises its mean; the median and the interquartile mean do not see it."""
    means = np.array([[10.0, 0, 0, 0, 0, 0, 0, 0], np.full(8, 1.0), np.full(8, 0.5)])
    rankings = ranking_table(("m0", "m1", "m2"), {"none": means})
    firsts = rankings[rankings["rank"] == 1].set_index("aggregate")["method"].to_dict()
    assert firsts == {"mean": "m0", "median": "m1", "IQM": "m1"}
    reference = rankings[rankings["aggregate"] == "mean"].set_index("method")["rank"]
    choices = choice_table(rankings, reference).set_index("aggregate")
    assert choices.loc["mean", ["tau", "changed"]].tolist() == [1.0, 0.0]
    assert choices.loc["median", "tau"] == pytest.approx(-1 / 3)
    assert choices.loc["median", ["mover", "rank_by_reference", "rank"]].tolist() == ["m0", 1, 3]


def test_the_interquartile_mean_is_that_of_the_middle_half():
    values = np.array([[0.0, 1, 2, 3, 4, 5, 6, 100]])
    assert AGGREGATES["IQM"](values)[0] == pytest.approx(3.5)


def test_equal_scores_are_ties():
    assert places(np.array([0.1 + 0.2, 0.3, 0.5])).tolist() == [2.5, 2.5, 1]
    assert np.isnan(agreement(np.array([1.0, 1.0]), np.array([1.0, 2.0])))


def test_a_ranking_repeats_as_its_noise_allows():
    apart = scores_of(np.arange(5.0)[:, None] * np.ones(3), errors=1e-6)
    assert repeatability(apart) == pytest.approx((1, 1, 1))
    alike = scores_of(np.zeros((12, 3)), errors=1.0)
    assert repeatability(alike)[0] == pytest.approx(0, abs=0.1)
    assert np.isnan(repeatability(scores_of(np.zeros((4, 3)), errors=np.nan))[0])


def test_a_ranking_agrees_with_itself_as_often_as_two_real_sets_of_seeds_do():
    """Draws around noisy means would agree too well: 0.41 here instead of 0.23."""
    random, told, real = np.random.default_rng(8), [], []
    for number in range(40):
        true = 0.01 * random.standard_normal((12, 1))
        one, other = (
            scores_of(true + 0.1 / np.sqrt(3) * random.standard_normal((12, 16)), errors=0.1) for _ in range(2)
        )
        told.append(repeatability(one, draws=20, seed=number)[0])
        real.append(agreement(places(one.means.mean(axis=1)), places(other.means.mean(axis=1))))
    assert np.mean(told) == pytest.approx(np.mean(real), abs=0.08)


def test_two_games_that_stand_for_all_are_found_and_hold_for_methods_left_out():
    """Two abilities: g0 and g1 measure one each, without noise; the others their sum, with much."""
    random = np.random.default_rng(5)
    abilities = random.normal(size=(30, 2))
    values = abilities.sum(axis=1, keepdims=True) + 1.5 * random.normal(size=(30, 8))
    values[:, :2] = 3 * abilities
    table = subset_table(values, [f"g{number}" for number in range(8)], [f"m{number}" for number in range(30)])
    pair = table[table["size"] == 2].iloc[0]
    assert pair["games"] == "g0, g1"
    assert pair["left_out"] > pair["random"] + 0.1
    found = smallest_set(table, pair["left_out"] - 0.01)
    assert found is not None
    assert found["size"] <= 2
    assert smallest_set(table, 1.01) is None


def test_a_set_chosen_from_noise_is_no_better_than_chance_on_methods_left_out():
    values = np.random.default_rng(6).normal(size=(24, 8))
    table = subset_table(values, [f"g{number}" for number in range(8)], [f"m{number}" for number in range(24)])
    small = table[table["size"] == 3].iloc[0]
    assert small["tau"] > small["left_out"] + 0.1  # on the methods that chose it
    assert small["left_out"] == pytest.approx(small["random"], abs=0.12)


def test_versions_of_one_method_are_left_out_together_and_few_families_are_no_test():
    """Each method is there twice: with every copy in another half, the choice would be tested on itself."""
    values = np.repeat(np.random.default_rng(6).normal(size=(12, 8)), 2, axis=0)
    names, families = [f"g{number}" for number in range(8)], [f"m{number // 2}" for number in range(24)]
    together = subset_table(values, names, families)["left_out"]
    apart = subset_table(values, names, [f"m{number}" for number in range(24)])["left_out"]
    assert together[2] < apart[2] - 0.05
    few = subset_table(values, names, ["one"] * 12 + ["two"] * 12)
    assert few["left_out"].isna().all()
    assert few["tau"].notna().all()


def test_many_games_grow_a_set_one_by_one():
    random = np.random.default_rng(3)
    values = random.normal(size=(12, 1)) + 0.5 * random.normal(size=(12, 60))
    table = subset_table(values, [f"g{number}" for number in range(60)], [f"m{n}" for n in range(12)], splits=2)
    assert table["size"].tolist() == list(range(1, 25))
    assert table["tau"].iloc[-1] > 0.9


@pytest.mark.parametrize("real", [0.0, 0.1, 0.3])
def test_the_share_of_the_noise_is_the_one_of_the_construction(real):
    """Publications differ by 0.1, improvements gain by a known spread: noise makes 2 s^2 / (2 s^2 + t^2)."""
    random, spread, games = np.random.default_rng(7), 0.1, 40
    twice = spread * random.standard_normal((40, games))
    noise = noise_by_game(scores_of(twice), [(number, number + 1) for number in range(0, 40, 2)])
    gains = real * random.standard_normal((30, games)) + spread * np.sqrt(2) * random.standard_normal((30, games))
    found = noise_share(gains, noise)
    wanted = 2 * spread**2 / (2 * spread**2 + real**2)
    assert found["share"] == pytest.approx(wanted, rel=0.15)
    assert found["low"] < found["share"] < found["high"]
    within = 2 * stats.norm.cdf(1.96 * np.sqrt(wanted)) - 1
    assert found["within"] == pytest.approx(within, abs=0.05)
    assert found["gains"] == 1200


def test_noise_needs_two_publications_and_copies_are_none():
    noise = noise_by_game(scores_of(np.ones((2, 6))), [])
    assert noise["deviation"].isna().all()
    assert noise_share(np.ones((1, 6)), noise)["gains"] == 0
    means = np.array([[1.0, 2.0, np.nan], [1.001, 2.001, 3.0], [1.5, 2.0, 3.0]])
    assert independent(means).tolist() == [0, 2]


def test_tables_have_the_columns_that_are_described():
    from lcd.studies.audit.columns import COLUMNS

    empty = gain_table(scores_of(np.zeros((2, 2))), [], {})
    assert list(empty.columns) == list(COLUMNS["gains"])
    assert isinstance(empty, pd.DataFrame)


def test_a_lead_of_equal_methods_is_significant_as_seldom_as_it_is_said():
    """The better of the two is chosen by the same scores: a one-sided test would be wrong twice as often."""
    random, found = np.random.default_rng(0), 0
    tables, methods, games, seeds = 1_500, 2, 16, 5
    for _ in range(tables):
        runs = 0.5 + 0.1 * random.standard_normal((methods, games, seeds))
        errors = runs.var(axis=-1, ddof=1) / seeds
        freedom = np.full((methods, games), seeds - 1.0)
        names = tuple(f"game {number}" for number in range(games))
        scores = MethodScores(("one", "other"), names, runs.mean(axis=-1), errors, freedom)
        lead = np.abs(np.diff(scores.means.mean(axis=1)))
        better = np.array([scores.means.mean(axis=1).argmax()])
        found += rankings._lead_q(scores, better, 1 - better, lead)[0] <= 0.05
    assert found / tables == pytest.approx(0.05, abs=0.015)  # 2.7 standard errors


def test_one_game_in_common_makes_no_copy():
    nothing = np.full(3, np.nan)
    one, other = np.array([1.0, *nothing, 2.0, 3.0, 4.0]), np.array([1.001, 2.0, 3.0, 4.0, *nothing])
    assert independent(np.stack([one, other])).tolist() == [0, 1]
