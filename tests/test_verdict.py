import numpy as np
import pandas as pd
import pytest

from lcd.measurement.demands import CONTRASTS
from lcd.measurement.intervals import Interval, contrast_interval
from lcd.measurement.rule import classify, intervals_of, least_spreads, verdict_intervals
from lcd.measurement.verdict import BetterLearner, better_than_teacher, decide

FLAT = {"gain": 0.5, "late_gain": 0.01}


def around(value, half=0.02, over="seeds"):
    return Interval(value, value - half, value + half, over)


def samples_of(cells, seeds, spread, rng=None):
    """Scores whose means and standard deviations over seeds are just these."""
    draws = (rng or np.random.default_rng(0)).standard_normal((4, seeds))
    if seeds > 1:
        draws = (draws - draws.mean(1, keepdims=True)) / draws.std(1, ddof=1, keepdims=True)
    return list(np.array(cells)[:, None] + spread * draws * (seeds > 1))


def gains_of(cells):
    return pd.DataFrame({letter: {"final": v, **FLAT} for letter, v in zip("abcd", cells, strict=True)}).T


def verdict_of(*cells, spread=0.009, seeds=3, gains=None, training=None, teacher=0.9, error=0.0, better=None):
    samples, errors = samples_of(cells, seeds, spread), [np.full(seeds, error)] * 4
    gains = gains_of(cells) if gains is None else gains
    on_training = None if training is None else gains_of(training)
    return decide(samples, errors, gains=gains, training_gains=on_training, teacher_score=teacher, better=better)


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        ((0.2, 0.8, 0.2, 0.8), "perception-limited"),
        ((0.2, 0.2, 0.8, 0.8), "policy-limited"),
        ((0.2, 0.5, 0.5, 0.8), "limited by both"),
        ((0.9, 0.9, 0.9, 0.9), "not limited"),
        ((0.1, 0.1, 0.1, 0.1), "inconclusive"),
        ((0.8, 0.85, 0.85, 0.9), "inconclusive"),
        ((0.1, 0.9, 0.9, 0.9), "limited jointly"),
        ((0.85, 0.9, 0.9, 0.9), "inconclusive"),
    ],
)
def test_known_verdicts(cells, name):
    verdict = verdict_of(*cells)
    assert verdict.name == name
    assert (name == "inconclusive") == bool(verdict.would_decide)


def name_of(perceptual, policy, difference, joint=None, headroom=None):
    demands = {
        "perceptual": perceptual,
        "policy": policy,
        "joint": joint or around(0),
        "headroom": headroom or around(0.1),
        "difference": difference,
    }
    return classify(demands)


def test_a_larger_demand_is_named_even_if_the_smaller_one_is_open():
    wide = Interval(0.06, -0.04, 0.16)
    assert name_of(around(0.4), wide, around(0.34, 0.1)) == "perception-limited"
    assert name_of(wide, around(0.4), around(-0.34, 0.1)) == "policy-limited"
    assert name_of(around(0.4), wide, around(0.05, 0.1)) == "inconclusive"


def test_a_joint_demand_counts_only_where_neither_is_there_alone():
    jointly = around(0.4)
    assert name_of(around(0), around(0), around(0), jointly) == "limited jointly"
    assert name_of(around(0.3), around(0), around(0.3), jointly) == "perception-limited"
    assert name_of(around(0), around(0), around(0), around(0.05)) == "inconclusive"
    assert name_of(around(0), around(0), around(0), around(-0.4)) == "not limited"


def test_exchanging_the_demands_mirrors_the_verdict():
    mirror = {"perception-limited": "policy-limited", "policy-limited": "perception-limited"}
    rng = np.random.default_rng(0)
    for _ in range(200):
        see, act, half = *rng.uniform(-0.2, 0.5, 2), rng.uniform(0, 0.1)
        one = name_of(around(see, half), around(act, half), around(see - act, half))
        other = name_of(around(act, half), around(see, half), around(act - see, half))
        assert other == mirror.get(one, one)


@pytest.mark.parametrize("error", [0.01, np.nan])
def test_one_seed_is_always_inconclusive(error):
    verdict = verdict_of(0.1, 0.9, 0.1, 0.9, seeds=1, error=error)
    assert verdict.name == "inconclusive"
    assert "ne seed" in verdict.reason
    assert "at least 3" in verdict.would_decide[0]


