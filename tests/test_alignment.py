"""Importance maps, their agreement with references, revealing, attacks and invariance, on cases with known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import pairwise_distances

from lcd.agents import EncoderPolicy
from lcd.alignment.agreement import MEASURES, Agreement, agreement, agreement_table, ceiling
from lcd.alignment.importance import METHODS, importance_maps, of_classes, policy_scores
from lcd.alignment.invariance import invariance, redrawn_frames
from lcd.alignment.revealing import area, revealed, revealing_curve
from lcd.alignment.robustness import smallest_perturbation
from lcd.envs import ProcgenOptions, ProcgenVecEnv

SIZE = 32
PLACE = (slice(8, 16), slice(16, 24))
"""The only pixels that the judge below reads."""


def judge(images):
    """Two classes: whether a square of the image is brighter than it is dark."""
    brightness = images[:, :, PLACE[0], PLACE[1]].mean((1, 2, 3)) - 0.5
    return torch.stack([-10 * brightness, 10 * brightness], dim=1)


def true_importance():
    map_ = np.zeros((SIZE, SIZE))
    map_[PLACE] = 1
    return map_


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_highest_where_the_decision_is_made(method):
    torch.manual_seed(0)
    images = torch.rand(4, 3, SIZE, SIZE)
    maps = importance_maps(judge, images, method=method)
    assert maps.shape == (4, SIZE, SIZE)
    assert not maps.requires_grad
    assert (maps >= 0).all()
    here = torch.from_numpy(true_importance() > 0)
    assert (maps[:, here].mean(1) > 4 * maps[:, ~here].mean(1)).all()
    assert torch.equal(maps, importance_maps(judge, images, method=method))


@pytest.mark.parametrize("method", METHODS)
def test_the_map_of_an_image_does_not_depend_on_the_images_beside_it(method):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIZE**2, 20), torch.nn.Tanh())
    images, targets = torch.rand(4, 3, SIZE, SIZE), torch.zeros(4, dtype=torch.int64)
    together = importance_maps(network, images, targets, method)
    alone = importance_maps(network, images[2:3], targets[2:3], method)
    assert torch.allclose(together[2:3], alone, atol=1e-4 * float(alone.max()))


def test_gradient_and_integrated_gradients_of_a_linear_judge_are_known():
    images = torch.rand(2, 3, SIZE, SIZE)
    bright = torch.ones(2, dtype=torch.int64)
    weight = 10 / (3 * 64)
    assert importance_maps(judge, images, bright)[:, PLACE[0], PLACE[1]].numpy() == pytest.approx(weight)
    integrated = importance_maps(judge, images, bright, "integrated-gradients")[:, PLACE[0], PLACE[1]]
    expected = (weight * images.sum(1))[:, PLACE[0], PLACE[1]]
    assert integrated.numpy() == pytest.approx(expected.numpy(), rel=1e-4)


def test_maps_are_taken_of_policies_that_see_frames():
    env = ProcgenVecEnv(ProcgenOptions("maze"), 2)
    space = env.observation_space
    frames = torch.from_numpy(env.reset()).permute(0, 3, 1, 2).float() / 255
    shape = type(space)(0, 255, (3, 64, 64), np.uint8)
    policy = EncoderPolicy(shape, env.action_space, lambda _: 0.0, "nature")
    torch.nn.init.normal_(policy.value_net.weight)
    env.close()
    for of, outputs in (("action", 15), ("value", 1)):
        scores = policy_scores(policy, of)
        assert scores(frames).shape == (2, outputs)
        maps = importance_maps(scores, frames, torch.zeros(2, dtype=torch.int64))
        assert maps.sum() > 0
    labels = EncoderPolicy(type(space)(0, 64, (64, 64), np.uint8), env.action_space, lambda _: 0.0, "nature")
    with pytest.raises(ValueError, match="this one takes label maps"):
        policy_scores(labels)
    with pytest.raises(ValueError, match="Unknown method 'grad'"):
        importance_maps(judge, torch.rand(1, 3, SIZE, SIZE), method="grad")


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_are_1_for_the_same_map_and_low_for_another(measure):
    random = np.random.default_rng(0)
    maps = random.random((5, 20, 20))
    assert agreement(maps, 3 * maps + 1, measure) == pytest.approx(1)
    assert agreement(maps, random.random((5, 20, 20)), measure).mean() < 0.2
    assert agreement(maps, 1 - maps, measure).max() <= (-0.99 if measure == "spearman" else 0)
    constant = np.ones((1, 20, 20))
    assert np.isnan(agreement(constant, maps[:1], measure)).all()


def test_dice_and_iou_of_half_overlapping_tops():
    one, other = np.zeros((2, 1, 10, 10))
    one[0, 0], other[0, 0, 5:], other[0, 1, :5] = 1, 1, 1
    one, other = one + 1e-3 * np.arange(100).reshape(1, 10, 10) / 100, other
    assert agreement(one, other, "dice")[0] == pytest.approx(0.5)
    assert agreement(one, other, "iou")[0] == pytest.approx(1 / 3)


@pytest.mark.parametrize("measure", ["dice", "iou"])
def test_masks_agree_with_themselves_however_large_they_are(measure):
    mask = np.zeros((1, 10, 10))
    mask[0, :5, :5] = 1
    assert agreement(mask, mask, measure)[0] == 1
    assert agreement(mask, mask[:, ::-1], measure)[0] == 0


def test_undefined_agreement_is_counted_and_never_averaged():
    summary = Agreement.of([0.5, np.nan, 0.7])
    assert (summary.mean, summary.images, summary.undefined) == (pytest.approx(0.6), 3, 1)
    assert np.isnan(Agreement.of([np.nan]).mean)
    assert np.isnan(Agreement.of([0.5]).low)


@pytest.mark.parametrize("copies", [1, 2, 8])
def test_copies_of_an_image_tell_nothing_new(copies):
    values = np.array([0.1, 0.4, np.nan, 0.6, 0.2, 0.9])
    once = Agreement.of(values)
    half = stats.t.ppf(0.975, 4) * stats.sem(values, nan_policy="omit")
    assert (once.low, once.high) == (pytest.approx(once.mean - half), pytest.approx(once.mean + half))
    repeated = Agreement.of(np.tile(values, copies), np.tile([3, 1, 0, 2, 7, 5], copies))
    assert (repeated.mean, repeated.low) == (pytest.approx(once.mean), pytest.approx(once.low))
    assert repeated.undefined == copies


def test_limits_over_groups_hold_the_truth_as_often_as_they_say():
    """Clusters of 8 frames of 16 games, half of the variance between games, true mean 0."""
    random = np.random.default_rng(0)
    groups = np.tile(np.arange(16), 8)
    covered = {"grouped": 0, "plain": 0}
    for _ in range(1000):
        values = random.normal(size=128) + random.normal(size=16)[groups]
        for name, of in (("grouped", groups), ("plain", None)):
            found = Agreement.of(values, of)
            covered[name] += found.low < 0 < found.high
    assert covered["grouped"] == pytest.approx(950, abs=25)
    assert covered["plain"] < 750


def test_the_ceiling_is_what_the_sources_share():
    random = np.random.default_rng(0)
    signal, noise = random.standard_normal((2, 1, 30, 30)), random.standard_normal((2, 10, 30, 30))
    clear, blurred, nothing = (
        ceiling(signal + share * noise).mean() if share < 100 else ceiling(noise).mean() for share in (0.1, 1, 100)
    )
    assert clear > 0.97 > blurred > 0.7 > 0.1 > abs(nothing)
    blank = np.where(np.arange(4)[:, None, None] < 2, 0.0, signal + noise[:, :4])  # two of four people saw nothing
    assert np.isfinite(ceiling(blank)).all()
    with pytest.raises(ValueError, match="two sources or more"):
        ceiling(noise[:, :1])


def test_the_table_holds_every_method_against_the_ceiling():
    random = np.random.default_rng(0)
    reference = random.random((3, 16, 16))
    table = agreement_table({"same": reference, "other": random.random((3, 16, 16))}, reference, {"spearman": 0.5})
    same = table.set_index(["method", "measure"]).loc[("same", "spearman")]
    assert tuple(same[["mean", "share", "images", "undefined"]]) == pytest.approx((1, 2, 3, 0))
    assert table.loc[table["measure"] != "spearman", "share"].isna().all()


@pytest.mark.parametrize(
    ("maps", "references", "measure", "sentence"),
    [
        (np.ones((2, 4, 4)), np.ones((3, 4, 4)), "dice", "cannot be compared with"),
        (np.ones((2, 4, 4)), np.ones((2, 4, 5)), "dice", "cannot be compared with"),
        (np.full((1, 4, 4), np.nan), np.ones((1, 4, 4)), "dice", "A map holds a value that is not finite"),
        (np.ones((1, 4, 4)), np.ones((1, 4, 4)), "auc", "Unknown measure 'auc'"),
    ],
)
def test_maps_that_do_not_fit_are_clear_errors(maps, references, measure, sentence):
    with pytest.raises(ValueError, match=sentence):
        agreement(maps, references, measure)


def test_revealing_brings_the_decision_back_and_hiding_takes_it_away():
    torch.manual_seed(0)
    images = torch.rand(64, 3, SIZE, SIZE) * 0.4
    bright = torch.arange(64) % 2 == 0
    images[bright, :, PLACE[0], PLACE[1]] += 0.6
    good = torch.from_numpy(true_importance())[None].expand(64, -1, -1)
    random = torch.rand(64, SIZE, SIZE)
    curves = {
        (name, hide): revealing_curve(judge, images, maps, hide=hide)
        for name, maps in (("good", good), ("random", random))
        for hide in (False, True)
    }
    for (_, hide), curve in curves.items():
        assert curve["same"].iloc[0 if hide else -1] == 1
    assert area(curves["good", False]) > area(curves["random", False])
    assert area(curves["good", True]) < area(curves["random", True])
    assert area(curves["random", False], "same") == pytest.approx(
        area(revealing_curve(judge, images, torch.zeros_like(random)), "same"), abs=0.1
    )  # among equal pixels chance decides
    for maps in (good[:1], good[:, :16]):
        with pytest.raises(ValueError, match="do not fit maps of shape"):
            revealing_curve(judge, images, maps)
    half = revealed(images[:1], good[:1], 64 / SIZE**2)
    assert torch.equal(half[0, :, PLACE[0], PLACE[1]], images[0, :, PLACE[0], PLACE[1]])
    assert torch.allclose(half[0, :, 0, 0], images[0].mean((1, 2)))


def test_the_smallest_perturbation_of_a_linear_judge_is_the_distance_to_its_boundary():
    torch.manual_seed(0)
    images = 0.3 + 0.4 * torch.rand(6, 3, SIZE, SIZE)
    margin = (images[:, :, PLACE[0], PLACE[1]].mean((1, 2, 3)) - 0.5).abs()
    attack = smallest_perturbation(judge, images, largest=8.0)
    distance = margin * (3 * 64) ** 0.5
    assert attack.sizes.numpy() == pytest.approx(distance.numpy(), rel=0.02)
    changed = judge(images + attack.perturbations).argmax(1)
    assert (changed != judge(images).argmax(1)).all()
    outside = attack.maps.clone()
    outside[:, PLACE[0], PLACE[1]] = 0
    assert outside.abs().max() < 1e-6
    none = smallest_perturbation(lambda images: judge(images) * 0 + torch.tensor([1.0, 0.0]), images, largest=1.0)
    assert torch.isinf(none.sizes).all()
    assert (none.perturbations == 0).all()


def test_a_perturbation_that_exchanges_actions_that_do_the_same_changes_no_decision():
    torch.manual_seed(0)
    images = 0.3 + 0.4 * torch.rand(6, 3, SIZE, SIZE)
    images[:, :, PLACE[0], PLACE[1]] = (images[:, :, PLACE[0], PLACE[1]] + 0.2).clamp(max=1)

    def actions(images):  # the last one does what the second one does, and one pixel decides between them
        own = judge(images)
        return torch.cat([own, own[:, 1:] + 0.5 * (images[:, :1, 0, 0] - 0.5)], dim=1).log_softmax(dim=1)

    moves = of_classes(actions, ((0,), (1, 2)))
    single, classes = smallest_perturbation(actions, images), smallest_perturbation(moves, images)
    assert (moves(images + single.perturbations).argmax(1) == moves(images).argmax(1)).all()
    assert (moves(images + classes.perturbations).argmax(1) != moves(images).argmax(1)).all()
    assert (classes.sizes > 2 * single.sizes).all()
    assert torch.allclose(moves(images).exp().sum(1), torch.ones(6))


def test_a_change_that_a_long_step_leaps_over_is_found_with_short_ones():
    def banded(images):  # another class in a narrow band of brightness only
        brightness = images.mean((1, 2, 3))
        return torch.stack([torch.zeros(len(images)), 0.01 - (brightness - 0.52).abs()], dim=1)

    attack = smallest_perturbation(banded, torch.full((1, 3, SIZE, SIZE), 0.5))
    assert float(attack.sizes[0]) == pytest.approx(0.01 * (3 * SIZE**2) ** 0.5, rel=0.05)


def test_states_that_are_drawn_alike_say_nothing_of_invariance():
    random = np.random.default_rng(0)
    frames = random.integers(0, 255, (3, 6, 4, 4, 3)).astype(np.uint8)
    frames[1] = frames[0]
    frames[2, :4] = frames[0, :4]
    same, some = invariance(lambda images: images.float(), frames)
    assert (same.states, some.states) == (0, 2)
    assert np.isnan([same.found, same.ratio]).all()
    assert np.isfinite([some.found, some.ratio]).all()
    alone = frames.reshape(3, 6, -1)
    distances = pairwise_distances(alone[2, 4:], alone[0])
    assert some.found == np.mean(distances.argmin(axis=1) == [4, 5])
    assert some.ratio == pytest.approx(
        distances[[0, 1], [4, 5]].mean() / pairwise_distances(alone[0])[~np.eye(6, dtype=bool)].mean(), rel=1e-5
    )
    constant = invariance(lambda images: torch.zeros(6, 1), frames)[1]
    assert constant.found == pytest.approx(1 / 6)
    assert np.isnan(constant.ratio)


def test_appearances_of_a_state_are_redrawn_and_distinct_from_other_states():
    frames = redrawn_frames(
        options := ProcgenOptions("coinrun"),
        {
            "no-backgrounds": replace(options, use_backgrounds=False),
            "monochrome": replace(options, use_monochrome_assets=True),
        },
        24,
        num_envs=8,
    )
    assert frames.shape == (3, 24, 64, 64, 3)
    assert not np.array_equal(frames[0], frames[1])
    perfect, constant = (
        invariance(lambda images: torch.arange(24.0)[:, None], frames),
        invariance(lambda images: torch.zeros(24, 1), frames),
    )
    assert [(each.found, each.ratio) for each in perfect] == [(1, 0), (1, 0)]
    assert [each.found for each in constant] == pytest.approx([1 / 24] * 2)
    pixels = invariance(lambda images: images.float(), frames)
    assert all(1 / 24 <= each.found <= 1 and each.ratio > 0 for each in pixels)
