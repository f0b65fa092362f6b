"""What can be asked of a calibration game."""

from __future__ import annotations

from dataclasses import dataclass, field

from lcd.envs.calibration.dials import Dials
from lcd.envs.procgen.options import LevelRange


@dataclass(frozen=True)
class CourierOptions(LevelRange):
    """A game of Courier.

    Attributes
    ----------
    dials
        Of difficulty.
    num_levels, start_level
        As for Procgen: levels are drawn from ``start_level`` up to, and without, ``start_level + num_levels``;
        ``num_levels=0`` means all.
    """

    dials: Dials = field(default_factory=Dials)
    num_levels: int = 0
    start_level: int = 0

    def __post_init__(self) -> None:
        self._check_levels()
        if not isinstance(self.dials, Dials):
            raise ValueError(f"dials are Dials, not {self.dials!r}.")


PALETTES = ("seen", "held-out")


@dataclass(frozen=True)
class TrackerOptions(LevelRange):
    """A game of Tracker.

    Attributes
    ----------
    distractors
        Number of moving things beside the target, up to 15.
    change
        From 0 (every thing keeps its colour and shape) to 1 (both wander over their whole range).
    colours, shapes
        ``"seen"``, or ``"held-out"`` for those that no thing has in the other setting.
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
