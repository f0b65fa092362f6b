"""The plan of a survey: its games and their budget, from a TOML file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import field, fields, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, model_validator

from lcd.agents import import_encoder
from lcd.agents.encoders.pretrained import HUBS
from lcd.agents.encoders.registry import names_a_class
from lcd.envs import GameOptions, find_game
from lcd.envs.family import named_game
from lcd.experiments.plan import GamePlan, Plan
from lcd.experiments.resources import Resources
from lcd.io.limits import path as checked_path
from lcd.io.limits import short
from lcd.io.settings import Flag, Names, Text, settings
from lcd.io.untrusted import LARGEST_TOML, check_file, parse_toml, read_toml
from lcd.studies.planning import adjusted_preset, plan_diagnosis
from lcd.studies.survey.rows import NoOwnView

ADJUSTABLE = (
    "steps", "seeds", "first_seed", "encoder", "evaluations", "evaluation_episodes", "num_levels", "teacher_factor",
    "teacher_candidates", "hyperparameters", "precision",
)  # fmt: skip
"""Fields of a preset that a survey may replace."""


ARGUMENTS = (
    "env_kwargs", "image_key", "semantic", "max_episode_steps", "wrappers", "sticky_actions", "frame_skip",
    "action_values", "random", "best", "teacher",
)  # fmt: skip
"""Arguments of `lcd.diagnose` that a survey may give for one of its games."""


def _as_names(games: Any) -> Any:
    """Names of games of which some are given as what makes them; anything else as it is."""
    return tuple(map(_as_name, games)) if isinstance(games, Sequence) and not isinstance(games, str) else games


def _as_name(game: Any) -> Any:
    name, own = named_game(game)
    if isinstance(name, GameOptions):
        raise ValueError(
            f"the games of a survey share their settings, and {short(name)} has its own: name the game, and set mode, "
            "appearance or arguments"
        )
    if own.keys() - set(ARGUMENTS):
        raise ValueError(
            f"the games of a survey share their settings, and {name} has its own {', '.join(own)}: name the game, and "
            "set mode, appearance or num_levels"
        )
    if own:
        raise ValueError(f"{name} has settings of its own: name it, with arguments = {{{name!r}: {own}}}")
    return name


def _by_known_game(arguments: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Arguments by the names under which their games are known; those of no game are refused later."""
    names = [_known_name(game) for game in arguments]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"the survey has arguments for {short(twice)} twice: put them together")
    return dict(zip(names, arguments.values(), strict=True))


def _known_name(game: str) -> str:
    try:
        return find_game(game)[1]
    except ValueError:
        return game


