"""Validated options of Procgen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, model_validator

from lcd.envs.levels import LevelRange, Levels
from lcd.envs.procgen.games import DISTRIBUTION_MODES, get_game
from lcd.envs.views import get_view
from lcd.io.settings import Flag, Text, one_of, settings

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


GameName = Annotated[Text, AfterValidator(lambda name: get_game(name).name)]
"""Procgen's own name of a game, from any of its names."""


@settings
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

    family: ClassVar[str] = "procgen"

    game: GameName
    distribution_mode: Annotated[Text, one_of(DISTRIBUTION_MODES, "distribution mode")] = "easy"
    num_levels: Levels = 0
    start_level: Levels = 0
    use_sequential_levels: Flag = False
    center_agent: Flag = True
    use_backgrounds: Flag = True
    use_monochrome_assets: Flag = False
    restrict_themes: Flag = False
    use_generated_assets: Flag = False
    paint_vel_info: Flag = False

    @model_validator(mode="after")
    def _check(self) -> ProcgenOptions:
        game = get_game(self.game)
        if self.distribution_mode not in ("easy", "hard", *game.modes):
            raise ValueError(
                f"{game.name} has no {self.distribution_mode!r} mode: choose one of easy, hard"
                f"{''.join(', ' + mode for mode in game.modes)}."
            )
        self._check_levels()
        if self.distribution_mode == "exploration" and (self.num_levels or self.start_level):
            raise ValueError("The exploration mode is one fixed level: leave num_levels and start_level at 0.")
        return self

    @property
    def choosable_levels(self) -> range | None:
        """All levels, but none where one leads into the next, where there is only one, or states cannot be saved."""
        draws = self.use_sequential_levels or self.use_generated_assets or self.distribution_mode == "exploration"
        return None if draws else self.levels

    @property
    def appearance(self) -> tuple[str, ...]:
        """Names in `APPEARANCES` of what is plainer than usual, in alphabetical order."""
        plainer = (name for name, changes in APPEARANCES.items() if appearance_is_set(self, changes))
        return tuple(sorted(plainer))

    @property
    def label(self) -> str:
        """Name of the game with its appearance, for names of runs."""
        return "-".join([self.game, *self.appearance])

    def relevant_to(self, view: str, learner: str) -> ProcgenOptions:
        """The same game, for a view of objects without the appearances that do not change play."""
        if get_view(view).shows_appearance:
            return self
        kept = appearances_that_change_play(self.game, self.appearance)
        changes: dict[str, Any] = {name: not value for each in APPEARANCES.values() for name, value in each.items()}
        return replace(self, **(changes | appearance_options(kept)))

    def as_record(self) -> dict[str, Any]:
        """Entries of a run's record: game, distribution_mode, num_levels and appearance.

        Raises
        ------
        ValueError
            If an option has no entry there.
        """
        drawing = appearance_options(self.appearance)
        plain = ProcgenOptions(self.game, self.distribution_mode, self.num_levels, **drawing)
        if plain != self:
            other = next(each.name for each in fields(self) if getattr(self, each.name) != getattr(plain, each.name))
            raise ValueError(f"Runs have no setting {other}: leave it at its default.")
        record = {"game": self.game, "distribution_mode": self.distribution_mode, "num_levels": self.num_levels}
        return record | ({"appearance": list(self.appearance)} if self.appearance else {})


def appearance_is_set(options: ProcgenOptions, changes: Mapping[str, bool]) -> bool:
    """Whether the options have all the changes of an appearance."""
    return all(getattr(options, name) == value for name, value in changes.items())
