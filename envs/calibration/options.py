"""What can be asked of a calibration game."""

from __future__ import annotations

from dataclasses import dataclass, field

from envs.calibration.dials import Dials
from envs.options import LevelRange


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
