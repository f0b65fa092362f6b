"""The view "centred": the label map, moved so that the player is in the middle.

A learner on it need not find out where things are relative to the player. What leaves the map on one side enters it on
the other, so that nothing is lost. Where the map's edge has come to lie, a line marks it in all pixels that are empty.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcd.envs.family import GameOptions, family_of
from lcd.envs.views import SEMANTIC, NoSuchView, View, register_view
from lcd.io.limits import MOST_LABELS

EDGE = MOST_LABELS - 1
"""Label of the line that marks the map's edge: the one that Procgen gives to what has no label of its own."""

EMPTY = 0
"""Label of the pixels that the line may take."""


def centred(labels: NDArray[Any], players: Collection[int]) -> NDArray[np.uint8]:
    """Move label maps so that the player is in the middle.

    Parameters
    ----------
    labels : numpy.ndarray, shape (batch, height, width), uint8
        Label maps.
    players : collection of int
        Labels of the player.

    Returns
    -------
    numpy.ndarray, shape (batch, height, width), uint8
        The maps, shifted cyclically by whole pixels, with `EDGE` in the empty pixels of what were the first row and the
        first column. A map without a player is not shifted.
    """
    count, height, width = labels.shape
    here = np.isin(labels, sorted(players))
    pixels = here.sum(axis=(1, 2))
    marked = labels.astype(np.uint8, copy=True)
    for line in (marked[:, 0, :], marked[:, :, 0]):
        line[line == EMPTY] = EDGE
    there = np.maximum(pixels, 1)
    row = np.where(pixels, (here.sum(axis=2) @ np.arange(height)) // there, height // 2)
    column = np.where(pixels, (here.sum(axis=1) @ np.arange(width)) // there, width // 2)
    rows = (np.arange(height) + row[:, None] - height // 2) % height
    columns = (np.arange(width) + column[:, None] - width // 2) % width
    return marked[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _for_game(options: GameOptions) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
    """The shift for a game.

    Raises
    ------
    NoSuchView
        If its label maps have no label of the player.
    """
    family = family_of(options)
    shape = family.observation_space(options, SEMANTIC.name).shape or ()
    players = family.player_labels(options) if len(shape) == 2 else frozenset()
    if not players:
        raise NoSuchView(f"{options.game} has no label of the player, around which a view could be centred.")
    return partial(centred, players=players)


CENTRED = register_view(
    View(
        "centred",
        "label map",
        hides="how objects look, and where the player is in the frame",
        shows_appearance=False,
        base=SEMANTIC.name,
        transform_for=_for_game,
    )
)
