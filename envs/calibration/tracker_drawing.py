"""Rendering of Tracker, as frames and as label maps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcd.envs.calibration.courier_drawing import bright_colours
from lcd.envs.calibration.options import TrackerOptions
from lcd.envs.calibration.tracker import SIDE, Tracker

GROUND_LABEL, CURSOR_LABEL, TARGET_LABEL, DISTRACTOR_LABEL = 0, 1, 2, 3
LABEL_NAMES = {
    GROUND_LABEL: "ground",
    CURSOR_LABEL: "cursor",
    TARGET_LABEL: "target",
    DISTRACTOR_LABEL: "distractor",
}

_HALF = 6
"""Pixels from the centre of an object, or of the cursor, to its farthest edge."""

_GROUND, _CURSOR = 48, 235
_HUES = {"seen": (0.0, 0.45), "held-out": (0.5, 0.95)}
_EXPONENTS = {"seen": (1.6, 8.0), "held-out": (0.55, 0.9)}
"""Range of hues, and of the exponents of superellipses: round to square for seen shapes, concave stars for held-out
ones."""

_TEXTURES = {"seen": lambda row, column: row // 2 % 2, "held-out": lambda row, column: (row // 2 + column // 2) % 2}
"""Where an object is dark, by rows and columns from the corner of its square: stripes, and a chequered pattern."""

_ALONG = np.arange(-_HALF, _HALF + 1, dtype=np.float32)
_STAMP = SIDE * np.arange(2 * _HALF + 1)[:, None] + np.arange(2 * _HALF + 1)
_RADII = (3.6, 5.6)


class _Stamp(NamedTuple):
    """Pixels of one object in all games.

    Attributes
    ----------
    pixels : numpy.ndarray, shape (total,)
        Their numbers in the games' pictures, laid one after the other.
    counts : numpy.ndarray, shape (n,)
        How many of them each game has.
    dark : numpy.ndarray, shape (total,), bool
        Where the texture is dark; None without one.
    """

    pixels: NDArray[np.int64]
    counts: NDArray[np.int64]
    dark: NDArray[np.bool_] | None


class TrackerDrawing:
    """Renders games of Tracker.

    Parameters
    ----------
    options
        How far objects change, and their colours, shapes and textures.
    """

    def __init__(self, options: TrackerOptions) -> None:
        self._change = options.change
        self._hues, self._exponents = _HUES[options.colours], _EXPONENTS[options.shapes]
        side = np.arange(2 * _HALF + 1)
        self._dark = None
        if options.textures != "plain":
            self._dark = _TEXTURES[options.textures](side[:, None], side).astype(bool)
            self._dark = np.broadcast_to(self._dark, (len(side), len(side)))

    def frames(self, tracker: Tracker, games: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames of some of the games, shape (n, 64, 64, 3)."""
        return self._painted(self._stamps(tracker, games), tracker, games)

    def labels(self, tracker: Tracker, games: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Label maps of some of the games, shape (n, 64, 64); `LABEL_NAMES` says what the labels mean."""
        return self._mapped(self._stamps(tracker, games), tracker, games)

    def both(self, tracker: Tracker, games: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Frames and label maps of some of the games, faster than one after the other."""
        stamps = self._stamps(tracker, games)
        return self._painted(stamps, tracker, games), self._mapped(stamps, tracker, games)

    def objects(self, tracker: Tracker, games: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Which object each pixel shows in some of the games, without the cursor.

        Returns
        -------
        numpy.ndarray, shape (n, 64, 64), uint8
            0 for the ground, 1 for the target, and from 2 for the distractors.
        """
        shown = np.zeros((len(games), SIDE, SIDE), np.uint8)
        for place, stamp in enumerate(self._stamps(tracker, games)):
            shown.reshape(-1)[stamp.pixels] = tracker.things - place
        return shown

    def _painted(self, stamps: list[_Stamp], tracker: Tracker, games: NDArray[np.int64]) -> NDArray[np.uint8]:
        hues = self._within(*self._hues, "hue", tracker, games)[:, ::-1].T
        colours = _as_pixels(bright_colours())[(256 * hues).astype(np.int64) & 255]
        frames = np.full((len(games), SIDE, SIDE, 3), _GROUND, np.uint8)
        pixels = _as_pixels(frames)
        for stamp, of_thing in zip(stamps, colours, strict=True):
            painted = of_thing.repeat(stamp.counts)
            if stamp.dark is not None:
                painted.view(np.uint8).reshape(-1, 3)[stamp.dark] //= 2
            pixels[stamp.pixels] = painted
        self._draw_cursor(frames, tracker.cursor[games], _CURSOR)
        return frames

    def _mapped(self, stamps: list[_Stamp], tracker: Tracker, games: NDArray[np.int64]) -> NDArray[np.uint8]:
        labels = np.full((len(games), SIDE, SIDE), GROUND_LABEL, np.uint8)
        mapped = labels.reshape(-1)
        for stamp in stamps:
            mapped[stamp.pixels] = DISTRACTOR_LABEL
        mapped[stamps[-1].pixels] = TARGET_LABEL
        self._draw_cursor(labels, tracker.cursor[games], CURSOR_LABEL)
        return labels

    def _within(
        self, low: float, high: float, quantity: str, tracker: Tracker, games: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Present value of a quantity of every object within its range, shape (n, things)."""
        return np.float32(low) + np.float32(high - low) * (1 + tracker.trajectory(quantity, games, self._change)) / 2

    def _stamps(self, tracker: Tracker, games: NDArray[np.int64]) -> list[_Stamp]:
        """Pixels of all objects, in the order of drawing.

        The target is the last, so that it is never hidden. Objects are processed one at a time, to fit into the cache.
        """
        places = tracker.places(games)[:, ::-1].transpose(1, 0, 2)  # by thing
        middles = np.rint(places).astype(np.int64)
        down, right = (_ALONG - (places - middles.astype(np.float32))[..., axis, None] for axis in range(2))
        height, width, turn, exponent = (
            self._within(*limits, quantity, tracker, games)[:, ::-1].T[..., None]
            for quantity, limits in (
                ("height", _RADII),
                ("width", _RADII),
                ("turn", (0.0, np.pi / 2)),
                ("exponent", self._exponents),
            )
        )
        sine, cosine = np.sin(turn), np.cos(turn)
        of_rows = np.stack([down * (sine / width), down * (cosine / height)])  # of the way across, and upright
        of_columns = np.stack([right * (cosine / width), -right * (sine / height)])
        corners = SIDE * SIDE * np.arange(len(games)) + (middles - _HALF) @ (SIDE, 1)
        stamps = []
        for thing in range(tracker.things):
            lengths = of_rows[:, thing, :, :, None] + of_columns[:, thing, :, None]
            across, upright = _power(lengths, exponent[thing, :, None])
            covered = across + upright <= 1
            pixels = corners[thing, :, None, None] + _STAMP
            dark = None if self._dark is None else np.broadcast_to(self._dark, covered.shape)[covered]
            stamps.append(_Stamp(pixels[covered], covered.reshape(len(games), -1).sum(axis=1), dark))
        return stamps

    @staticmethod
    def _draw_cursor(pictures: NDArray[np.uint8], middles: NDArray[np.int64], value: int) -> None:
        """Draw the outline of a square, clipped to the frame."""
        games = np.arange(len(middles))[:, None]
        along = np.arange(-_HALF, _HALF + 1)
        for axis in range(2):
            for edge in (-_HALF, _HALF):
                places = [middles[:, number, None] + (edge if number == axis else along) for number in range(2)]
                inside = np.logical_and.reduce(
                    [(place >= 0) & (place < SIDE) for place in np.broadcast_arrays(*places)]
                )
                rows, columns = (np.broadcast_to(place, inside.shape)[inside] for place in places)
                pictures[np.broadcast_to(games, inside.shape)[inside], rows, columns] = value


def _as_pixels(colours: NDArray[np.uint8]) -> NDArray[np.void]:
    """View with one item a pixel, shape (pixels,): copied twice as fast as three bytes."""
    return colours.view("V3").ravel()


def _power(base: NDArray[np.float32], exponent: NDArray[np.float32]) -> NDArray[np.float32]:
    """Powers of absolute values, in place: by logarithms, which NumPy vectorises, unlike powers."""
    np.abs(base, out=base)
    np.maximum(base, np.float32(1e-6), out=base)
    np.log(base, out=base)
    base *= exponent
    return np.exp(base, out=base)
