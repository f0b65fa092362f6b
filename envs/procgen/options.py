"""Validated options of Procgen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

from lcd.envs.procgen.games import DISTRIBUTION_MODES, get_game

Options = TypeVar("Options", bound="LevelRange")

LEVEL_SEEDS = 2**31 - 1
"""Level seeds go from 0 up to, and without, this number."""


class LevelRange:
    """Base class of options with numbered levels: dataclasses with the fields `num_levels` and `start_level`.

    Levels are drawn from ``start_level`` up to, and without, ``start_level + num_levels``; ``num_levels=0`` means all.
    """

    num_levels: int
    start_level: int

    def _check_levels(self) -> None:
        for name in ("num_levels", "start_level"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LEVEL_SEEDS:
                raise ValueError(f"{name} must be a whole number from 0 to {LEVEL_SEEDS - 1}, not {value!r}.")
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

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for records."""
        return asdict(self)  # type: ignore[call-overload]


APPEARANCES: Mapping[str, Mapping[str, bool]] = MappingProxyType(
    {
        "no-backgrounds": {"use_backgrounds": False},
        "restricted-themes": {"restrict_themes": True},
        "monochrome": {"use_monochrome_assets": True},
    }
)
"""Appearances that lower the perceptual demand, as fields of `ProcgenOptions`; the rules stay the same."""


def check_appearances(appearances: Collection[str]) -> None:
    """Check the names of appearances.

    Raises
    ------
    ValueError
        If a name is not in `APPEARANCES`.
    """
    if unknown := [name for name in appearances if name not in APPEARANCES]:
        raise ValueError(f"Unknown appearance {unknown[0]!r}: choose among {', '.join(APPEARANCES)}.")


def appearance_options(appearances: Collection[str]) -> dict[str, bool]:
    """Fields of `ProcgenOptions` that the appearances set together.

    Raises
    ------
    ValueError
        If a name is not in `APPEARANCES`.
    """
    check_appearances(appearances)
    return {option: value for name in appearances for option, value in APPEARANCES[name].items()}


def appearances_that_change_play(game: str, appearances: Collection[str]) -> tuple[str, ...]:
    """Appearances that change play as well, so that label maps must follow them.

    In bigfish, bossfight, fruitbot and starpilot a theme has its own shape, which decides what collides.

    Parameters
    ----------
    game
        Name of a game.
    appearances
        Names in `APPEARANCES`.

    Raises
    ------
    ValueError
        If the game or a name is unknown.

    Examples
    --------
    >>> appearances_that_change_play("bigfish", ["monochrome", "restricted-themes"])
    ('restricted-themes',)
    >>> appearances_that_change_play("maze", ["monochrome", "restricted-themes"])
    ()
    """
    check_appearances(appearances)
    shapes = bool(get_game(game).sized_themes)
    return tuple(name for name in appearances if shapes and "restrict_themes" in APPEARANCES[name])


@dataclass(frozen=True)
class ProcgenOptions(LevelRange):
    """Every option of a Procgen game, under Procgen's own names.

    Attributes
    ----------
    game
        One of the 16 games.
    distribution_mode
        ``"easy"``, ``"hard"`` and, where the game has them, ``"extreme"``, ``"memory"`` and ``"exploration"``.
    num_levels, start_level
        Levels are drawn from ``start_level`` up to, and without, ``start_level + num_levels``; ``num_levels=0`` means
        all.
    use_sequential_levels
        Whether a completed level leads into the next without ending the episode.
    center_agent
        Whether the camera follows the agent (games that never do so ignore it).
    use_backgrounds, use_monochrome_assets, restrict_themes, use_generated_assets
        Appearance of the game. The first two never change play; restricted themes do where a theme changes an object's
        shape (bigfish, bossfight, fruitbot and starpilot), generated assets wherever a sprite does.
    paint_vel_info
        Whether the agent's velocity is painted into a corner of the frame (games with jumps).
    """

    game: str
    distribution_mode: str = "easy"
    num_levels: int = 0
    start_level: int = 0
    use_sequential_levels: bool = False
    center_agent: bool = True
    use_backgrounds: bool = True
    use_monochrome_assets: bool = False
    restrict_themes: bool = False
    use_generated_assets: bool = False
    paint_vel_info: bool = False

    def __post_init__(self) -> None:
        game = get_game(self.game)
        object.__setattr__(self, "game", game.name)
        if self.distribution_mode not in DISTRIBUTION_MODES:
            raise ValueError(
                f"Unknown distribution mode {self.distribution_mode!r}: choose one of {', '.join(DISTRIBUTION_MODES)}."
            )
        if self.distribution_mode not in ("easy", "hard", *game.modes):
            raise ValueError(
                f"{game.name} has no {self.distribution_mode!r} mode: choose one of easy, hard"
                f"{''.join(', ' + mode for mode in game.modes)}."
            )
        self._check_levels()
        if self.distribution_mode == "exploration" and (self.num_levels or self.start_level):
            raise ValueError("The exploration mode is one fixed level: leave num_levels and start_level at 0.")
