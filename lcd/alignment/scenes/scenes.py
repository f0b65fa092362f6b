"""What a scene consists of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import Self

Floats = NDArray[np.float64]

BALL, OCCLUDER, FIGURE = range(3)
"""Places of the objects in the arrays of `Scenes`."""

OBJECTS = ("ball", "occluder", "figure")
"""Names of the objects, in this order: red, blue and green."""

LENS_PLACE, LENS_SIZE = 0.75, 0.5
"""Distance of the lens from the figure's centre, towards the ball, and its radius, in radii of the figure."""

EXTENT = np.array([1.0, 1.0, LENS_PLACE + LENS_SIZE])
"""Radius of each object with all its parts, in its radii."""


@dataclass(frozen=True, eq=False)
class Scenes:
    """Scenes of three spheres above a ground plane, with the observer who looks at them.

    Coordinates are in metres: right, forward and up, the ground at 0; the observer's eye is above the origin and looks
    forward and down. The figure is a camera: its lens points at the ball, and its own eye is its centre. The light
    comes from straight above.

    Attributes
    ----------
    centres : numpy.ndarray, shape (n, 3, 3)
        Centre of each object of each scene; the objects are those of `OBJECTS`.
    radii : numpy.ndarray, shape (n, 3)
        Radius of each object.
    eye_height : numpy.ndarray, shape (n,)
        Height of the observer's eye.
    pitch : numpy.ndarray, shape (n,)
        Angle by which the observer looks down, in radians.
    brightness : numpy.ndarray, shape (n, 3)
        Brightness of each object's colour, from 0 to 1.
    ground : numpy.ndarray, shape (n, 5)
        Chequers of the ground: brightness, contrast, side of a square in metres, and shifts to the right and forward.
    groups : numpy.ndarray, shape (n,), int64
        Scenes with the same number are dependent: the four of `lcd.alignment.scenes.draw_fours`.
    """

    centres: Floats
    radii: Floats
    eye_height: Floats
    pitch: Floats
    brightness: Floats
    ground: Floats
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, which: Any) -> Self:
        """Some of the scenes, by a slice, a mask or an array of places."""
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))

    @classmethod
    def joined(cls, *parts: Scenes) -> Scenes:
        """Several lots of scenes, one after the other."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))
