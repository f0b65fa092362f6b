"""Options of games of other packages."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from lcd.envs.levels import LevelRange, Levels
from lcd.io.limits import MOST_ACTION_VALUES, json_object
from lcd.io.settings import AS_FLOAT, Number, Steps, Text, Whole, settings

Stickiness = Annotated[Number, Field(ge=0, lt=1, description="a number from 0 up to, and without, 1"), AS_FLOAT]
Values = Annotated[Whole, Field(ge=2, le=MOST_ACTION_VALUES)]
Skipped = Annotated[Whole, Field(ge=1, le=1_000)]

_RECORDED = (
    "image_key", "semantic", "max_episode_steps", "wrappers", "sticky_actions", "frame_skip", "action_values",
)  # fmt: skip

NO_VIEW = "none"
"""In the place of a privileged view: none is looked for."""


def _sorted_json(value: Mapping[str, Any] | str) -> str:
    return json.dumps(json_object("env_kwargs", value, example='{"size": 8}'), sort_keys=True)


@settings
class ExternalOptions(LevelRange):
    """A game of another package.

    Attributes
    ----------
    game
        Its id in Gymnasium, such as ``"MiniGrid-Empty-5x5-v0"`` or, with the module that registers it,
        ``"my_package.games:MyGame-v0"``; or a class or function that makes it, ``"my_package.games:MyGame"``.
    env_kwargs
        Its keyword arguments, as JSON text.
    image_key
        Which entry of a dictionary of observations is the image; by default the only image in it.
    semantic
        Source of the privileged view: name of a method of the game that gives a label map or a vector;
        ``"module:Class"``, a wrapper with a method ``label_map``; ``"none"``; by default what
        `lcd.envs.external.privileged` knows of the game.
    max_episode_steps
        Limit of an episode's length; by default the game's own.
    wrappers
        ``"atari"``: the wrappers usual for Atari, the default there; ``"plain"``: none.
    sticky_actions
        Probability that a step of the game repeats the last action instead of the chosen one, see
        `lcd.envs.external.repeating.StickyActions`; by default the game's own, 0.25 for ids that begin with ``ALE/``.
    frame_skip
        Steps of the game for each action; by default the game's own, 4 with Atari's wrappers. The limit of an episode's
        length counts actions.
    action_values
        Values of each part of a continuous action, from its lowest to its highest; by default
        `lcd.envs.external.game.VALUES_OF_A_PART`.
    num_levels, start_level
        Levels are the seeds of episodes: from ``start_level`` up to, and without, ``start_level + num_levels``;
        ``num_levels=0`` means all.
    """

    family: ClassVar[str] = "external"

    game: Text
    env_kwargs: Annotated[Text, BeforeValidator(_sorted_json)] = "{}"
    image_key: Text | None = None
    semantic: Text | None = None
    max_episode_steps: Steps | None = None
    wrappers: Literal["atari", "plain"] | None = None
    sticky_actions: Stickiness | None = None
    frame_skip: Skipped | None = None
    action_values: Values | None = None
    num_levels: Levels = 0
    start_level: Levels = 0

    @model_validator(mode="after")
    def _check(self) -> ExternalOptions:
        self._check_levels()
        return self

    @property
    def choosable_levels(self) -> range:
        """All levels, see `lcd.envs.levels.choosable_levels`."""
        return self.levels

    @property
    def label(self) -> str:
        """Name of the game that a file can have, for names of runs."""
        named = re.sub(r"[^A-Za-z0-9.]+", "-", self.game.rpartition(":")[2]).strip("-")
        settings = "".join(f"-{key}{value}" for key, value in json.loads(self.env_kwargs).items())
        return named + re.sub(r"[^A-Za-z0-9.-]+", "", settings)[:40]

    def relevant_to(self, view: str, learner: str) -> ExternalOptions:
        """The same options."""
        return self

    def as_record(self) -> dict[str, Any]:
        """Entries of a run's record: game, num_levels and env, what is not at its default."""
        env: dict[str, Any] = {} if self.env_kwargs == "{}" else {"kwargs": json.loads(self.env_kwargs)}
        for name in _RECORDED:
            if getattr(self, name) is not None:
                env[name] = getattr(self, name)
        return {"game": self.game, "num_levels": self.num_levels, "env": env}