@pytest.mark.parametrize(
    "cells", [(0.2, 0.8, 0.2, 0.8), (0.2, 0.2, 0.8, 0.8), (0.2, 0.5, 0.5, 0.8), (0.9,) * 4, (0.1,) * 4]
)
def test_reason_is_one_sentence_with_its_numbers(cells):
    reason = verdict_of(*cells).reason
    samples = samples_of(cells, 3, 0.009)
    for key in ("perceptual", "policy"):
        assert str(contrast_interval(samples, [np.zeros(3)] * 4, CONTRASTS[key])) in reason
    assert reason.count(". ") == 0
    assert reason.endswith(".")


def test_the_larger_of_two_demands_is_named_only_if_that_is_decided():
    assert "perception is the larger, by 0.30" in verdict_of(0.1, 0.6, 0.3, 0.8).reason
    assert "policy learning is the larger, by 0.30 [0.28, 0.32]" in verdict_of(0.1, 0.3, 0.6, 0.8).reason
    assert "open" in verdict_of(0.1, 0.5, 0.5, 0.9).reason


@pytest.mark.parametrize(
    ("truth", "spread", "error"),
    [((0.1, 0.22, 0.1, 0.22), 0.06, 0.0), ((0.1, 0.22, 0.1, 0.22), 0.002, 0.12), ((0.2, 0.4, 0.2, 0.4), 0.01, 0.1)],
)
def test_seeds_that_it_asks_for_do_decide_at_the_same_spread_and_noise(truth, spread, error):
    rng = np.random.default_rng(4)

    def outcome(seeds):
        samples = samples_of(truth, seeds, spread, rng)
        return decide(samples, [np.full(seeds, error)] * 4, gains=gains_of(truth))

    few = outcome(3)
    assert few.name == "inconclusive"
    asked = int(few.would_decide[0].split("about ")[1].split()[0])
    assert outcome(asked).name == "perception-limited"
    assert outcome(asked - 1).name == "inconclusive"


def test_an_estimate_at_the_threshold_is_not_answered_with_a_number_of_seeds():
    verdict = verdict_of(0.39, 0.4405, 0.4405, 0.491, spread=0.1)
    assert "alone would not" in verdict.would_decide[0]


def test_more_seeds_are_not_proposed_where_only_headroom_is_in_the_way():
    assert not any("seeds" in way for way in verdict_of(0.3, 0.3, 0.3, 0.3).would_decide)


def test_curves_near_the_random_score_ask_for_steps_and_a_poor_teacher_for_a_better_one():
    ways = " ".join(verdict_of(0.01, 0.02, 0.01, 0.03, teacher=0.1).would_decide)
    assert "More steps, or a learner that learns more from them" in ways
    assert "this one scores 0.10" in ways


@pytest.mark.parametrize(
    ("late_gain", "end"),
    [
        (0.01, "ends at 0.030, +0.010 in the last third of its steps."),
        (-0.01, "ends at 0.030, -0.010 in the last third of its steps."),
    ],
)
def test_a_game_in_which_no_cell_leaves_the_floor_is_unlearnable_at_this_budget(late_gain, end):
    gains = gains_of((0.01, 0.02, 0.01, 0.03))
    gains.loc["d", "late_gain"] = late_gain
    reason = verdict_of(0.01, 0.02, 0.01, 0.03, gains=gains).reason
    assert reason.startswith(
        "Unlearnable at this budget: no cell reaches 0.1 in the end. The best, semantic/imitation,"
    )
    assert end in reason
    assert "Unlearnable" not in verdict_of(0.01, 0.02, 0.01, 0.11).reason


def test_a_student_that_knows_only_its_training_levels_asks_for_more_levels_or_another_encoder():
    learned, flat = (0.1, 0.1, 0.1, 0.9), (0.0, 0.0, 0.0, 0.02)
    verdict = verdict_of(*flat, training=learned)
    assert verdict.cautions[0].startswith(
        "Learned by heart: semantic/imitation ends at 0.90 on training levels and at 0.02 on unseen ones"
    )
    assert verdict.reason.startswith("Unlearnable at this budget")
    assert "learning by heart limits the diagnosis" in verdict.reason
    assert any("More training levels (--levels)" in way for way in verdict.would_decide)
    at_floor = verdict_of(0.02, 0.02, 0.02, 0.3, training=learned)
    for each in (verdict, at_floor):
        said = " ".join([each.reason, *each.would_decide, *each.cautions])
        assert "more steps may help" not in said
        assert "More steps" not in said
        assert "the teacher or the budget limits" not in said
    assert "more steps may help" in " ".join(verdict_of(0.02, 0.02, 0.02, 0.3).cautions)
    for training, unseen in ((learned, (0.1, 0.1, 0.1, 0.46)), ((0.1, 0.1, 0.1, 0.49), flat)):
        found = verdict_of(*unseen, training=training)
        assert not any("by heart" in caution for caution in found.cautions)
    decided = verdict_of(0.1, 0.1, 0.4, 0.4, training=learned)
    assert decided.name == "policy-limited"
    assert "by heart" in decided.cautions[0]
    assert "More training levels" in decided.cautions[0]


