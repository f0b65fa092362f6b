import numpy as np
import pandas as pd
import pytest

from lcd.measurement.scores import (
    CELLS,
    COLUMNS,
    SCORES,
    Normalisation,
    cell_scores,
    check_episodes,
    curve_scores,
    late_gains,
    learning_curves,
    mean_curves,
)

BUDGET = 1000


def episode_table(final, seeds=3, *, seed_sd=0.02, episode_sd=0.1, episodes=20, evaluations=6, loss=0.0, draw=0):
    """Episodes of game "toy" (random 0, best 10) whose scores rise in a line from 0 to `final[letter]`."""
    rng = np.random.default_rng(draw)
    rows = []
    for letter, (view, learning) in CELLS.items():
        for seed in range(seeds):
            end = final[letter] + seed_sd * rng.standard_normal()
            for step in np.linspace(0, BUDGET, evaluations).astype(int):
                for levels, shift in (("training", 0.0), ("unseen", loss)):
                    mean = (end - shift) * step / BUDGET
                    for episode, score in enumerate(mean + episode_sd * rng.standard_normal(episodes)):
                        level = int(rng.integers(100))
                        rows.append(("toy", view, learning, seed, step, levels, episode, level, 10 * score, 50))
    return pd.DataFrame(rows, columns=list(COLUMNS))


@pytest.fixture(scope="module")
def table():
    return episode_table({"a": 0.1, "b": 0.4, "c": 0.2, "d": 0.8})


def scores_of(table, normalisation=None):
    return cell_scores(table, normalisation or Normalisation(0, 10, "measured"), BUDGET)


def test_random_policy_scores_zero_and_best_scores_one():
    normalisation = Normalisation(random=2.5, best=64, source="published")
    assert normalisation.score(2.5) == 0
    assert normalisation.score(64.0) == 1


def test_constant_curve_has_its_height_as_area_whatever_the_steps():
    table = episode_table(dict.fromkeys("abcd", 0.5), seed_sd=0, episode_sd=0)
    table = table[~table["step"].isin([200, 600])].assign(**{"return": 7.0})
    scores = scores_of(table)
    for score in SCORES:
        np.testing.assert_allclose(scores[score], 0.7)


def test_learning_twice_as_late_costs_the_same_logarithmic_area_wherever_it_happens():
    steps = np.arange(0, 1025)
    areas = []
    for rise in (64, 128, 256, 512):
        curve = pd.DataFrame({"step": steps, "score": (steps >= rise) * 1.0})
        curve = curve.assign(game="one", view="pixels", learning="rl", seed=0, levels="unseen")
        areas.append(curve_scores(curve, 1024)["log_area"].item())
    assert np.diff(areas) == pytest.approx(-0.1, abs=0.002)  # an octave of the ten between 1 and 1024


def test_a_single_evaluation_is_its_own_logarithmic_area():
    scores = scores_of(episode_table(dict.fromkeys("abcd", 0.6), seed_sd=0, episode_sd=0, evaluations=2))
    np.testing.assert_allclose(scores["log_area"], 0.6)
    np.testing.assert_allclose(scores["log_area_error"], scores["final_error"])


def test_straight_line_from_zero_has_half_its_end_as_area():
    scores = scores_of(episode_table(dict.fromkeys("abcd", 0.6), seed_sd=0, episode_sd=0))
    np.testing.assert_allclose(scores["area"], 0.3)
    np.testing.assert_allclose(scores["final"], 0.6)


def test_scores_do_not_change_with_the_unit_of_return(table):
    other = table.assign(**{"return": 3 * table["return"] - 5})
    pd.testing.assert_frame_equal(scores_of(table), scores_of(other, Normalisation(-5, 25, "measured")))


def test_scores_do_not_depend_on_the_order_of_rows(table):
    pd.testing.assert_frame_equal(scores_of(table), scores_of(table.sample(frac=1, random_state=1)))


@pytest.mark.costly()
@pytest.mark.parametrize("level_sd", [0.0, 0.3])
def test_area_error_is_the_spread_of_the_area_over_new_episodes_and_levels(level_sd):
    areas, errors = [], []
    for draw in range(150):
        table = episode_table(dict.fromkeys("abcd", 0.5), seeds=1, seed_sd=0, episodes=5, evaluations=4, draw=draw)
        # Every evaluation of a run plays the same levels again, and some of them are easier than others.
        ease = np.random.default_rng(draw).normal(scale=10 * level_sd, size=(2, 2, 2, 5))
        run = [table[name].astype("category").cat.codes for name in ("view", "learning", "levels")]
        table["return"] += ease[(*run, table["episode"])]
        scores = scores_of(table)
        areas.append(scores["area"].to_numpy())
        errors.append(scores["area_error"].to_numpy() ** 2)
    # Both sides rest on 1200 draws, so that they agree to about 5 %.
    spread = np.var(np.array(areas) - [0.25], ddof=0)
    assert np.sqrt(np.mean(errors)) == pytest.approx(np.sqrt(spread), rel=0.1)


