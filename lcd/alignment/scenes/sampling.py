"""Random scenes with balanced answers, and scenes in fours that look alike and differ in depth alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lcd.alignment.scenes.geometry import ball_is_nearer, distances, eyes, picture, picture_clearance, sight
from lcd.alignment.scenes.scenes import BALL, EXTENT, FIGURE, OCCLUDER, Floats, Scenes
from lcd.io.limits import LARGEST_SEED, MOST_IMAGES, whole_number

Split = Literal["train", "test"]

FIELD_OF_VIEW = np.radians(50)
"""Angle between the edges of the picture, whose smaller side it is."""

NEAREST, FARTHEST, ASIDE = 3.5, 9.0, 2.8
"""Limits in metres of the centres' places forward, and to either side."""

SMALLEST, LARGEST = np.array([0.18, 0.3, 0.18]), np.array([0.6, 1.1, 0.6])
"""Limits in metres of the radius of each object."""

MOST_MOVED = np.log(1.8)
"""Largest logarithm of the factor by which distances differ within a four."""

DEPTH_MARGIN = 0.25
"""Distance in metres between the nearest points of ball and occluder, and between their centres, at least."""

GAP = 0.04
"""Gap in the picture between the occluder and the others of a four in focal lengths, at least: 2.7 of 64 pixels."""

PROPOSALS = 8_192
"""Scenes that are proposed at a time."""

MOST_BATCHES = 2_000
"""Batches of proposals after which drawing is given up: hundreds of times as many as are needed."""

_STREAMS = {("scenes", "train"): 0, ("scenes", "test"): 1, ("fours", "train"): 2, ("fours", "test"): 3}
_PAIRS = {(0, 1), (0, 2), (1, 2)}


