"""Games of other packages as a family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from itertools import takewhile
from typing import Any

import numpy as np
from gymnasium import spaces

from lcd.envs.external.batch import ExternalVecEnv
from lcd.envs.external.game import GameFault, spaces_of
from lcd.envs.external.games import Games
from lcd.envs.external.making import is_atari, is_known, version_of
from lcd.envs.external.minigrid_views import LABEL_NAMES
from lcd.envs.external.options import ExternalOptions
from lcd.envs.external.processes import GamesInProcesses
from lcd.envs.family import ActionClasses
from lcd.envs.views import PIXELS
from lcd.io.limits import MOST_LABELS, short
from lcd.io.watching import WATCH
from lcd.measurement.scores import Normalisation


class ExternalFamily:
    """Any Gymnasium environment with images; see `lcd.envs.family.GameFamily`."""

    name = "external"
    games: Mapping[str, str] = {}
    views: tuple[str, ...] = ("pixels", "semantic")

    def find(self, game: str) -> str | None:
        """The name itself, for a game that Gymnasium knows or that a module makes."""
        return game if is_known(game) else None

    def options(self, game: str, **settings: Any) -> ExternalOptions:
        """Options from a game's name and fields of `ExternalOptions`."""
        known = [each.name for each in fields(ExternalOptions) if each.name != "game"]
        if unknown := [name for name in settings if name not in known]:
            raise ValueError(f"{game} has no setting {short(unknown[0])}: choose among {', '.join(known)}.")
        return ExternalOptions(game, **settings)

    def full_name(self, options: ExternalOptions) -> str:
        """The game's name: other settings are arguments."""
        return options.game

    def usual_options(self, game: str) -> tuple[ExternalOptions, ...]:
        """The game with its default arguments."""
        return (self.options(game),)

    def from_record(self, record: Mapping[str, Any]) -> tuple[ExternalOptions, set[str]]:
        """Options from a run's record: game, num_levels and env."""
        env = dict(record.get("env", {}))
        settings = {"env_kwargs": env.pop("kwargs")} if "kwargs" in env else {}
        options = self.options(record["game"], num_levels=record["num_levels"], **settings, **env)
        return options, {"game", "num_levels", "env"} & set(record)

    def vec_env(
        self, options: ExternalOptions, num_envs: int, view: str, seed: int = 0, num_threads: int = 0
    ) -> ExternalVecEnv:
        """A batch of games for Stable-Baselines3, which step in as many processes as there are threads for them."""
        return ExternalVecEnv(options, num_envs, view, seed, num_threads)

    def observation_space(self, options: ExternalOptions, view: str) -> spaces.Space:
        """Of one game, which is made once to know it."""
        return spaces_of(_unnumbered(options)).of_view(view)

    def action_space(self, options: ExternalOptions) -> spaces.Discrete:
        """Its actions, as numbers."""
        return spaces_of(_unnumbered(options)).actions

    def action_classes(self, options: ExternalOptions) -> ActionClasses:
        """Each action is its own class."""
        return tuple((action,) for action in range(int(self.action_space(options).n)))

    def action_names(self, options: ExternalOptions) -> tuple[str, ...]:
        """As the game names them; none where it does not."""
        return spaces_of(_unnumbered(options)).action_names

    def label_names(self, options: ExternalOptions) -> Mapping[int, str]:
        """Names of the labels, where the game's source of them gives any."""
        return spaces_of(_unnumbered(options)).label_names

    def relevant_labels(self, options: ExternalOptions) -> frozenset[int]:
        """All but label 0, and what is named as scenery."""
        scenery = ("unseen", "empty", "wall", "floor")
        names = self.label_names(options)
        return frozenset(label for label in range(1, MOST_LABELS) if names.get(label, "") not in scenery)

    def player_labels(self, options: ExternalOptions) -> frozenset[int]:
        """What is named player or agent; nothing in MiniGrid's maps, which are what the agent sees from its place."""
        names = self.label_names(options)
        if names == LABEL_NAMES:
            return frozenset()
        return frozenset(label for label, name in names.items() if name in ("player", "agent"))

    def appearances(self, options: ExternalOptions) -> Mapping[str, ExternalOptions]:
        """None are known."""
        return {}

    def version(self, options: ExternalOptions) -> str | None:
        """The distribution that the game's module is from, and its version."""
        return version_of(options)

    def normalisation(self, options: ExternalOptions) -> Normalisation | None:
        """None: nothing is published of it."""
        return None

    def levels_differ(self, options: ExternalOptions) -> bool:
        """Whether the same actions lead to other frames in some of a few levels.

        Those of Atari's wrappers are 30 beginnings at most, among which there are no unseen ones.
        """
        if is_atari(options):
            return False
        with WATCH.raising(GameFault):
            return _levels_differ(replace(_unnumbered(options), sticky_actions=None))  # luck is no level

    def has_expert(self, options: ExternalOptions) -> bool:
        """Never."""
        return False

    def expert(self, options: ExternalOptions) -> None:
        """None: no optimal policy is known."""
        return


def _unnumbered(options: ExternalOptions) -> ExternalOptions:
    """The same game on all levels, so that it is made once to know its spaces."""
    return options.training_levels(0)


TRIED_LEVELS = (0, 1, 67, 133, 199, 1_000, 10_000, 100_000)
"""Levels that are compared: usual training levels and others."""

COMPARED_STEPS = 30
"""Steps in each of them."""


@cache
def _levels_differ(options: ExternalOptions) -> bool:
    """Whether the same actions lead to other frames in some of a few levels, before chance does so within a level.

    Each level is played twice, in two games with processes of their own: only the frames up to where the two plays of
    some level part are compared between levels.
    """
    game, anew = (GamesInProcesses(options, PIXELS.name, 1, 1, stir=stir) for stir in (False, True))
    actions = np.random.default_rng(0).integers(game.num_actions, size=COMPARED_STEPS).tolist()
    try:
        plays, again = ([_frames(games, level, actions) for level in TRIED_LEVELS] for games in (game, anew))
        without_chance = min(_alike(one, other) for one, other in zip(plays, again, strict=True))
        return any(each[:without_chance] != plays[0][:without_chance] for each in plays)
    finally:
        game.close()
        anew.close()


def _alike(one: list[bytes], other: list[bytes]) -> int:
    """The number of frames from the first on that two plays of a level share; of plays that never part, all."""
    if one == other:
        return COMPARED_STEPS + 1
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _frames(games: Games, level: int, actions: list[int]) -> list[bytes]:
    """Frames of a level's first episode in the only game of some, as bytes."""
    (views,) = games.begin({0: level})
    shown = [views[PIXELS.name]]
    for action in actions:
        (outcome,) = games.step({0: action}, lambda number: level)
        shown.append((outcome.last or outcome.views)[PIXELS.name])
        if outcome.last is not None:
            break
    return [frame.tobytes() for frame in shown]


EXTERNAL = ExternalFamily()