def _known_games(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(find_game(name)[1] for name in names)


@settings(called="A survey's {}")
class Survey:
    """A survey: games that are diagnosed with the same settings.

    Attributes
    ----------
    games
        Games as `lcd.diagnose` takes them, without settings, in the order in which they are diagnosed; kept as names.
    preset
        Name of the preset, see `lcd.experiments.presets`.
    changes
        Replaced fields of the preset, by name; see `ADJUSTABLE`.
    mode
        Procgen's distribution mode: ``"easy"``, the default, or ``"hard"``.
    appearance
        Appearance of the games: names in `lcd.envs.procgen.options.APPEARANCES`.
    train_teachers
        Whether to train teachers even where there are reference teachers.
    arguments
        For some of the games, by name, what else `lcd.diagnose` takes: those in `ARGUMENTS`.
    ladder, baselines
        Whether finer cells and baselines are trained in each game, as `lcd.diagnose` does.
    algorithm
        What learns from reward instead of plain PPO, as in `lcd.diagnose`.
    """

    games: Annotated[Names, BeforeValidator(_as_names), AfterValidator(_known_games)]
    preset: Text = "standard"
    changes: dict[Text, Any] = field(default_factory=dict)
    mode: Text | None = None
    appearance: Names = ()
    train_teachers: Flag = False
    arguments: Annotated[dict[Text, dict[Text, Any]], AfterValidator(_by_known_game)] = field(default_factory=dict)
    ladder: Flag = False
    baselines: Flag = False
    algorithm: Text | None = None

    @model_validator(mode="after")
    def _check(self) -> Survey:
        if len(set(self.games)) < max(1, len(self.games)):
            raise ValueError(
                f"A survey names each of its games once, unlike {', '.join(self.games) or 'an empty list'}."
            )
        if unknown := sorted(self.changes.keys() - set(ADJUSTABLE)):
            raise ValueError(f"A survey cannot set {unknown[0]!r}: it may set {', '.join(ADJUSTABLE)}.")
        for game, given in self.arguments.items():
            if game not in self.games:
                raise ValueError(
                    f"The survey has arguments for {short(game)}, which is none of its games: name it there."
                )
            if unknown := sorted(given.keys() - set(ARGUMENTS)):
                raise ValueError(f"A survey cannot set {unknown[0]!r} for {game}: it may set {', '.join(ARGUMENTS)}.")
        if (encoder := self.changes.get("encoder")) is not None:
            import_encoder(encoder)
        adjusted_preset(self.preset, **self.changes)  # refuses numbers that no preset can have
        return self

    @classmethod
    def read(cls, source: Path | str, *, trust: bool = False) -> Survey:
        """Read the plan of a survey from a file, or a shipped one by its name.

        Parameters
        ----------
        source
            A TOML file, with `games` and, where they differ from the defaults, the other attributes of this class and
            the numbers in `ADJUSTABLE`; or a name in `shipped_surveys`.
        trust
            Whether the file may name games, wrappers, teachers, encoders and algorithms as ``module:name``, whose code
            is run, and encoders that timm or the Hugging Face hub fetches.

        Raises
        ------
        ValueError
            If there is no such file, it is no plan of a survey, or it names code and is not to be trusted.
        """
        path = checked_path("The survey", source)
        if str(source) in shipped_surveys() and not os.path.lexists(path):
            data = parse_toml(_shipped(str(source)).read_text("utf-8"), str(source))
        else:
            known = ", ".join(shipped_surveys())
            remedy = f"give a file, or one of {known}"
            check_file(path, LARGEST_TOML, what="survey", remedy=remedy, lost=remedy)
            data = read_toml(path, what="a survey", remedy=remedy)
        return cls.from_toml(data, source, trust=trust)

    @classmethod
    def from_toml(cls, data: Mapping[str, Any], source: Path | str, *, trust: bool = False) -> Survey:
        """The survey in the data of a TOML file.

        Parameters
        ----------
        data
            The data.
        source
            Name of the file, for messages.
        trust
            As in `read`.

        Raises
        ------
        ValueError
            If it is no plan of a survey, or names code and is not to be trusted.
        """
        own = {f.name for f in fields(cls)} - {"changes"}
        if "games" not in data:
            raise ValueError(f"{source} names no games: a survey needs a line such as games = ['starpilot', 'maze'].")
        check_trusted(_names_in(data), source, trust=trust)
        changes = {key: value for key, value in data.items() if key not in own}
        return cls(**{key: value for key, value in data.items() if key in own}, changes=changes)

    @cached_property
    def plan(self) -> Plan:
        """All runs of all games.

        Raises
        ------
        ValueError
            If a game cannot be diagnosed so, or has no privileged view of its own.
        """
        return Plan(tuple(self._plan_game(game) for game in self.games))

    def _plan_game(self, game: str) -> GamePlan:
        planned = plan_diagnosis(
            game,
            adjusted_preset(self.preset, **self.changes),
            distribution_mode=self.mode,
            train_teacher=self.train_teachers,
            appearance=self.appearance or None,
            algorithm=self.algorithm,
            **{"teacher": None} | self.arguments.get(game, {}),
        )
        if planned.is_encoded:
            raise NoOwnView(planned.game)
        return planned

    def only(self, games: Sequence[str]) -> Survey:
        """Restrict the survey to some of its games.

        Raises
        ------
        ValueError
            If one of them is not in it.
        """
        known = dict(zip(games, map(self._named, games), strict=True))
        for game, name in known.items():
            if name is None:
                raise ValueError(f"The survey has no game {game!r}: choose among {', '.join(self.games)}.")
        chosen = tuple(dict.fromkeys(name for name in known.values() if name is not None))
        arguments = {game: given for game, given in self.arguments.items() if game in chosen}
        return replace(self, games=chosen, arguments=arguments)

    def on(self, resources: Resources) -> Survey:
        """The survey with the precision that is fastest where its runs are carried out, unless it names one."""
        precise = resources.precise(adjusted_preset(self.preset, **self.changes))
        return replace(self, changes=self.changes | {"precision": precise.precision})

    def _named(self, game: str) -> str | None:
        """The survey's name for a game that is asked for by any of its names; None if it is not in the survey."""
        if game in self.games:
            return game
        families = {find_game(each)[0].name: find_game(each)[0] for each in self.games}
        return next((name for family in families.values() if (name := family.find(game)) in self.games), None)


def _names_in(data: Mapping[str, Any]) -> list[Any]:
    """What in the data of a survey may name a module."""
    games, arguments, encoder = data["games"], data.get("arguments"), data.get("encoder")
    found = list(games) if isinstance(games, list) else []
    for given in arguments.values() if isinstance(arguments, dict) else []:
        found += [given.get(name) for name in ("semantic", "teacher")] if isinstance(given, dict) else []
    found.append(data.get("algorithm"))
    named = encoder.partition("@")[0].partition("+")[0] if isinstance(encoder, str) else ""
    return found + [encoder] * (names_a_class(named) or named.partition(":")[0] in HUBS)


def check_trusted(names: Any, source: Path | str, *, trust: bool) -> None:
    """Check that a file names no code, unless it is trusted.

    Parameters
    ----------
    names
        A list of what may name a module; anything else is left to whoever reads it.
    source
        Name of the file, for the message.
    trust
        Whether the file may name code.

    Raises
    ------
    ValueError
        If it does and must not.
    """
    texts = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    code = next((text for text in texts if ":" in text), None)
    if code is not None and not trust:
        what = "weights would be fetched" if code.partition(":")[0] in HUBS else "code would be run"
        raise ValueError(
            f"{source} names {short(code)}, whose {what}: if you trust the file, give --trust (trust=True)."
        )


def shipped_surveys() -> list[str]:
    """Names of the surveys that come with the package."""
    folder = resources.files("lcd.studies.survey") / "plans"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def _shipped(name: str) -> Any:
    return resources.files("lcd.studies.survey") / "plans" / f"{name}.toml"
