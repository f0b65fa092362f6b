"""Procgen's games as a family."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Any

from gymnasium import spaces

from lcd.envs.family import ActionClasses
from lcd.envs.naming import own_name
from lcd.envs.procgen.actions import action_classes
from lcd.envs.procgen.adaptors import ProcgenVecEnv
from lcd.envs.procgen.batch import ACTION_SPACE, observation_space
from lcd.envs.procgen.games import ACTION_KEYS, GAMES, SCENERY, get_game
from lcd.envs.procgen.options import (
    APPEARANCES,
    ProcgenOptions,
    appearance_options,
    appearances_that_change_play,
)
from lcd.envs.procgen.semantic import class_names
from lcd.io.limits import short, text, texts
from lcd.measurement.scores import Normalisation

_RECORDED = ("game", "distribution_mode", "num_levels", "appearance")


class ProcgenFamily:
    """The 16 games of Procgen; see `lcd.envs.family.GameFamily`."""

    name = "procgen"
    games: Mapping[str, str] = {game.name: f"lcd/{game.title}-v0" for game in GAMES.values()}
    views: tuple[str, ...] = ("pixels", "semantic")

    def find(self, game: str) -> str | None:
        """Procgen's name of a game, from that name, Gymnasium's title or its id, in any case."""
        asked = own_name(game)
        return asked if asked in GAMES else None

    def options(
        self,
        game: str,
        distribution_mode: str = "easy",
        appearance: Collection[str] = (),
        num_levels: int = 0,
        **settings: Any,
    ) -> ProcgenOptions:
        """Options from a game's name, its mode, names in `APPEARANCES`, and fields of `ProcgenOptions`."""
        known = [field.name for field in fields(ProcgenOptions)]
        if unknown := [name for name in settings if name not in known]:
            raise ValueError(f"{game} has no setting {short(unknown[0])}: choose among {', '.join(known)}.")
        drawing = appearance_options(texts("appearance", appearance))
        mode = text("The distribution mode", distribution_mode)
        return ProcgenOptions(game, mode, num_levels, **(drawing | settings))

    def full_name(self, options: ProcgenOptions) -> str:
        """The game's name: modes and appearances are settings of a whole survey."""
        return options.game

    def usual_options(self, game: str) -> tuple[ProcgenOptions, ...]:
        """The easy and the hard mode."""
        return self.options(game), self.options(game, "hard")

    def from_record(self, record: Mapping[str, Any]) -> tuple[ProcgenOptions, set[str]]:
        """Options from a run's record: game, distribution_mode, num_levels and appearance."""
        entries = {name: record[name] for name in _RECORDED if name in record}
        return self.options(**entries), set(entries)

    def vec_env(
        self, options: ProcgenOptions, num_envs: int, view: str, seed: int = 0, num_threads: int = 0
    ) -> ProcgenVecEnv:
        """A batch of games for Stable-Baselines3."""
        return ProcgenVecEnv(options, num_envs, view, seed, num_threads)

    def observation_space(self, options: ProcgenOptions, view: str) -> spaces.Space:
        """Frames of 64 × 64 pixels, or label maps of that size."""
        return observation_space(view)

    def action_space(self, options: ProcgenOptions) -> spaces.Discrete:
        """Fifteen combinations of keys."""
        return ACTION_SPACE

    def action_classes(self, options: ProcgenOptions) -> ActionClasses:
        """Combinations of keys that do the same in the game."""
        return action_classes(options.game)

    def action_names(self, options: ProcgenOptions) -> tuple[str, ...]:
        """The keys that each holds down."""
        return tuple("+".join(keys) or "no key" for keys in ACTION_KEYS)

    def label_names(self, options: ProcgenOptions) -> Mapping[int, str]:
        """Names of the object classes."""
        return class_names(options.game)

    def relevant_labels(self, options: ProcgenOptions) -> frozenset[int]:
        """All but empty space and scenery."""
        names = class_names(options.game).items()
        return frozenset(label for label, name in names if label and name.rstrip(" 0123456789") not in SCENERY)

    def player_labels(self, options: ProcgenOptions) -> frozenset[int]:
        """The player in all its poses; none in plunder, whose ships have one label for all."""
        names = class_names(options.game).items()
        things = ("player bullet", "player ball")
        return frozenset(label for label, name in names if name.startswith("player") and name not in things)

    def appearances(self, options: ProcgenOptions) -> Mapping[str, ProcgenOptions]:
        """The game without backgrounds, in one theme, and in one colour a class, where play stays the same."""
        changing = appearances_that_change_play(options.game, APPEARANCES)
        changes: dict[str, dict[str, Any]] = {name: dict(APPEARANCES[name]) for name in APPEARANCES}
        return {name: replace(options, **changes[name]) for name in APPEARANCES if name not in changing}

    def version(self, options: ProcgenOptions) -> str:
        """The one version whose rules and assets this package knows; the mirror's are the same."""
        return "procgen 0.10.7"

    def normalisation(self, options: ProcgenOptions) -> Normalisation:
        """Published returns of a random policy and best possible returns, in easy and hard mode.

        Raises
        ------
        ValueError
            In another mode.
        """
        constants = get_game(options.game).normalisation(options.distribution_mode)
        if constants is None:
            raise ValueError(
                f"There are no published returns for {options.game} in the mode {options.distribution_mode!r}: choose "
                "easy or hard, or give the returns that count as 0 and 1 (random, best)."
            )
        return Normalisation(*constants, source="published")

    def levels_differ(self, options: ProcgenOptions) -> bool:
        """Always."""
        return True

    def has_expert(self, options: ProcgenOptions) -> bool:
        """Never."""
        return False

    def expert(self, options: ProcgenOptions) -> None:
        """None: no optimal policy is known."""
        return


PROCGEN = ProcgenFamily()
