"""Tracker: the pictures, as frames and as label maps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.calibration.courier_drawing import bright_colours
from envs.calibration.options import TrackerOptions
from envs.calibration.tracker import SIDE, Tracker

GROUND_LABEL, CURSOR_LABEL, TARGET_LABEL, DISTRACTOR_LABEL = 0, 1, 2, 3
LABEL_NAMES = {
    GROUND_LABEL: "ground",
    CURSOR_LABEL: "cursor",
    TARGET_LABEL: "target",
    DISTRACTOR_LABEL: "distractor",
}

_HALF = 6
"""Pixels from the middle of a thing, or of the cursor, to its farthest edge."""

_GROUND, _CURSOR = 48, 235
_HUES = {"seen": (0.0, 0.45), "held-out": (0.5, 0.95)}
_EXPONENTS = {"seen": (1.6, 8.0), "held-out": (0.55, 0.9)}
"""Range of hues, and of the exponents of superellipses: round to square those seen, hollow stars those held out."""

_ALONG = np.arange(-_HALF, _HALF + 1, dtype=np.float32)
_STAMP = SIDE * np.arange(2 * _HALF + 1)[:, None] + np.arange(2 * _HALF + 1)
_RADII = (3.6, 5.6)


class _Stamps(NamedTuple):
    """The pixels of all things, in the order in which they are drawn.

    Attributes
    ----------
    pixels : numpy.ndarray, shape (total,)
        Their numbers in the games' pictures, laid one after the other.
    counts : numpy.ndarray, shape (things, n)
        How many of them each thing has; the target is the last.
    """

    pixels: NDArray[np.int64]
    counts: NDArray[np.int64]


class TrackerDrawing:
    """Draws what the player sees.

    Parameters
    ----------
    options
        How far things change, and which colours and shapes they have.
    """

    def __init__(self, options: TrackerOptions) -> None:
        self._change = options.change
        self._hues, self._exponents = _HUES[options.colours], _EXPONENTS[options.shapes]

    def frames(self, tracker: Tracker, games: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames of some of the games, shape (n, 64, 64, 3)."""
        return self._painted(self._stamps(tracker, games), tracker, games)

    def labels(self, tracker: Tracker, games: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Label maps of some of the games, shape (n, 64, 64); `LABEL_NAMES` says what the labels mean."""
        return self._mapped(self._stamps(tracker, games), tracker, games)

    def both(self, tracker: Tracker, games: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Frames and label maps of some of the games, for less than one after the other."""
        stamps = self._stamps(tracker, games)
        return self._painted(stamps, tracker, games), self._mapped(stamps, tracker, games)

    def _painted(self, stamps: _Stamps, tracker: Tracker, games: NDArray[np.int64]) -> NDArray[np.uint8]:
        frames = np.full((len(games), SIDE, SIDE, 3), _GROUND, np.uint8)
        hues = self._within(*self._hues, "hue", tracker, games)[:, ::-1].T
        colours = bright_colours()[(256 * hues).astype(np.int64) & 255]
        frames.reshape(-1, 3)[stamps.pixels] = np.repeat(colours.reshape(-1, 3), stamps.counts.ravel(), axis=0)
        self._draw_cursor(frames, tracker.cursor[games], _CURSOR)
        return frames

    def _mapped(self, stamps: _Stamps, tracker: Tracker, games: NDArray[np.int64]) -> NDArray[np.uint8]:
        labels = np.full((len(games), SIDE, SIDE), GROUND_LABEL, np.uint8)
        of_things = np.full(tracker.things, DISTRACTOR_LABEL, np.uint8)
        of_things[-1] = TARGET_LABEL
        labels.reshape(-1)[stamps.pixels] = np.repeat(of_things, stamps.counts.sum(axis=1))
        self._draw_cursor(labels, tracker.cursor[games], CURSOR_LABEL)
        return labels

    def _within(
        self, low: float, high: float, quantity: str, tracker: Tracker, games: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """A quantity of every thing as it wanders over its range, shape (n, things)."""
        return np.float32(low) + np.float32(high - low) * (1 + tracker.course(quantity, games, self._change)) / 2

    def _stamps(self, tracker: Tracker, games: NDArray[np.int64]) -> _Stamps:
        """All things as they lie now, the target on top, so that it is never hidden."""
        places = tracker.places(games)[:, ::-1].transpose(1, 0, 2)  # by thing, the target last
        middles = np.rint(places).astype(np.int64)
        height, width, turn, exponent = (
            self._within(*limits, quantity, tracker, games)[:, ::-1].T[..., None, None]
            for quantity, limits in (
                ("height", _RADII),
                ("width", _RADII),
                ("turn", (0.0, np.pi / 2)),
                ("exponent", self._exponents),
            )
        )
        off = (places - middles.astype(np.float32))[..., None, None]
        down, right = _ALONG[:, None] - off[:, :, 0], _ALONG - off[:, :, 1]
        sine, cosine = np.sin(turn), np.cos(turn)
        across = np.abs(right * cosine + down * sine) / width
        upright = np.abs(down * cosine - right * sine) / height
        covered = _power(across, exponent) + _power(upright, exponent) <= 1
        corners = SIDE * SIDE * np.arange(len(games)) + (middles - _HALF) @ (SIDE, 1)
        pixels = corners[..., None, None] + _STAMP
        return _Stamps(pixels[covered], np.count_nonzero(covered, axis=(2, 3)))

    @staticmethod
    def _draw_cursor(pictures: NDArray[np.uint8], middles: NDArray[np.int64], value: int) -> None:
        """Draw the outline of a square, as far as it is inside."""
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


def _power(base: NDArray[np.float32], exponent: NDArray[np.float32]) -> NDArray[np.float32]:
    """Powers of numbers that are not negative, by logarithms, which numpy vectorises and powers it does not."""
    logarithms = np.log(np.maximum(base, np.float32(1e-6)))
    logarithms *= exponent
    return np.exp(logarithms, out=logarithms)
