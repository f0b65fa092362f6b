import numpy as np
import pytest
from scipy import stats
from test_scores import episode_table, scores_of

from lcd.measurement.demands import CONTRASTS, DIFFERENCE, Contrast, demands_of
from lcd.measurement.generalisation import generalisation_estimate
from lcd.measurement.intervals import (
    Interval,
    cell_samples,
    contrast_interval,
    demand_table,
    seeds_needed,
    welch_limits,
)
from lcd.measurement.scores import LEVELS, SCORES

FINAL = {"a": 0.1, "b": 0.4, "c": 0.2, "d": 0.8}
NO_ERRORS = [np.zeros(1)] * 4
NO_NOISE = np.zeros(4)


def test_two_cells_agree_with_scipy_welch():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 4), rng.normal(1, 3, 7)
    found = contrast_interval([first, np.zeros(2), np.zeros(2), second], NO_ERRORS, CONTRASTS["gap"])
    peer = stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high))


def test_one_cell_agrees_with_scipy_t():
    scores = np.array([0.1, 0.4, 0.35])
    found = contrast_interval([np.empty(0)] * 3 + [scores], [np.empty(0)] * 3 + [np.zeros(3)], CONTRASTS["headroom"])
    peer = stats.ttest_1samp(1 - scores, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high))


# Not 95 exactly: with two or three seeds the degrees of freedom are themselves a rough estimate.
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("spread", [(0.05, 0.05, 0.05, 0.05), (0.005, 0.03, 0.03, 0.08)])
def test_intervals_cover_the_truth_in_95_of_100_experiments(seeds, spread):
    rng = np.random.default_rng(1)
    truth = np.array([0.1, 0.4, 0.2, 0.8])
    scores = truth[:, None] + np.array(spread)[:, None] * rng.standard_normal((6000, 4, seeds))
    for contrast in (*CONTRASTS.values(), DIFFERENCE):
        low, high = welch_limits(scores.mean(-1), scores.var(-1, ddof=1), [seeds] * 4, contrast)
        value = contrast.offset + truth @ np.array(contrast.weights)
        assert 0.93 <= np.mean((low <= value) & (value <= high)) <= (0.99 if seeds == 2 else 0.98)


def test_unequal_numbers_of_seeds_cover_too():
    rng = np.random.default_rng(2)
    samples = [rng.standard_normal((6000, seeds)) for seeds in (2, 3, 6, 4)]
    means, variances = (
        np.stack([f(s) for s in samples], -1) for f in (lambda s: s.mean(-1), lambda s: s.var(-1, ddof=1))
    )
    low, high = welch_limits(means, variances, [2, 3, 6, 4], CONTRASTS["perceptual"])
    assert 0.93 <= np.mean((low <= 0) & (high >= 0)) <= 0.98


def test_interval_follows_the_scale_of_the_scores():
    rng = np.random.default_rng(3)
    samples = [rng.standard_normal(3) for _ in range(4)]
    one = contrast_interval(samples, NO_ERRORS, CONTRASTS["policy"])
    ten = contrast_interval([10 * s + 2 for s in samples], NO_ERRORS, CONTRASTS["policy"])
    assert (ten.estimate, ten.low, ten.high) == pytest.approx((10 * one.estimate, 10 * one.low, 10 * one.high))


def test_seeds_that_agree_by_luck_are_not_known_better_than_their_episodes():
    found = contrast_interval([np.full(3, 0.5)] * 4, [np.full(3, 0.1)] * 4, CONTRASTS["gap"])
    assert found.high == pytest.approx(1.96 * 0.1 * np.sqrt(2 / 3), rel=1e-3)


def test_spread_over_seeds_is_counted_once_although_it_holds_the_noise_of_episodes():
    samples = [np.array([0.0, 0.5, 1.0])] * 4
    without = contrast_interval(samples, [np.zeros(3)] * 4, CONTRASTS["gap"])
    assert contrast_interval(samples, [np.full(3, 0.1)] * 4, CONTRASTS["gap"]) == without


def test_cells_that_do_not_vary_at_all_have_a_point_for_an_interval():
    found = contrast_interval([np.full(3, 0.5)] * 4, [np.zeros(3)] * 4, CONTRASTS["gap"])
    assert found == Interval(0, 0, 0)


def test_one_seed_has_an_interval_over_episodes_alone():
    scores = scores_of(episode_table(FINAL, seeds=1))
    table = demand_table(scores)
    assert set(table["over"]) == {"episodes"}
    assert (table["low"] < table["high"]).all()