def test_rising_curves_ask_for_steps_and_name_the_cells():
    gains = pd.DataFrame({letter: {"final": 0.3, "gain": 0.3, "late_gain": 0.0} for letter in "abcd"}).T
    gains.loc["d", "late_gain"] = 0.1
    ways = verdict_of(0.3, 0.3, 0.3, 0.3, gains=gains).would_decide
    assert any("semantic/imitation by 0.10" in way and "pixels" not in way for way in ways)


def test_unknown_or_unreached_teacher_is_named():
    assert any("unknown" in way for way in verdict_of(0.3, 0.3, 0.3, 0.3, teacher=None).would_decide)
    assert any("encoder" in way for way in verdict_of(0.3, 0.3, 0.3, 0.3, teacher=0.9).would_decide)


def test_cautions_on_harmful_help_the_joint_demand_and_headroom():
    assert any("semantic view makes scores worse" in c for c in verdict_of(0.5, 0.2, 0.9, 0.6).cautions)
    assert any("overlap by 0.70" in c for c in verdict_of(0.1, 0.1, 0.1, 0.8).cautions)
    assert any("costs a further 0.50" in c for c in verdict_of(0.1, 0.7, 0.7, 0.8).cautions)
    assert any("explained by neither" in c for c in verdict_of(0.1, 0.3, 0.1, 0.3).cautions)
    assert any("explained by neither" in c for c in verdict_of(0.0, 0.28, 0.28, 0.3).cautions)  # limited jointly
    assert not verdict_of(0.3, 0.6, 0.6, 0.9).cautions


def take_off(rng, size):
    return ((rng.random(size) < 0.3) - 0.3) / np.sqrt(0.21)


@pytest.mark.costly()
@pytest.mark.parametrize(
    ("draw", "spread"),
    [
        (np.random.Generator.standard_normal, (0.05, 0.05, 0.05, 0.05)),
        (take_off, (0.002, 0.002, 0.08, 0.002)),
        (take_off, (0.002, 0.08, 0.002, 0.002)),
    ],
    ids=["normal seeds", "pixels/imitation takes off or not", "semantic/rl takes off or not"],
)
def test_wrong_verdicts_stay_below_5_percent(draw, spread):
    rng = np.random.default_rng(5)
    truths = {
        (0.1, 0.4, 0.1, 0.4): "perception-limited",
        (0.1, 0.14, 0.4, 0.44): "policy-limited",
        (0.8, 0.84, 0.84, 0.88): "not limited",
    }
    for truth, right in truths.items():
        wrong = 0
        for _ in range(400):
            samples = list(np.array(truth)[:, None] + np.array(spread)[:, None] * draw(rng, (4, 3)))
            errors, least = [np.full(3, 0.015)] * 4, least_spreads([cell.mean() for cell in samples])
            careful = intervals_of(samples, errors, least)
            name = classify(verdict_intervals(intervals_of(samples, errors), careful))
            wrong += name not in (right, "inconclusive")
        assert wrong <= 0.05 * 400, (truth, wrong)


def test_seeds_that_agree_are_not_taken_for_as_alike_as_they_look_where_a_demand_is_claimed():
    cells = (0.3, 0.4, 0.3, 0.4)
    agreeing = verdict_of(*cells, spread=0.0)
    assert agreeing.name == "inconclusive"
    assert "could not be chance" in agreeing.reason
    assert "More seeds" in agreeing.would_decide[0]
    asked = int(agreeing.would_decide[0].split("about ")[1].split()[0])
    assert verdict_of(*cells, spread=0.0, seeds=asked).name == "perception-limited"
    assert verdict_of(*cells, spread=0.0, seeds=asked - 1).name == "inconclusive"
    assert verdict_of(0.9, 0.9, 0.9, 0.9, spread=0.0).name == "not limited"  # nothing is claimed to be there


