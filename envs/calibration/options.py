"""Options of the calibration games."""

from __future__ import annotations

from dataclasses import asdict, field, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from lcd.envs.calibration.difficulty import PERCEPTUAL, DifficultyFactors
from lcd.envs.levels import LevelRange, Levels
from lcd.envs.views import get_view
from lcd.io.settings import Share, Whole, settings

_IRRELEVANT_TO_IMITATION = ("delay", "sparsity")
"""Factors of when rewards are paid, which imitation does not depend on."""


@settings
class CourierOptions(LevelRange):
    """A game of Courier.

    Attributes
    ----------
    factors
        Its difficulty.
    num_levels, start_level
        As for Procgen: levels are drawn from ``start_level`` up to, and without, ``start_level + num_levels``;
        ``num_levels=0`` means all.
    """

    family: ClassVar[str] = "calibration"
    game: ClassVar[str] = "courier"

    factors: DifficultyFactors = field(default_factory=DifficultyFactors)
    num_levels: Levels = 0
    start_level: Levels = 0

    @model_validator(mode="after")
    def _check(self) -> CourierOptions:
        self._check_levels()
        return self

    @property
    def choosable_levels(self) -> range:
        """All levels, see `lcd.envs.levels.choosable_levels`."""
        return self.levels

    @property
    def label(self) -> str:
        """Name of the game with its factors above 0, for names of runs."""
        above = self.factors.nonzero.items()
        return "-".join([self.game, *(f"{name}{np.format_float_positional(value, trim='-')}" for name, value in above)])

    def relevant_to(self, view: str, learner: str) -> CourierOptions:
        """The same game with those factors at 0 that a run does not depend on.

        Label maps do not depend on the perceptual factors, and imitation does not depend on when rewards are paid.
        """
        off = (
            *PERCEPTUAL * (not get_view(view).shows_appearance),
            *_IRRELEVANT_TO_IMITATION * (learner == "imitation"),
        )
        return replace(self, factors=replace(self.factors, **dict.fromkeys(off, 0.0)))

    def as_record(self) -> dict[str, Any]:
        """Entries of a run's record: game, num_levels and dials, the difficulty factors."""
        return {
            "game": self.game,
            "distribution_mode": "easy",
            "num_levels": self.num_levels,
            "dials": asdict(self.factors),
        }


Palette = Literal["seen", "held-out"]
Textures = Literal["plain", "seen", "held-out"]


@settings
class TrackerOptions(LevelRange):
    """A game of Tracker.

    Attributes
    ----------
    distractors
        Number of moving objects beside the target, up to 15.
    change
        From 0 (objects keep their colour and shape) to 1 (both vary over their whole range).
    colours, shapes
        ``"seen"``, or ``"held-out"`` for those that do not occur in the other setting.
    textures
        ``"plain"`` for objects of one colour, or ``"seen"`` and ``"held-out"``: stripes, and a chequered pattern.
    num_levels, start_level
        As for Courier.
    """

    family: ClassVar[str] = "calibration"
    game: ClassVar[str] = "tracker"

    distractors: Annotated[Whole, Field(ge=0, le=15, description="a whole number from 0 to 15")] = 5
    change: Share = 1.0
    colours: Palette = "seen"
    shapes: Palette = "seen"
    textures: Textures = "plain"
    num_levels: Levels = 0
    start_level: Levels = 0

    @model_validator(mode="after")
    def _check(self) -> TrackerOptions:
        self._check_levels()
        return self

    @property
    def choosable_levels(self) -> range:
        """All levels, see `lcd.envs.levels.choosable_levels`."""
        return self.levels

    @property
    def label(self) -> str:
        """Name of the game with its settings, for names of runs."""
        usual = TrackerOptions()._settings()
        changed = (
            f"{name}{np.format_float_positional(value, trim='0') if isinstance(value, float) else value}"
            for name, value in self._settings().items()
            if value != usual.get(name)
        )
        return "-".join([self.game, *changed])

    def _settings(self) -> dict[str, Any]:
        """All but the levels; without textures that are plain, so that runs from before keep their names."""
        left_out = ("num_levels", "start_level", *("textures",) * (self.textures == "plain"))
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    def relevant_to(self, view: str, learner: str) -> TrackerOptions:
        """The same options: label maps have the shapes of objects, and distractors."""
        return self

    def as_record(self) -> dict[str, Any]:
        """Entries of a run's record: game, num_levels and dials, the settings of Tracker."""
        record = {"game": self.game, "distribution_mode": "easy", "num_levels": self.num_levels}
        return record | {"dials": self._settings()}