def test_one_seed_with_one_episode_has_no_interval():
    table = demand_table(scores_of(episode_table(FINAL, seeds=1, episodes=1)))
    assert set(table["over"]) == {"nothing"}
    assert table[["low", "high"]].isna().to_numpy().all()
    assert table["estimate"].notna().all()


def test_several_seeds_with_one_episode_have_an_interval_over_seeds():
    table = demand_table(scores_of(episode_table(FINAL, seeds=3, episodes=1)))
    assert set(table["over"]) == {"seeds"}
    assert table.notna().to_numpy().all()


def test_a_cell_without_seeds_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 2, 2, 2\] seeds"):
        contrast_interval([np.empty(0)] + [np.zeros(2)] * 3, NO_ERRORS, CONTRASTS["gap"])


def test_table_has_every_quantity_of_every_family_and_demands_sum_to_the_gap():
    table = demand_table(scores_of(episode_table(FINAL)))
    assert len(table) == len(CONTRASTS) * len(LEVELS) * len(SCORES)
    wide = table.pivot_table(index=["levels", "score"], columns="quantity", values="estimate")
    np.testing.assert_allclose(wide["perceptual"] + wide["policy"] + wide["joint"], wide["gap"])


def test_table_estimates_are_the_demands_of_the_mean_scores():
    scores = scores_of(episode_table(FINAL))
    samples, _ = cell_samples(scores, "unseen", "final")
    table = demand_table(scores).set_index(["quantity", "levels", "score"])["estimate"]
    for quantity, value in demands_of(*(cell.mean() for cell in samples))._asdict().items():
        assert table.loc[quantity, "unseen", "final"] == pytest.approx(float(value))


def test_seeds_needed_is_the_first_number_whose_interval_is_narrow_enough():
    variances = np.full(4, 0.01)
    counts = seeds_needed(variances, NO_NOISE, CONTRASTS["perceptual"], 0.05, more_than=3, at_most=100)
    half = [welch_limits(np.zeros(4), variances, [n] * 4, CONTRASTS["perceptual"])[1] for n in (counts - 1, counts)]
    assert half[0] > 0.05 >= half[1]
    assert seeds_needed(variances, NO_NOISE, CONTRASTS["perceptual"], 0.001, more_than=3, at_most=100) is None
    assert seeds_needed(variances, NO_NOISE, Contrast((0, 0, 0, 1)), 1.0, more_than=7, at_most=100) == 8


def test_seeds_needed_minds_the_noise_of_episodes_and_not_where_it_is_unknown():
    variances, squared = np.full(4, 1e-6), np.full(4, 0.12**2)
    needed = seeds_needed(variances, squared, CONTRASTS["perceptual"], 0.1, more_than=3, at_most=100)
    assert needed == np.ceil(2 * (1.96 * 0.12 / 0.1) ** 2)
    unknown = np.full(4, np.nan)
    assert seeds_needed(variances, unknown, CONTRASTS["perceptual"], 0.1, more_than=3, at_most=100) == 4


def test_interval_reads_as_in_a_sentence():
    assert str(Interval(-0.001, -0.2, 0.2)) == "0.00 [-0.20, 0.20]"
    assert str(Interval(0.31, 0.221, 0.4)) == "0.31 [0.22, 0.40]"
    assert str(Interval(0.31, np.nan, np.nan, "nothing")) == "0.31 [no interval]"


def test_generalisation_recovers_the_loss_to_unseen_levels():
    estimate = generalisation_estimate(scores_of(episode_table(FINAL, loss=0.3)), "final")
    assert estimate.perceptual.low < 0.3 < estimate.perceptual.high
    assert estimate.policy.low < 0.9 < estimate.policy.high


def test_generalisation_pairs_the_levels_of_a_seed():
    """Seeds that differ a lot but lose alike have a narrow loss."""
    estimate = generalisation_estimate(scores_of(episode_table(FINAL, loss=0.3, seed_sd=0.3, episode_sd=0.02)), "final")
    assert estimate.perceptual.high - estimate.perceptual.low < 0.1
    assert estimate.policy.high - estimate.policy.low > 0.2


def test_generalisation_needs_both_kinds_of_level():
    scores = scores_of(episode_table(FINAL))
    with pytest.raises(ValueError, match="training and unseen"):
        generalisation_estimate(scores[scores["levels"] == "unseen"])