def test_a_learner_at_the_floor_makes_a_demand_floor_limited():
    perceptual = verdict_of(0.0, 0.3, 0.04, 0.6).cautions[0]
    assert perceptual.startswith(
        "pixels/imitation ends at 0.04, below the floor of 0.1: the perceptual demand is floor-limited"
    )
    policy = verdict_of(0.0, -0.02, 0.3, 0.6).cautions[0]
    assert policy.startswith(
        "semantic/rl ends at -0.02, below the floor of 0.1: the policy-learning demand is floor-limited"
    )
    both = verdict_of(0.0, 0.05, 0.04, 0.6).cautions[0]
    assert both.startswith(
        "pixels/imitation ends at 0.04 and semantic/rl ends at 0.05, below the floor of 0.1: both demands are"
    )
    assert not any("floor-limited" in caution for caution in verdict_of(0.0, 0.11, 0.12, 0.6).cautions)
    assert not any("floor-limited" in caution for caution in verdict_of(0.0, 0.01, 0.02, 0.09).cautions)
    assert verdict_of(0.0, 0.05, 0.04, 0.6).reason.endswith("which is larger cannot be told at this budget.")
    assert "policy learning is the larger" in verdict_of(0.0, 0.15, 0.35, 0.6).reason


def ends_of(**changes):
    """Last evaluations of two learners from reward, whose scores on training levels are 0.4 and 0.6, and more."""
    rows = [
        ("semantic", "rl", 0, "training", 0.4), ("semantic", "rl", 1, "training", 0.6),
        ("semantic", "rl", 2, "unseen", 0.9), ("semantic", "imitation", 3, "training", 0.9),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["view", "learning", "seed", "levels", "score"])
    earlier = table.assign(step=0, score=1.0)
    return pd.concat([earlier, table.assign(step=100)]).assign(**{"score_error": 0.03} | changes)


def test_a_learner_that_is_clearly_better_than_its_teacher_is_found():
    assert better_than_teacher(ends_of(), 0.45) == BetterLearner("semantic", 1, 0.6, 0.45)
    errors = ends_of()["seed"].map({0: 0.01, 1: 0.2}).fillna(0.01)  # the best of them may be so by luck
    assert better_than_teacher(ends_of(score_error=errors), 0.2) == BetterLearner("semantic", 0, 0.4, 0.2)


def test_a_verdict_beside_a_worse_teacher_says_so_first():
    better = BetterLearner("pixels", 2, 0.89, 0.0)
    assert "(pixels/rl, seed 2: 0.89 to 0.00 on training levels), so that imitation shows less" in better.meaning
    assert "--teacher" in better.remedy
    for cells, spread in ((0.1, 0.1, 0.1, 0.1), 0.009), ((0.3, 0.4, 0.4, 0.4), 0.1):
        alone, beside = (verdict_of(*cells, spread=spread, teacher=0.0, better=each) for each in (None, better))
        assert beside.name == alone.name == "inconclusive"
        assert beside.reason == f"{better.meaning} {alone.reason}"
        assert beside.would_decide[0] == f"A better teacher: {better.remedy}"
        assert any("this one scores" in way for way in alone.would_decide)
        assert not any("this one scores" in way for way in beside.would_decide)
        assert beside.cautions == alone.cautions
    alone, beside = (verdict_of(0.2, 0.8, 0.2, 0.8, better=each) for each in (None, better))
    assert beside.name == alone.name == "perception-limited"
    assert beside.reason == f"{better.meaning} {alone.reason}"
    assert beside.cautions == (f"A better teacher is there: {better.remedy}", *alone.cautions)
    assert not beside.would_decide


def test_a_student_that_does_not_follow_a_teacher_is_told_whatever_other_teacher_there_is():
    found = verdict_of(0.1, 0.1, 0.1, 0.1, teacher=0.7, better=BetterLearner("pixels", 2, 0.9, 0.7))
    assert any("semantic/imitation ends at 0.10, its teacher scores 0.70" in way for way in found.would_decide)


@pytest.mark.parametrize(
    ("teacher", "changes"), [(0.55, {}), (0.45, {"score_error": 0.1}), (0.1, {"score_error": np.nan}), (None, {})]
)
def test_a_learner_that_may_be_no_better_than_its_teacher_is_not(teacher, changes):
    assert better_than_teacher(ends_of(**changes), teacher) is None
