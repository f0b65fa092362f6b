"""Synchrony of units inside objects and between them, while an agent plays.

Units that are near one another synchronise whatever they show, and units of one object are near one another. So every
measure is also taken where the objects of *another* game are, which are as large and as far apart, and show nothing of
this one: only what exceeds that is of objects.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lcd.agents.memory.networks import RecurrentMap
from lcd.envs.calibration.options import TrackerOptions
from lcd.envs.calibration.tracker import EPISODE, Tracker
from lcd.envs.calibration.tracker_drawing import TrackerDrawing

EVERY = 4
"""Steps from one measurement to the next."""

COVERED = 0.5
"""Share of a unit's pixels that show an object, from which the unit counts as the object's."""


class Synchrony(NamedTuple):
    """Mean cosine of the difference of two units' phases, from −1 (opposed) over 0 (unrelated) to 1 (the same).

    Attributes
    ----------
    within
        Of two units of the same object.
    between
        Of two units of different objects.
    target
        Of a unit of the target and one of a distractor.
    kept
        Of a unit of the target now and one of it in the first frame; not measured in that frame itself.
    confused
        Of a unit of a distractor now and one of the target in the first frame; likewise.
    """

    within: float
    between: float
    target: float
    kept: float
    confused: float


def synchrony(phases: NDArray[np.float32], objects: NDArray[np.uint8], first: NDArray[np.floating]) -> NDArray[Any]:
    """Sums behind the cosines of `Synchrony`, and how many pairs each is of.

    Parameters
    ----------
    phases : numpy.ndarray, shape (games, 2, height, width)
        Unit vectors.
    objects : numpy.ndarray, shape (games, height · k, width · k), uint8
        Object that each pixel shows: 0 none, 1 the target, from 2 the distractors.
    first : numpy.ndarray, shape (games, 2)
        Sum of the phases of the target's units in the first frame, over their number; NaN where it had none.

    Returns
    -------
    numpy.ndarray, shape (2, 5)
        Sums of cosines, and numbers of pairs, in the order of `Synchrony`.
    """
    sums, counts = units_of(phases, objects)
    squared = np.square(sums).sum(axis=2)
    pairs_within = counts * (counts - 1)
    everything, number = sums.sum(axis=1), counts.sum(axis=1)
    pairs_between = np.square(number) - np.square(counts).sum(axis=1)
    others, other_number = sums[:, 1:].sum(axis=1), counts[:, 1:].sum(axis=1)
    known = np.isfinite(first).all(axis=1)
    start = np.nan_to_num(first)
    of = [
        (squared - counts, pairs_within),
        (np.square(everything).sum(axis=1) - squared.sum(axis=1), pairs_between),
        ((sums[:, 0] * others).sum(axis=1), counts[:, 0] * other_number),
        ((sums[:, 0] * start).sum(axis=1), counts[:, 0] * known),
        ((others * start).sum(axis=1), other_number * known),
    ]
    return np.array([(cosines.sum(), pairs.sum()) for cosines, pairs in of], np.float64).T


def units_of(phases: NDArray[np.float32], objects: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum of the phases of each object's units, shape (games, objects, 2), and their number, shape (games, objects)."""
    games, _, height, width = phases.shape
    things = max(1, int(objects.max()))
    tiles = objects.reshape(games, height, objects.shape[1] // height, width, objects.shape[2] // width)
    shares = [(tiles == thing).mean(axis=(2, 4)) >= COVERED for thing in range(1, things + 1)]
    belongs = np.stack(shares, axis=1)
    sums = np.einsum("gkhw,gchw->gkc", belongs, phases, dtype=np.float64)
    return sums, belongs.sum(axis=(2, 3))


def measure_synchrony(
    model: Any, network: RecurrentMap, options: TrackerOptions, games: int = 64, seed: int = 0
) -> tuple[Synchrony, Synchrony]:
    """Play one episode in each of some games and measure the phases on the way.

    Parameters
    ----------
    model
        A recurrent model of sb3-contrib that sees frames.
    network
        Its network, with phases.
    options
        Of the games.
    games
        Their number, at least 2.
    seed
        Of their levels.

    Returns
    -------
    measured, elsewhere : Synchrony
        Where the objects are, and where those of another game are.
    """
    everyone = np.arange(games)
    levels = np.random.default_rng(seed).integers(options.levels.start, options.levels.stop, games)
    tracker, drawing = Tracker(options.distractors, levels), TrackerDrawing(options)
    state, begins = None, np.ones(games, bool)
    places = (_Total(), _Total())
    for step in range(EPISODE):
        frames = np.ascontiguousarray(drawing.frames(tracker, everyone).transpose(0, 3, 1, 2))
        actions, state = model.predict(frames, state=state, episode_start=begins)
        if step % EVERY == 0:
            kept = torch.from_numpy(np.concatenate(state, axis=2)[0])
            phases, objects = network.phases(kept[:, : network.state_size]).numpy(), drawing.objects(tracker, everyone)
            for total, shown in zip(places, (objects, np.roll(objects, 1, axis=0)), strict=True):
                total.add(phases, shown)
        tracker.step(actions)
        begins = np.zeros(games, bool)
    measured, elsewhere = (total.mean() for total in places)
    return measured, elsewhere


class _Total:
    """Sums and numbers of pairs over the steps of an episode."""

    def __init__(self) -> None:
        self._sums = np.zeros((2, len(Synchrony._fields)))
        self._first: NDArray[np.float64] | None = None

    def add(self, phases: NDArray[np.float32], objects: NDArray[np.uint8]) -> None:
        """Add a step; the first one is what later ones are compared with."""
        if self._first is None:
            unknown = np.full((len(phases), 2), np.nan)
            self._sums += synchrony(phases, objects, unknown)
            sums, counts = units_of(phases, objects)
            with np.errstate(invalid="ignore"):
                self._first = sums[:, 0] / np.where(counts[:, :1] > 0, counts[:, :1], np.nan)
        else:
            self._sums += synchrony(phases, objects, self._first)

    def mean(self) -> Synchrony:
        """Mean cosines."""
        cosines, pairs = self._sums
        means = np.divide(cosines, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
        return Synchrony(*(float(value) for value in means))
