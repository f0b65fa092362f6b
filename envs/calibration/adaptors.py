"""The calibration games through Stable-Baselines3 and Gymnasium."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import gymnasium

from lcd.envs.calibration.batch import ACTION_SPACE, CalibrationBatch, CalibrationOptions, observation_space
from lcd.envs.calibration.difficulty import DifficultyFactors
from lcd.envs.calibration.options import CourierOptions, TrackerOptions
from lcd.envs.gymnasium_envs import GameEnv, GameVectorEnv
from lcd.envs.vec_env import GameVecEnv

GAMES = ("courier", "tracker")

OF_LEVELS = ("num_levels", "start_level")
"""Settings that say which levels are played, and are in no name."""

BETWEEN = "-"
"""Between the settings in a game's name."""


class CalibrationVecEnv(GameVecEnv):
    """A batch of calibration games for Stable-Baselines3.

    Parameters
    ----------
    options
        The game, its difficulty and its levels.
    num_envs, view, seed
        As in `lcd.envs.vec_env.GameVecEnv`.
    staggered
        Whether the first episodes after a reset are shortened evenly (Tracker only): then every rollout has all parts
        of an episode in it.

    Examples
    --------
    >>> env = CalibrationVecEnv(CourierOptions(DifficultyFactors(clutter=0.5)), num_envs=2, view="both")
    >>> sorted((name, view.shape) for name, view in env.reset().items())
    [('pixels', (2, 64, 64, 3)), ('semantic', (2, 64, 64))]
    """

    def __init__(
        self,
        options: CalibrationOptions,
        num_envs: int = 64,
        view: str = "pixels",
        seed: int = 0,
        *,
        staggered: bool = False,
    ) -> None:
        self.options = options
        self.staggered = staggered
        self.choosable_levels = options.choosable_levels
        super().__init__(num_envs, view, observation_space(view), ACTION_SPACE, seed)

    def _lay_out(self, seed: int) -> CalibrationBatch:
        return CalibrationBatch(self.options, self.num_envs, self.view, seed, staggered=self.staggered)


def calibration_options(game: str, settings: dict[str, Any]) -> CalibrationOptions:
    """Options from the keywords of Gymnasium's ``make``."""
    if game not in GAMES:
        raise ValueError(f"Unknown calibration game {game!r}: choose one of {', '.join(GAMES)}.")
    levels = {name: settings.pop(name) for name in OF_LEVELS if name in settings}
    known = [field.name for field in fields(DifficultyFactors if game == "courier" else TrackerOptions)]
    for name in settings:
        if name not in known:
            raise ValueError(f"{game} has no setting {name!r}: it has {', '.join(dict.fromkeys((*known, *levels)))}.")
    if game == "courier":
        return CourierOptions(DifficultyFactors(**settings), **levels)
    return TrackerOptions(**levels, **settings)


_NAMED = tuple(
    dict.fromkeys(
        each.name for kind in (DifficultyFactors, TrackerOptions) for each in fields(kind) if each.name not in OF_LEVELS
    )
)
"""Settings that a game's name may hold."""

_NEXT = re.compile(f"{BETWEEN}(?={'|'.join(_NAMED)})")


def settings_in_name(game: str) -> tuple[str, list[tuple[str, Any]]]:
    """A game's name without settings, and these, from one such as ``"courier-clutter0.5-delay1"``."""
    name, between, rest = game.partition(BETWEEN)
    return name, [_setting(part) for part in _NEXT.split(rest)] if between else []


def _setting(part: str) -> tuple[str, Any]:
    """A setting and its value from a part of a game's name, such as ``"clutter0.5"`` or ``"coloursheld-out"``."""
    for name in _NAMED:
        if part.startswith(name) and (value := part.removeprefix(name)):
            try:
                number = float(value)
            except ValueError:
                return name, value
            return name, int(number) if number.is_integer() else number
    return part, None


class CalibrationEnv(GameEnv):
    """One calibration game.

    Parameters
    ----------
    game
        ``"courier"`` or ``"tracker"``.
    view, render_mode
        As in `lcd.envs.ProcgenEnv`.
    **settings
        ``num_levels`` and ``start_level`` as for Procgen, and fields of `DifficultyFactors` or of `TrackerOptions`.
    """

    def __init__(self, game: str, view: str = "pixels", render_mode: str | None = None, **settings: Any) -> None:
        self.options = calibration_options(game, settings)
        super().__init__(view, observation_space(view), ACTION_SPACE, render_mode)

    def _lay_out(self, num_envs: int, seed: int) -> CalibrationBatch:
        return CalibrationBatch(self.options, num_envs, self.view, seed)


class CalibrationVectorEnv(GameVectorEnv):
    """A batch of calibration games that step together; an ended episode gives way to the next in the same step.

    Parameters
    ----------
    num_envs
        Number of games.
    game, view, render_mode, **settings
        As in `CalibrationEnv`.
    """

    def __init__(
        self, game: str, num_envs: int = 1, view: str = "pixels", render_mode: str | None = None, **settings: Any
    ) -> None:
        self.options = calibration_options(game, settings)
        super().__init__(num_envs, view, observation_space(view), ACTION_SPACE, render_mode)

    def _lay_out(self, num_envs: int, seed: int) -> CalibrationBatch:
        return CalibrationBatch(self.options, num_envs, self.view, seed)


def register() -> None:
    """Register the games with Gymnasium as ``lcd/Courier-v0`` and ``lcd/Tracker-v0``; importing `lcd.envs` does so."""
    for game in GAMES:
        gymnasium.register(
            f"lcd/{game.title()}-v0",
            entry_point="lcd.envs.calibration.adaptors:CalibrationEnv",
            vector_entry_point="lcd.envs.calibration.adaptors:CalibrationVectorEnv",
            kwargs={"game": game},
        )
