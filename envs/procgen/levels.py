"""Levels as such: which seeds begin in the same layout, so that a level is unseen by its seed alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lcd.envs.procgen.engine import FORCE_RESET, Engine
from lcd.envs.procgen.options import ProcgenOptions
from lcd.envs.procgen.saved_state import SavedState

BATCH = 64
"""Games that draw levels together."""

PLACES = ("x", "y", "type")
"""What of an object belongs to the layout of a level; its size and picture may be its theme's."""


def layout_of(state: bytes) -> bytes:
    """The layout of a level at its beginning: the grid, and type and place of every object, whatever they look like.

    Parameters
    ----------
    state
        A saved state of the first step.

    Returns
    -------
    bytes
        Equal for equal layouts.
    """
    parsed = SavedState(state)
    objects = np.stack([parsed.entities[name].astype(np.float64).round(4) for name in PLACES], axis=1)
    ordered = objects[np.lexsort(objects.T)]
    return np.asarray(parsed.grid.shape).tobytes() + parsed.grid.tobytes() + ordered.tobytes()


def draw_layouts(options: ProcgenOptions, count: int, seed: int = 0) -> dict[int, bytes]:
    """Draw levels, and read their layouts.

    Parameters
    ----------
    options
        The game and its levels.
    count
        Number of different levels to draw; all of them where there are fewer.
    seed
        Seed of the draw.

    Returns
    -------
    dict of int to bytes
        Layouts by the seeds of their levels, see `layout_of`.
    """
    found: dict[int, bytes] = {}
    wanted = min(count, options.num_levels or count)
    engine = Engine(options, BATCH, seed)
    try:
        while len(found) < wanted:
            for index, level in enumerate(engine.level_seeds.tolist()):
                if level not in found and len(found) < wanted:
                    found[level] = layout_of(engine.get_state(index))
            engine.act(np.full(BATCH, FORCE_RESET, np.int32))
            engine.observe()
    finally:
        engine.close()
    return found


class SharedLevels(NamedTuple):
    """How many levels have the layout of a training level.

    Attributes
    ----------
    training
        Number of training levels.
    layouts
        Different layouts among them.
    drawn
        Number of unseen levels that were drawn.
    shared
        Number of these whose layout a training level has as well.
    """

    training: int
    layouts: int
    drawn: int
    shared: int


def shared_levels(options: ProcgenOptions, unseen: int = 1000, seed: int = 0) -> SharedLevels:
    """Count the unseen levels of a game that occur among its training levels, but for how they look.

    Enemies that move at random may still move otherwise: the layout is that at the beginning.

    Parameters
    ----------
    options
        The game on its training levels.
    unseen
        Number of unseen levels to draw.
    seed
        Seed of the draw.

    Raises
    ------
    ValueError
        If the game has no fixed number of training levels.
    """
    if not options.num_levels:
        raise ValueError(f"All levels of {options.game} are training levels: set num_levels.")
    training = set((of_training := draw_layouts(options, options.num_levels, seed)).values())
    drawn = draw_layouts(options.unseen_levels(options.num_levels), unseen, seed)
    return SharedLevels(
        len(of_training), len(training), len(drawn), sum(layout in training for layout in drawn.values())
    )
