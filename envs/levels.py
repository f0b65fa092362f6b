"""Ranges of numbered levels."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from lcd.io.limits import short
from lcd.io.settings import Whole

Options = TypeVar("Options", bound="LevelRange")

LEVEL_SEEDS = 2**31 - 1
"""Level seeds go from 0 up to, and without, this number."""

Levels = Annotated[Whole, Field(ge=0, lt=LEVEL_SEEDS, description=f"a whole number from 0 to {LEVEL_SEEDS - 1}")]
"""A number of levels, or of the first of them."""


class LevelRange:
    """Base class of options with numbered levels: dataclasses with the fields `num_levels` and `start_level`.

    Levels are drawn from ``start_level`` up to, and without, ``start_level + num_levels``; ``num_levels=0`` means all.
    """

    num_levels: Levels
    start_level: Levels

    @property
    def levels(self) -> range:
        """All levels."""
        return range(self.start_level, self.start_level + (self.num_levels or LEVEL_SEEDS))

    def _check_levels(self) -> None:
        if self.start_level + self.num_levels > LEVEL_SEEDS:
            raise ValueError(
                f"start_level {self.start_level} + num_levels {self.num_levels} exceeds {LEVEL_SEEDS}, "
                "the number of level seeds: lower one of them."
            )
        if self.num_levels == 0 and self.start_level != 0:
            raise ValueError(
                f"start_level {self.start_level} has no effect with num_levels=0, which means all levels: "
                "use unseen_levels(start_level), or set num_levels."
            )

    def training_levels(self: Options, num_levels: int) -> Options:
        """The same options on the first `num_levels` levels (0 for all levels)."""
        return replace(self, start_level=0, num_levels=num_levels)  # type: ignore[type-var]

    def unseen_levels(self: Options, num_training_levels: int) -> Options:
        """The same options on every level that is not among the first `num_training_levels`.

        Raises
        ------
        ValueError
            If all levels are training levels, so that none is unseen.
        """
        if num_training_levels == 0:
            raise ValueError("With num_levels=0 every level is a training level and none is unseen: set num_levels.")
        rest = LEVEL_SEEDS - num_training_levels
        return replace(self, start_level=num_training_levels, num_levels=rest)  # type: ignore[type-var]


def choosable_levels(options: object) -> range | None:
    """Levels among which a learner may choose what each game plays next; None where the game draws them itself.

    Parameters
    ----------
    options
        A game and its levels. Options whose games take `lcd.envs.vec_env.GameVecEnv.set_next_levels` have an attribute
        of this name.
    """
    return getattr(options, "choosable_levels", None)


def checked_levels(levels: ArrayLike, games: ArrayLike, num_envs: int, choosable: range) -> NDArray[np.int64]:
    """Check levels that were chosen for some games, and return them with shape (games,), int64.

    Raises
    ------
    ValueError
        If they are not one level of the range for each game, or there is no such game.
    """
    found, of_games = np.asarray(levels), np.asarray(games)
    if (
        found.ndim != 1
        or found.shape != of_games.shape
        or found.dtype.kind not in "iu"
        or of_games.dtype.kind not in "iu"
    ):
        raise ValueError(f"One whole number is chosen for each game, not {short(found.tolist())}.")
    if not found.size:
        return found.astype(np.int64)
    if of_games.min() < 0 or of_games.max() >= num_envs:
        raise ValueError(f"The {num_envs} games of this batch count from 0, unlike {short(of_games.tolist())}.")
    if found.min() < choosable.start or found.max() >= choosable.stop:
        raise ValueError(
            f"Levels are chosen from {choosable.start} to {choosable.stop - 1}, not {short(found.tolist())}."
        )
    return found.astype(np.int64)


def check_begins(start_level: int) -> None:
    """Check that training begins with the first level: a run's record tells no other.

    Raises
    ------
    ValueError
        If it does not.
    """
    if start_level:
        raise ValueError(f"Training begins with level 0, not {start_level}: leave start_level out of the options.")
