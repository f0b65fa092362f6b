"""Tracker: follow one of many changing things."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from lcd.envs.calibration.adaptors import CalibrationVecEnv
from lcd.envs.calibration.expert import TrackerExpert
from lcd.envs.calibration.options import TrackerOptions
from lcd.envs.calibration.tracker import EPISODE, REACH, STRIDE, Tracker
from lcd.envs.calibration.tracker_drawing import CURSOR_LABEL, TARGET_LABEL, TrackerDrawing

EVERYONE = np.arange(40)


def hues(frames):
    """Hues of everything coloured, as fractions of the circle."""
    coloured = frames.reshape(-1, 3).astype(float)
    coloured = coloured[np.ptp(coloured, axis=1) > 50]
    red, green, blue = coloured.T
    return np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue) / (2 * np.pi) % 1


@pytest.mark.parametrize(
    "settings", [{}, {"distractors": 0}, {"distractors": 15, "shapes": "held-out"}, {"colours": "held-out"}]
)
def test_the_expert_is_always_on_the_target(settings):
    env = CalibrationVecEnv(TrackerOptions(**settings), 40, "semantic", seed=2)
    labels, total, expert = env.reset(), np.zeros(40), TrackerExpert()
    for _ in range(EPISODE):
        labels, rewards, dones, _ = env.step(expert.log_probabilities(torch.as_tensor(labels)).argmax(dim=1).numpy())
        total += rewards
    assert dones.all()
    assert total == pytest.approx(1)


def test_who_stays_where_it_is_loses_the_target():
    tracker = Tracker(3, EVERYONE)
    paid = sum(tracker.step(np.zeros(40, int))[0] for _ in range(EPISODE))
    assert 0.02 < paid.mean() < 0.4


def test_things_move_smoothly_and_slower_than_the_cursor():
    tracker = Tracker(7, EVERYONE)
    places = [tracker.places(EVERYONE)]
    for _ in range(EPISODE):
        tracker.step(np.zeros(40, int))
        places.append(tracker.places(EVERYONE))
    steps = np.diff(places, axis=0)
    assert np.abs(steps).sum(axis=-1).max() < STRIDE
    assert np.abs(np.diff(steps, axis=0)).max() < 0.1
    assert np.ptp(places, axis=0).mean() > 3 * REACH


def test_nothing_but_colour_and_shape_differs_between_seen_and_held_out():
    tracker = Tracker(5, EVERYONE)
    seen, colours, shapes = (
        TrackerDrawing(TrackerOptions(**held_out)) for held_out in ({}, {"colours": "held-out"}, {"shapes": "held-out"})
    )
    assert np.array_equal(seen.labels(tracker, EVERYONE), colours.labels(tracker, EVERYONE))
    assert hues(seen.frames(tracker, EVERYONE)).max() < 0.48 < hues(colours.frames(tracker, EVERYONE)).min()
    of_target = [(drawing.labels(tracker, EVERYONE) == TARGET_LABEL).sum() for drawing in (seen, shapes)]
    assert of_target[0] > 1.5 * of_target[1]  # stars cover less than discs and squares


def test_textures_change_frames_and_nothing_else():
    tracker = Tracker(5, EVERYONE)
    plain, seen, held_out = (
        TrackerDrawing(TrackerOptions(textures=name)).both(tracker, EVERYONE) for name in ("plain", "seen", "held-out")
    )
    assert np.array_equal(plain[1], seen[1])
    assert np.array_equal(plain[1], held_out[1])
    frames = plain[0], seen[0], held_out[0]
    darker = [(plain[0] != other[0]).any(axis=-1).mean() for other in (seen, held_out)]
    assert darker[0] == pytest.approx(darker[1], rel=0.1)
    assert darker[0] > 0.02
    assert (frames[0] >= np.maximum(frames[1], frames[2])).all()
    assert not np.array_equal(frames[1], frames[2])


def test_plain_textures_leave_names_and_records_as_they_were():
    assert TrackerOptions().label == "tracker"
    assert "textures" not in TrackerOptions().as_record()["dials"]
    assert TrackerOptions(textures="seen").label == "tracker-texturesseen"
    assert TrackerOptions(textures="seen").as_record()["dials"]["textures"] == "seen"


@pytest.mark.parametrize(("change", "alike"), [(0.0, True), (1.0, False)])
def test_change_is_of_colour_and_shape_over_an_episode(change, alike):
    tracker, drawing = Tracker(0, EVERYONE), TrackerDrawing(TrackerOptions(0, change))
    before = [np.unique(frame.reshape(-1, 3), axis=0) for frame in drawing.frames(tracker, EVERYONE)]
    for _ in range(EPISODE // 2):
        tracker.step(np.zeros(40, int))
    after = [np.unique(frame.reshape(-1, 3), axis=0) for frame in drawing.frames(tracker, EVERYONE)]
    same = [np.array_equal(one, other) for one, other in zip(before, after, strict=True)]
    assert np.mean(same) == 1 if alike else np.mean(same) < 0.2


def test_the_target_is_never_hidden():
    tracker = Tracker(15, EVERYONE)
    alone = Tracker(0, EVERYONE)
    options = TrackerOptions(15)
    crowd, single = TrackerDrawing(options), TrackerDrawing(options)
    for _ in range(20):
        labels = crowd.labels(tracker, EVERYONE)
        assert np.array_equal(labels == TARGET_LABEL, single.labels(alone, EVERYONE) == TARGET_LABEL)
        assert (labels == CURSOR_LABEL).any(axis=(1, 2)).all()
        for rules in (tracker, alone):
            rules.step(np.full(40, 2))


@pytest.mark.filterwarnings("ignore")
def test_it_passes_gymnasiums_checker():
    check_env(gymnasium.make("lcd/Tracker-v0", render_mode="rgb_array", distractors=3, colours="held-out").unwrapped)


@pytest.mark.parametrize(
    "settings",
    [
        {"distractors": 16},
        {"distractors": 2.5},
        {"change": 1.2},
        {"colours": "red"},
        {"shapes": ""},
        {"textures": "fur"},
    ],
)
def test_impossible_settings_are_one_clear_sentence(settings):
    with pytest.raises(ValueError, match=r"^[^\n]{20,100}\.$"):
        TrackerOptions(**settings)
