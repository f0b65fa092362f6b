"""The calibration games, Courier and Tracker, as a family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium import spaces

from lcd.envs.calibration import courier_drawing, tracker_drawing
from lcd.envs.calibration.adaptors import BETWEEN, CalibrationVecEnv, calibration_options, settings_in_name
from lcd.envs.calibration.batch import ACTION_SPACE, CalibrationOptions, observation_space
from lcd.envs.calibration.expert import CourierExpert, TrackerExpert
from lcd.envs.calibration.optimum import expected_returns
from lcd.envs.calibration.options import CourierOptions
from lcd.envs.family import ActionClasses
from lcd.envs.naming import own_name
from lcd.measurement.scores import Normalisation

TRACKED_THROUGHOUT = 1.0
"""Return of the optimal policy in Tracker, whose cursor is faster than its target."""


class CalibrationFamily:
    """Games of known difficulty; see `lcd.envs.family.GameFamily`."""

    name = "calibration"
    games: Mapping[str, str] = {"courier": "lcd/Courier-v0", "tracker": "lcd/Tracker-v0"}
    views: tuple[str, ...] = ("pixels", "semantic")

    def find(self, game: str) -> str | None:
        """Name of a game, from it or from its id in Gymnasium, in any case; with settings as in `full_name`.

        Raises
        ------
        ValueError
            If the game has no such setting.
        """
        asked = own_name(game)
        return self.full_name(self.options(asked)) if asked.partition(BETWEEN)[0] in self.games else None

    def options(self, game: str, **settings: Any) -> CalibrationOptions:
        """Options from a game's name, its levels, and its difficulty factors or fields of `TrackerOptions`.

        Settings in the name, as in ``"courier-clutter0.5"``, are given there only.
        """
        name, given = settings_in_name(game)
        named = dict(given)
        if len(named) < len(given) or named.keys() & settings.keys():
            raise ValueError(f"{game} gives a setting twice: give it in the name of the game or beside it.")
        return calibration_options(name, settings | named)

    def full_name(self, options: CalibrationOptions) -> str:
        """The game's name with its settings, such as ``"courier-clutter0.5-delay1"``."""
        return options.label

    def usual_options(self, game: str) -> tuple[CalibrationOptions, ...]:
        """The game with all difficulty factors at 0."""
        return (self.options(game),)

    def from_record(self, record: Mapping[str, Any]) -> tuple[CalibrationOptions, set[str]]:
        """Options from a run's record: game, num_levels and dials, the difficulty factors."""
        entries = {name for name in ("game", "num_levels", "dials", "distribution_mode") if name in record}
        settings = dict(record.get("dials", {}))
        return self.options(record["game"], num_levels=record.get("num_levels", 200), **settings), entries

    def vec_env(
        self, options: CalibrationOptions, num_envs: int, view: str, seed: int = 0, num_threads: int = 0
    ) -> CalibrationVecEnv:
        """A batch of games for Stable-Baselines3, which needs no threads."""
        return CalibrationVecEnv(options, num_envs, view, seed)

    def observation_space(self, options: CalibrationOptions, view: str) -> spaces.Space:
        """Frames of 64 × 64 pixels, or label maps of that size."""
        return observation_space(view)

    def action_space(self, options: CalibrationOptions) -> spaces.Discrete:
        """Stay, and a move in four directions."""
        return ACTION_SPACE

    def action_classes(self, options: CalibrationOptions) -> ActionClasses:
        """Each action is its own class."""
        return tuple((action,) for action in range(int(ACTION_SPACE.n)))

    def action_names(self, options: CalibrationOptions) -> tuple[str, ...]:
        """What each moves: Courier's traveller and Tracker's cursor alike."""
        return ("stay", "up", "down", "left", "right")

    def label_names(self, options: CalibrationOptions) -> Mapping[int, str]:
        """Names of the object classes."""
        return (courier_drawing if isinstance(options, CourierOptions) else tracker_drawing).LABEL_NAMES

    def relevant_labels(self, options: CalibrationOptions) -> frozenset[int]:
        """The player and its items; the cursor and its target."""
        names = self.label_names(options).items()
        return frozenset(label for label, name in names if name not in ("ground", "decoy", "distractor"))

    def player_labels(self, options: CalibrationOptions) -> frozenset[int]:
        """The player, or the cursor."""
        return frozenset(label for label, name in self.label_names(options).items() if name in ("player", "cursor"))

    def appearances(self, options: CalibrationOptions) -> Mapping[str, CalibrationOptions]:
        """None: difficulty factors decide how a game is drawn."""
        return {}

    def version(self, options: CalibrationOptions) -> str:
        """Raised when the rules or the drawings change."""
        return "1"

    def normalisation(self, options: CalibrationOptions) -> Normalisation:
        """Computed returns of the random and of the optimal policy; in Tracker that of the random one is measured."""
        if not isinstance(options, CourierOptions):
            from lcd.envs.random_play import random_return

            return Normalisation(random_return(options.training_levels(0)), TRACKED_THROUGHOUT, source="measured")
        expected = expected_returns(options.factors)
        return Normalisation(expected.random, expected.best, source="computed")

    def levels_differ(self, options: CalibrationOptions) -> bool:
        """Always."""
        return True

    def has_expert(self, options: CalibrationOptions) -> bool:
        """Always."""
        return True

    def expert(self, options: CalibrationOptions) -> CourierExpert | TrackerExpert:
        """The optimal policy."""
        return CourierExpert(options.factors) if isinstance(options, CourierOptions) else TrackerExpert()


CALIBRATION = CalibrationFamily()
