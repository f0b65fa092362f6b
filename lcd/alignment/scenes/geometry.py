"""What is true of a scene, from its coordinates: distances, lines of sight, and where objects are in the picture.

Of two disjoint spheres the one with the smaller power of a point, its squared distance less the squared radius, lies in
front for an eye at that point wherever they overlap: the spheres lie on either side of their radical plane, and the eye
on the side of the one with the smaller power (Aurenhammer, 1987, *SIAM Journal on Computing* 16, on power diagrams).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lcd.alignment.scenes.scenes import BALL, FIGURE, OCCLUDER, Floats, Scenes


def eyes(scenes: Scenes) -> Floats:
    """The observer's eye, shape (n, 3)."""
    return np.stack([np.zeros(len(scenes)), np.zeros(len(scenes)), scenes.eye_height], axis=1)


def observer_axes(scenes: Scenes) -> Floats:
    """The observer's own directions right, up and forward as rows of rotation matrices, shape (n, 3, 3)."""
    sine, cosine, none = np.sin(scenes.pitch), np.cos(scenes.pitch), np.zeros(len(scenes))
    rows = [[none + 1, none, none], [none, sine, cosine], [none, cosine, -sine]]
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1)


def observed(scenes: Scenes) -> Floats:
    """Centres in the observer's coordinates: right, up and forward of the eye, shape (n, 3 objects, 3)."""
    return np.einsum("nij,nkj->nki", observer_axes(scenes), scenes.centres - eyes(scenes)[:, None])


def distances(scenes: Scenes) -> Floats:
    """Distance of each object's centre from the observer's eye in metres, shape (n, 3)."""
    return np.linalg.norm(scenes.centres - eyes(scenes)[:, None], axis=2)


def ball_is_nearer(scenes: Scenes) -> NDArray[np.bool_]:
    """Whether the ball is nearer to the observer than the occluder, by their centres, shape (n,)."""
    away = distances(scenes)
    return away[:, BALL] < away[:, OCCLUDER]


def sight(scenes: Scenes) -> NDArray[np.int64]:
    """How much of the ball the figure can see past the occluder.

    Seen from the figure's centre both are discs, of the angular radii β (ball) and α (occluder), at an angle γ. All of
    the ball is seen if γ ≥ α + β or the ball lies in front; none is if γ + β ≤ α and the occluder lies in front.

    Returns
    -------
    numpy.ndarray, shape (n,), int64
        1 where all of the ball is seen, -1 where none is, 0 where a part is.
    """
    from_figure = scenes.centres[:, [BALL, OCCLUDER]] - scenes.centres[:, [FIGURE]]
    radii = scenes.radii[:, [BALL, OCCLUDER]]
    away = np.linalg.norm(from_figure, axis=2)
    ball, occluder = np.arcsin(np.minimum(radii / away, 1)).T
    cosine = (from_figure[:, 0] * from_figure[:, 1]).sum(axis=1) / away.prod(axis=1)
    between = np.arccos(np.clip(cosine, -1, 1))
    power_of_ball, power_of_occluder = (away**2 - radii**2).T
    in_front = power_of_occluder < power_of_ball
    none = in_front & (between + ball <= occluder)
    every = ~in_front | (between >= occluder + ball)
    return every.astype(np.int64) - none


def sight_clearance(scenes: Scenes) -> Floats:
    """Distance of the occluder's surface from the line between the centres of figure and ball, in metres, shape (n,).

    Negative where the occluder cuts the line.
    """
    to_line = _distance_to_segment(scenes.centres[:, OCCLUDER], scenes.centres[:, FIGURE], scenes.centres[:, BALL])
    return to_line - scenes.radii[:, OCCLUDER]


def picture(scenes: Scenes) -> Floats:
    """Place and size of each object in the picture.

    Returns
    -------
    numpy.ndarray, shape (n, 3 objects, 3)
        Distance to the right of the picture's middle and above it, and radius, in focal lengths: tangents of the angles
        from the line of view, and of the angular radius.
    """
    centres = observed(scenes)
    away = np.linalg.norm(centres, axis=2)
    size = scenes.radii / np.sqrt(away**2 - scenes.radii**2)
    return np.concatenate([centres[..., :2] / centres[..., 2:], size[..., None]], axis=2)


def picture_clearance(scenes: Scenes) -> Floats:
    """Distance in the picture of the occluder from the line between figure and ball, in focal lengths, shape (n,).

    Negative where the occluder lies on that line in the picture, at whatever depth.
    """
    places = picture(scenes)
    to_line = _distance_to_segment(places[:, OCCLUDER, :2], places[:, FIGURE, :2], places[:, BALL, :2])
    return to_line - places[:, OCCLUDER, 2]


def _distance_to_segment(points: Floats, starts: Floats, ends: Floats) -> Floats:
    """Distance of points from segments, both of shape (n, dimensions)."""
    along = ends - starts
    share = ((points - starts) * along).sum(axis=1) / (along**2).sum(axis=1)
    nearest = starts + np.clip(share, 0, 1)[:, None] * along
    return np.linalg.norm(points - nearest, axis=1)