def test_levels_that_every_evaluation_repeats_are_no_further_evidence():
    once = episode_table(dict.fromkeys("abcd", 0.5), seed_sd=0, evaluations=2)
    once["return"] = once["episode"].astype(float)
    often = pd.concat([once, *(once[once["step"] == 0].assign(step=step) for step in (250, 500, 750))])
    np.testing.assert_allclose(scores_of(often)["area_error"], scores_of(once)["final_error"])


def test_scores_of_evaluations_with_unequal_numbers_of_episodes_have_errors():
    table = episode_table(dict.fromkeys("abcd", 0.5), seeds=1, seed_sd=0, episodes=4, evaluations=2)
    ragged = table[(table["step"] > 0) | (table["episode"] < 2)]
    scores, curves = scores_of(ragged), learning_curves(ragged, Normalisation(0, 10, "measured"))
    np.testing.assert_allclose(scores["final_error"], curves[curves["step"] == BUDGET]["score_error"])
    assert np.isfinite(scores["area_error"]).all()
    alone = scores_of(table[(table["step"] > 0) | (table["episode"] < 1)])
    assert alone["area_error"].isna().all()
    assert np.isfinite(alone["final_error"]).all()


def test_mean_curve_lies_between_its_lowest_and_highest_seed(table):
    means = mean_curves(learning_curves(table, Normalisation(0, 10, "measured")))
    assert (means["low"] <= means["mean"]).all()
    assert (means["mean"] <= means["high"]).all()
    assert set(means["seeds"]) == {3}


def test_late_gain_of_a_line_is_a_third_of_its_gain():
    table = episode_table({"a": 0.1, "b": 0.4, "c": 0.2, "d": 0.9}, seed_sd=0, episode_sd=0, evaluations=7)
    gains = late_gains(learning_curves(table, Normalisation(0, 10, "measured")))
    np.testing.assert_allclose(gains["late_gain"], gains["gain"] / 3)
    assert gains.loc["d", "final"] == pytest.approx(0.9)


def test_another_game_in_the_table_is_ignored(table):
    both = pd.concat([table, table.assign(game="other", **{"return": np.nan})])
    assert len(check_episodes(both, game="toy", budget=BUDGET)) == len(table)


def _without(table, **values):
    keep = np.zeros(len(table), dtype=bool)
    for name, value in values.items():
        keep |= table[name] != value
    return table[keep]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="level_seed"), "level_seed"),
        (lambda t: t.assign(game="other"), "'toy'.*other"),
        (lambda t: _without(t, view="semantic", learning="rl"), r"\('semantic', 'rl'\).*train"),
        (lambda t: _without(t, view="pixels", learning="rl", seed=2), r"\(pixels, rl\) seed 2.*drop the seed"),
        (lambda t: _without(t, view="pixels", learning="rl", seed=2, levels="unseen"), "unseen levels"),
        (lambda t: t.assign(**{"return": t["return"].mask(t["step"] == 400)}), "not finite.*step 400"),
        (lambda t: _without(t, step=BUDGET, view="pixels", learning="imitation", seed=1), "to 800, not.*1000"),
        (lambda t: _without(t, step=0), "from step 200"),
        (lambda t: pd.concat([t, t.head(1)]), "twice"),
        (lambda t: t.assign(view="sonar"), "sonar"),
        (lambda t: t.assign(levels="held-out"), "held-out"),
    ],
)
def test_a_table_that_cannot_carry_a_diagnosis_is_refused_by_name(table, spoil, message):
    with pytest.raises(ValueError, match=message):
        check_episodes(spoil(table), game="toy", budget=BUDGET)


def test_impossible_budget_is_refused(table):
    with pytest.raises(ValueError, match="budget=0"):
        check_episodes(table, game="toy", budget=0)


@pytest.mark.parametrize(
    ("random", "best", "message"),
    [
        (5, 5, "best=5 must exceed random=5"),
        (6, 5, "best=5 must exceed random=6"),
        (float("nan"), 5, "random must be finite, not nan"),
        (0, float("inf"), "best must be finite, not inf"),
    ],
)
def test_impossible_normalisation_is_refused(random, best, message):
    with pytest.raises(ValueError, match=message):
        Normalisation(random, best, "measured")


def test_unknown_source_of_normalisation_is_refused():
    with pytest.raises(ValueError, match="'guessed'"):
        Normalisation(0, 1, "guessed")