def draw_scenes(count: int, *, seed: int = 0, split: Split = "train") -> Scenes:
    """Draw independent scenes in which depth order and line of sight are balanced, also against each other.

    The figure sees either all of the ball or none of it, nothing covers the middle of another object in the picture,
    and all objects are inside it. In half of the proposals the occluder is near the line of sight.

    Parameters
    ----------
    count : int
        Number of scenes: a multiple of 4, one quarter for each combination of the two answers.
    seed : int
        Seed; equal seeds give equal scenes.
    split : {"train", "test"}
        The scenes of two splits come from independent random streams.

    Returns
    -------
    Scenes
        In random order.

    Raises
    ------
    ValueError
        If the number is no multiple of 4.
    """
    _check(count, seed, split)
    random = np.random.default_rng((seed, _STREAMS["scenes", split]))
    found: list[list[Scenes]] = [[], [], [], []]
    for _ in range(MOST_BATCHES):
        scenes = _proposals(random)
        scenes = scenes[_is_valid(scenes) & _is_ordered(scenes) & (sight(scenes) != 0)]
        answers = 2 * ball_is_nearer(scenes) + (sight(scenes) > 0)
        for answer, kept in enumerate(found):
            kept.append(scenes[answers == answer])
        if all(sum(map(len, kept)) >= count // 4 for kept in found):
            break
    drawn = Scenes.joined(*(Scenes.joined(*kept)[: count // 4] for kept in found))
    return replace(drawn[random.permutation(count)], groups=np.arange(count))


def draw_fours(count: int, *, seed: int = 0, split: Split = "train") -> Scenes:
    """Draw scenes in fours, in which all objects have the same outlines in the picture and the line of sight differs.

    In the picture the occluder is always on the line between figure and ball, clear of both. Moving an object along the
    observer's line of view and scaling it with its distance leaves its outline as it is. In the first scene of a four
    the occluder hides the ball from the figure; in the second all three objects are moved by one factor, which leaves
    it hidden; in the third the occluder alone is moved, in the fourth the other two, and the figure sees the ball past
    it. Neither the occluder's depth alone, nor that of the others, tells the answer: each occurs once with either.
    What tells the depths are the shadows.

    Parameters
    ----------
    count : int
        Number of scenes, four times that of fours.
    seed, split
        As in `draw_scenes`.

    Returns
    -------
    Scenes
        The four of a group follow each other, in this order.

    Raises
    ------
    ValueError
        If the number is no multiple of 4.
    """
    _check(count, seed, split)
    random = np.random.default_rng((seed, _STREAMS["fours", split]))
    found: list[list[Scenes]] = [[], [], [], []]
    for _ in range(MOST_BATCHES):
        first = _proposals(random, near_line=1.0)
        first = first[_is_valid(first) & (sight(first) < 0) & _is_clear(first)]
        factors = np.exp(random.uniform(-MOST_MOVED, MOST_MOVED, len(first)))
        four = [first, *(_moved(first, factors, which) for which in (slice(None), [OCCLUDER], [BALL, FIGURE]))]
        fits = np.all([_is_valid(each) for each in four], axis=0)
        fits &= (sight(four[2]) > 0) & (sight(four[3]) > 0)
        for scenes, kept in zip(four, found, strict=True):
            kept.append(scenes[fits])
        if sum(map(len, found[0])) >= count // 4:
            break
    drawn = Scenes.joined(*(Scenes.joined(*kept)[: count // 4] for kept in found))
    order = np.arange(count).reshape(4, -1).T.ravel()
    return replace(drawn[order], groups=np.arange(count) // 4)


def _check(count: int, seed: int, split: str) -> None:
    whole_number("count", count, 4, MOST_IMAGES)
    whole_number("seed", seed, 0, LARGEST_SEED)
    if split not in ("train", "test"):
        raise ValueError(f"Unknown split {split!r}: choose train or test.")
    if count % 4:
        raise ValueError(f"{count} scenes cannot be balanced: choose a multiple of 4.")


def _proposals(random: np.random.Generator, near_line: float = 0.5) -> Scenes:
    """Random scenes, valid or not; in a share of them the occluder is near the line of sight."""
    count = PROPOSALS
    radii = random.uniform((0.25, 0.4, 0.25), (0.4, 0.9, 0.4), (count, 3))
    ball, occluder, figure = (_places(random, radii[:, place]) for place in (BALL, OCCLUDER, FIGURE))
    share = random.uniform(0.2, 0.8, (count, 1))
    beside = random.normal(0, 0.4, (count, 3))
    on_line = figure + share * (ball - figure) + beside
    occluder = np.where(random.random((count, 1)) < near_line, on_line, occluder)
    return Scenes(
        centres=np.stack([ball, occluder, figure], axis=1),
        radii=radii,
        eye_height=random.uniform(3.6, 4.4, count),
        pitch=np.radians(random.uniform(32, 37, count)),
        brightness=random.uniform(0.75, 1.0, (count, 3)),
        ground=random.uniform((0.5, 0.1, 0.5, 0, 0), (0.85, 0.3, 1.5, 2, 2), (count, 5)),
        groups=np.arange(count),
    )


def _places(random: np.random.Generator, radii: Floats) -> Floats:
    """Random centres of spheres above the ground, shape (n, 3)."""
    aside = random.uniform(-ASIDE, ASIDE, len(radii))
    forward = random.uniform(NEAREST, FARTHEST, len(radii))
    return np.stack([aside, forward, radii + random.uniform(0, 1.4, len(radii))], axis=1)


def _moved(scenes: Scenes, factors: Floats, which: slice | list[int]) -> Scenes:
    """The same scenes with some objects at other distances, and of such sizes that they look equally large."""
    eye = eyes(scenes)[:, None]
    centres, radii = scenes.centres.copy(), scenes.radii.copy()
    centres[:, which] = eye + factors[:, None, None] * (centres[:, which] - eye)
    radii[:, which] *= factors[:, None]
    return replace(scenes, centres=centres, radii=radii)


def _is_valid(scenes: Scenes) -> NDArray[np.bool_]:
    """Whether objects are above the ground, apart, in the picture and not covered."""
    extent = scenes.radii * EXTENT
    forward = scenes.centres[..., 1]
    valid = (scenes.centres[..., 2] >= extent).all(axis=1)
    valid &= ((forward >= NEAREST - 0.5) & (forward <= FARTHEST + 0.5)).all(axis=1)
    valid &= ((scenes.radii >= SMALLEST) & (scenes.radii <= LARGEST)).all(axis=1)
    places = picture(scenes)
    sizes = places[..., 2] * EXTENT
    edge = np.tan(FIELD_OF_VIEW / 2)
    valid &= (np.abs(places[..., :2]).max(axis=2) + 1.1 * sizes < edge).all(axis=1)  # off the middle discs are wider
    for one, other in _PAIRS:
        apart = np.linalg.norm(scenes.centres[:, one] - scenes.centres[:, other], axis=1)
        valid &= apart > extent[:, one] + extent[:, other] + 0.05
        in_picture = np.linalg.norm(places[:, one, :2] - places[:, other, :2], axis=1)
        valid &= in_picture > np.maximum(sizes[:, one], sizes[:, other]) + 0.02
    return valid


def _is_ordered(scenes: Scenes) -> NDArray[np.bool_]:
    """Whether one of ball and occluder is clearly nearer, by its centre and by its nearest point."""
    away = distances(scenes)
    difference = np.abs(away[:, BALL] - away[:, OCCLUDER])
    return difference >= np.abs(scenes.radii[:, BALL] - scenes.radii[:, OCCLUDER]) + DEPTH_MARGIN


def _is_clear(scenes: Scenes) -> NDArray[np.bool_]:
    """Whether the occluder is on the line between figure and ball in the picture, and clear of both."""
    places = picture(scenes)
    clear = picture_clearance(scenes) < 0
    for other in (BALL, FIGURE):
        in_picture = np.linalg.norm(places[:, OCCLUDER, :2] - places[:, other, :2], axis=1)
        sizes = places[..., 2] * EXTENT
        clear &= in_picture > 1.1 * (sizes[:, OCCLUDER] + sizes[:, other]) + GAP
    return clear
