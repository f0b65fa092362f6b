"""Scenes: their truth by other means than the package's, balance, seeds, pictures, and what shortcuts find in them."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import scene_speed
from running import run_script

from lcd.alignment.probes import accuracy, fit_linear, fit_trees
from lcd.alignment.scenes import BALL, FIGURE, LABELS, OBJECTS, OCCLUDER, draw_fours, draw_scenes, render
from lcd.alignment.scenes.geometry import (
    ball_is_nearer,
    distances,
    eyes,
    observed,
    picture,
    picture_clearance,
    sight,
    sight_clearance,
)
from lcd.alignment.scenes.shortcuts import SHORTCUTS, pooled_label_maps

pytestmark = pytest.mark.costly()

DRAWS = {"scenes": draw_scenes, "fours": draw_fours}
COUNT = 2000


@pytest.fixture(scope="module", params=DRAWS)
def scenes(request):
    return DRAWS[request.param](COUNT, seed=3)


def points_on(centres, radii, count=600):
    """Points spread over spheres (Fibonacci's spiral), shape (n, count, 3)."""
    place = np.arange(count) + 0.5
    up, turn = 1 - 2 * place / count, np.pi * (1 + 5**0.5) * place
    ring = np.sqrt(1 - up**2)
    return centres[:, None] + radii[:, None, None] * np.stack([ring * np.cos(turn), ring * np.sin(turn), up], axis=1)


def share_seen(scenes):
    """Share of the points of the ball's near side from which a walk to the figure's centre meets no occluder."""
    found = []
    for number in range(len(scenes)):
        ball, occluder, eye = scenes.centres[number]
        points = points_on(ball[None], scenes.radii[number, [BALL]], 120)[0]
        facing = ((points - ball) * (eye - points)).sum(axis=1) > 0
        steps = np.linspace(0, 1, 250)[:, None, None]
        walked = points[facing] + steps * (eye - points[facing])
        inside = np.linalg.norm(walked - occluder, axis=2) < scenes.radii[number, OCCLUDER]
        found.append(1 - inside.any(axis=0).mean())
    return np.array(found)


def test_lines_of_sight_are_those_of_a_walk_along_them(scenes):
    """Points of the ball's surface walk to the figure in small steps, without a formula for spheres."""
    seen = share_seen(scenes)
    assert (seen[sight(scenes) > 0] == 1).all()
    assert (seen[sight(scenes) < 0] <= 0.02).all()  # a grazing ray may step over the occluder's rim
    assert ((sight_clearance(scenes) > 0) == (seen > 0.5)).all()


def test_a_ball_that_is_seen_in_part_is_told_from_others():
    scenes = draw_scenes(400, seed=5)
    centres = scenes.centres.copy()
    centres[:, OCCLUDER] = (centres[:, BALL] + centres[:, FIGURE]) / 2
    centres[:, OCCLUDER, 2] += scenes.radii[:, OCCLUDER]  # its rim on the line between the centres
    between = replace(scenes, centres=centres)
    apart = np.linalg.norm(centres[:, BALL] - centres[:, FIGURE], axis=1) > 2.2
    parts = share_seen(between[apart])
    assert apart.sum() > 100
    assert ((parts > 0) & (parts < 1)).mean() > 0.95
    assert (sight(between[apart]) == 0).mean() > 0.95


def test_the_nearer_object_has_the_nearest_point():
    scenes = draw_scenes(COUNT, seed=4)
    eye = eyes(scenes)[:, None]
    nearest = [
        np.linalg.norm(points_on(scenes.centres[:, place], scenes.radii[:, place]) - eye, axis=2).min(axis=1)
        for place in (BALL, OCCLUDER)
    ]
    assert (ball_is_nearer(scenes) == (nearest[0] < nearest[1])).all()
    assert (np.abs(nearest[0] - nearest[1]) > 0.2).all()


def test_answers_are_balanced_also_against_each_other():
    scenes = draw_scenes(COUNT, seed=3)
    nearer, seen = ball_is_nearer(scenes), sight(scenes) > 0
    cells = [((nearer == one) & (seen == other)).sum() for one in (True, False) for other in (True, False)]
    assert cells == [COUNT // 4] * 4
    assert len(np.unique(scenes.groups)) == COUNT
    fours = draw_fours(COUNT, seed=3)
    assert (sight(fours).reshape(-1, 4) == [-1, -1, 1, 1]).all()
    assert (np.bincount(fours.groups) == 4).all()


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_equal_seeds_give_equal_scenes_and_splits_share_none(draw):
    drawn = [
        draw(400, seed=seed, split=split) for seed, split in ((1, "train"), (1, "train"), (2, "train"), (1, "test"))
    ]
    pictures = [render(each) for each in drawn]
    assert all(np.array_equal(*both) for both in zip(pictures[0], pictures[1], strict=True))
    places = [set(map(tuple, each.centres[:, BALL])) for each in drawn]
    assert places[0] == places[1]
    assert not places[0] & places[2]
    assert not places[0] & places[3]


def depth_of_pixels(scenes, size):
    """Distance of each object along each pixel's ray, by the quadratic formula in world coordinates."""
    found = np.full((len(scenes), len(OBJECTS), *size), np.inf)
    side = 2 * np.tan(np.radians(25))
    for number in range(len(scenes)):
        sine, cosine = np.sin(scenes.pitch[number]), np.cos(scenes.pitch[number])
        for row in range(size[0]):
            up = (0.5 - (row + 0.5) / size[0]) * side
            right = ((np.arange(size[1]) + 0.5) / size[1] - 0.5) * side
            rays = np.stack([right, cosine + up * sine + 0 * right, up * cosine - sine + 0 * right], axis=1)
            rays /= np.linalg.norm(rays, axis=1, keepdims=True)
            for place in range(len(OBJECTS)):
                start = np.array([0, 0, scenes.eye_height[number]]) - scenes.centres[number, place]
                half = rays @ start
                under = half**2 - (start @ start - scenes.radii[number, place] ** 2)
                found[number, place, row] = np.where(under > 0, -half - np.sqrt(np.maximum(under, 0)), np.inf)
    return found


def test_each_pixel_shows_the_nearest_object_on_its_ray(scenes):
    places = picture(scenes)
    gap = np.min(
        [
            np.linalg.norm(places[:, one, :2] - places[:, other, :2], axis=1) - places[:, [one, other], 2].sum(axis=1)
            for one, other in combinations(range(3), 2)
        ],
        axis=0,
    )
    few, size = scenes[np.argsort(gap)[:60]], (64, 64)  # those in whose pictures objects overlap the most
    _, labels = render(few, size)
    depth = depth_of_pixels(few, size)
    nearest = np.where(np.isfinite(depth).any(axis=1), depth.argmin(axis=1) + 1, 0)
    lens = (labels == LABELS["figure"]) & (nearest != LABELS["figure"])  # the lens juts out of the figure
    assert ((labels == nearest) | lens).mean() > 0.99999
    assert lens.sum(axis=(1, 2)).max() < 30
    covered = np.isfinite(depth).sum(axis=1) > 1
    assert (labels[covered & ~lens] == nearest[covered & ~lens]).all()  # the nearer covers the farther
    assert (covered.sum() > 300) == (gap.min() < 0)  # nothing is covered in fours


def test_places_in_the_picture_are_those_of_the_pixels(scenes):
    few = scenes[:200]
    _, labels = render(few, (128, 128))
    pixel = 2 * np.tan(np.radians(25)) / 128
    places = picture(few)
    for label, place in ((LABELS["ball"], BALL), (LABELS["occluder"], OCCLUDER)):
        shown = labels == label
        whole = shown.sum(axis=(1, 2)) * pixel**2 > 0.97 * np.pi * places[:, place, 2] ** 2
        rows, columns = (np.array([np.nonzero(each)[axis].mean() for each in shown[whole]]) for axis in (0, 1))
        assert whole.sum() > 50
        assert (columns - 63.5) * pixel == pytest.approx(places[whole, place, 0], abs=0.02)
        assert (63.5 - rows) * pixel == pytest.approx(places[whole, place, 1], abs=0.02)


def test_all_objects_are_seen_by_the_observer(scenes):
    _, labels = render(scenes)
    for label in LABELS.values():
        assert (labels == label).sum(axis=(1, 2)).min() >= 5


def test_shadows_lie_straight_below_their_objects(scenes):
    few = scenes[:100]
    lifted = replace(few, centres=few.centres + np.array([0, 0, 60.0]))  # out of the picture, but for their shadows
    frames, labels = render(lifted)
    assert (labels == LABELS["ground"]).all()
    feet = observed(replace(few, centres=few.centres * [1, 1, 0]))  # points on the ground
    focal = 32 / np.tan(np.radians(25))
    columns, rows = 31.5 + focal * feet[..., 0] / feet[..., 2], 31.5 - focal * feet[..., 1] / feet[..., 2]
    inside = ((columns > 1) & (columns < 62) & (rows > 1) & (rows < 62)).nonzero()
    assert len(inside[0]) > 200
    brightness = frames.sum(axis=-1, dtype=np.int64)
    at_feet = brightness[inside[0], rows[inside].round().astype(int), columns[inside].round().astype(int)]
    assert (at_feet < 0.75 * np.median(brightness, axis=(1, 2))[inside[0]]).all()


def test_the_scenes_of_a_four_look_alike_and_differ_in_depth():
    fours = draw_fours(COUNT, seed=3)
    frames, labels = render(fours)
    frames, labels = frames.reshape(-1, 4, 64, 64, 3), labels.reshape(-1, 4, 64, 64)
    assert (labels[:, 1:] != labels[:, :1]).mean() < 1e-5  # a pixel on an outline, by rounding
    changed = (frames[:, 1:] != frames[:, :1]).any(axis=-1).mean()
    assert 0.005 < changed < 0.06
    outlines = np.column_stack([picture(fours).reshape(COUNT, -1), picture_clearance(fours)]).reshape(-1, 4, 10)
    assert np.ptp(outlines, axis=1).max() < 1e-9
    assert (picture_clearance(fours) < 0).all()
    away = distances(fours).reshape(-1, 4, 3)
    for place, pattern in ((OCCLUDER, [0, 1, 1, 0]), (BALL, [0, 1, 0, 1]), (FIGURE, [0, 1, 0, 1])):
        assert away[:, :, place] == pytest.approx(away[:, pattern, place])  # each depth once with either answer


def learned(fit, compute, answer, draws=("fours", "fours"), count=2000):
    """Accuracy of a classifier of some features of scenes, on other scenes than those it was fitted on."""
    train, test = (
        DRAWS[name](count, seed=6, split=split) for name, split in zip(draws, ("train", "test"), strict=True)
    )
    made = fit(compute(train), answer(train), *([train.groups] if fit is fit_linear else []))
    return accuracy(made.predict(compute(test)) == answer(test))


def is_seen(scenes):
    return sight(scenes) > 0


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("learned_on", DRAWS)
def test_shortcuts_are_at_chance_in_fours_by_construction(shortcut, learned_on):
    """The four scenes have the same features, so a classifier gives one answer to all, and half of them are right."""
    found = learned(fit_trees, SHORTCUTS[shortcut], is_seen, (learned_on, "fours"))
    assert found.share == pytest.approx(0.5, abs=0.005)


def test_the_depth_of_the_occluder_or_of_the_others_alone_tells_nothing_in_fours():
    for which in ([OCCLUDER], [BALL, FIGURE]):
        found = learned(fit_trees, lambda scenes, which=which: np.round(distances(scenes)[:, which], 9), is_seen)
        assert found.share == pytest.approx(0.5, abs=0.02)
    label_maps = learned(fit_linear, lambda scenes: pooled_label_maps(render(scenes)[1]), is_seen, count=800)
    assert label_maps.share == pytest.approx(0.5, abs=0.01)


def test_shortcuts_help_in_scenes_and_the_truth_helps_in_both():
    by_picture = learned(fit_trees, SHORTCUTS["position and size"], is_seen, ("scenes", "scenes"))
    assert by_picture.low > 0.9
    for draws in (("scenes", "scenes"), ("scenes", "fours"), ("fours", "fours")):
        by_truth = learned(fit_trees, lambda scenes: sight_clearance(scenes)[:, None], is_seen, draws)
        assert by_truth.low > 0.98


def test_a_linear_probe_of_the_coordinates_solves_depth_order():
    places = [BALL, OCCLUDER]
    by_coordinates = learned(
        fit_linear, lambda scenes: observed(scenes)[:, places].reshape(-1, 6), ball_is_nearer, ("scenes", "scenes")
    )
    assert by_coordinates.low > 0.95
    assert learned(fit_linear, distances, ball_is_nearer, ("scenes", "scenes")).low > 0.99


def test_pictures_come_in_other_sizes_and_bad_arguments_are_refused():
    frames, labels = render(draw_scenes(4), (48, 80))
    assert (frames.shape, frames.dtype, labels.shape) == ((4, 48, 80, 3), np.uint8, (4, 48, 80))
    assert pooled_label_maps(labels).sum(axis=1) == pytest.approx(16 * 16)
    for refused, sentence in (
        (lambda: draw_scenes(6), "6 scenes cannot be balanced: choose a multiple of 4"),
        (lambda: draw_fours(2), "count must be at least 4"),
        (lambda: draw_scenes(4, split="validation"), "Unknown split 'validation': choose train or test"),
        (lambda: draw_scenes(4, seed=-1), "seed must be at least 0"),
        (lambda: render(draw_scenes(4), (8, 64)), "8 x 64 pixels shows no objects: 16 x 16 is the smallest"),
    ):
        with pytest.raises(ValueError, match=sentence):
            refused()


def test_the_speed_is_measured(tmp_path):
    assert run_script(scene_speed, "--scenes", 64, "--repeats", 1, "--output", tmp_path / "speed.csv") == 0
    lines = (tmp_path / "speed.csv").read_text().splitlines()
    assert lines[0] == "what,scenes_per_second,least,most"
    assert [line.split(",")[0] for line in lines[1:]] == [
        "draw scenes",
        "draw fours",
        "render 64 x 64",
        "render 84 x 84",
    ]
    assert all(float(line.split(",")[1]) > 1 for line in lines[1:])
