"""Options of the calibration games."""

from __future__ import annotations

from dataclasses import dataclass, field

from lcd.envs.calibration.difficulty import DifficultyFactors
from lcd.envs.procgen.options import LevelRange


@dataclass(frozen=True)
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

    factors: DifficultyFactors = field(default_factory=DifficultyFactors)
    num_levels: int = 0
    start_level: int = 0

    def __post_init__(self) -> None:
        self._check_levels()
        if not isinstance(self.factors, DifficultyFactors):
            raise ValueError(f"factors must be DifficultyFactors, not {self.factors!r}.")


PALETTES = ("seen", "held-out")


@dataclass(frozen=True)
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
    num_levels, start_level
        As for Courier.
    """

    distractors: int = 5
    change: float = 1.0
    colours: str = "seen"
    shapes: str = "seen"
    num_levels: int = 0
    start_level: int = 0

    def __post_init__(self) -> None:
        self._check_levels()
        if (
            isinstance(self.distractors, bool)
            or not isinstance(self.distractors, int)
            or not 0 <= self.distractors < 16
        ):
            raise ValueError(f"distractors is a whole number from 0 to 15, not {self.distractors!r}.")
        if isinstance(self.change, bool) or not isinstance(self.change, int | float) or not 0 <= self.change <= 1:
            raise ValueError(f"change goes from 0 to 1, not to {self.change!r}.")
        for name in ("colours", "shapes"):
            if getattr(self, name) not in PALETTES:
                raise ValueError(f"{name} are {' or '.join(PALETTES)}, not {getattr(self, name)!r}.")
