"""Game families: everything that depends on which game it is, behind one protocol.

Procgen is one family, the calibration games are another. An installed package adds its own through the entry points
``lcd.games``.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecTransposeImage

from lcd.envs.levels import check_begins
from lcd.envs.views import BOTH, NoSuchView, ViewVecEnv, drawn_for, get_view
from lcd.io.limits import short, text
from lcd.measurement.scores import Normalisation

PLUGINS = "lcd.games"
"""Group of entry points: each names a `GameFamily`."""

OF_THE_ENVIRONMENT = ("game", "view", "render_mode")
"""Arguments of a registered environment of this package that are no settings of its game."""

Options = TypeVar("Options", bound="GameOptions")

ActionClasses = tuple[tuple[int, ...], ...]
"""Every action once, those that always do the same together."""


@runtime_checkable
class GameOptions(Protocol):
    """A game and its levels, as data: a frozen dataclass.

    Attributes
    ----------
    family
        Name of its family.
    num_levels, start_level
        Its levels, see `lcd.envs.levels.LevelRange`.
    """

    family: ClassVar[str]

    def __hash__(self) -> int:
        """Equal options have equal hashes."""
        ...

    @property
    def num_levels(self) -> int:
        """Number of levels, 0 for all."""
        ...

    @property
    def start_level(self) -> int:
        """First of them."""
        ...

    @property
    def game(self) -> str:
        """Name of the game."""
        ...

    @property
    def label(self) -> str:
        """Name of the game with what is unusual about it, for names of runs."""
        ...

    def training_levels(self: Options, num_levels: int) -> Options:
        """The same game on its first levels."""
        ...

    def unseen_levels(self: Options, num_training_levels: int) -> Options:
        """The same game on all other levels."""
        ...

    def relevant_to(self: Options, view: str, learner: str) -> Options:
        """The options that a learner in a view depends on; others are at their defaults, so that runs are shared."""
        ...

    def as_record(self) -> dict[str, Any]:
        """Entries of a run's record, from which `GameFamily.from_record` makes the same options."""
        ...


@runtime_checkable
class GameFamily(Protocol):
    """Games of one kind.

    Attributes
    ----------
    name
        Of the family.
    games
        Names of the games that are known beforehand, with their ids in Gymnasium.
    views
        Names of the views that its games draw: ``"pixels"``, and ``"semantic"`` where there are label maps.
    """

    name: str
    games: Mapping[str, str]
    views: tuple[str, ...]

    def find(self, game: str) -> str | None:
        """Name of a game that is asked for by any of its names; None if it is no game of this family."""
        ...

    def options(self, game: str, **settings: Any) -> GameOptions:
        """Options from a game's name and settings such as ``num_levels`` or ``distribution_mode``.

        Raises
        ------
        ValueError
            If there is no such setting, or its value is impossible.
        """
        ...

    def full_name(self, options: Any) -> str:
        """The game's name with those settings that a name may have; `find` knows it by it."""
        ...

    def usual_options(self, game: str) -> Sequence[GameOptions]:
        """The game as it is usually played: in its default mode, and in others that are usual."""
        ...

    def from_record(self, record: Mapping[str, Any]) -> tuple[GameOptions, set[str]]:
        """Options from entries of a run's record, and the names of those entries.

        Raises
        ------
        ValueError
            If an entry is impossible.
        """
        ...

    def vec_env(self, options: Any, num_envs: int, view: str, seed: int = 0, num_threads: int = 0) -> VecEnv:
        """A batch of games for Stable-Baselines3, in a view that they draw or in ``"both"``."""
        ...

    def observation_space(self, options: Any, view: str) -> spaces.Space:
        """Of one game, in a view that it draws, or in ``"both"``."""
        ...

    def action_space(self, options: Any) -> spaces.Discrete:
        """Of one game."""
        ...

    def action_classes(self, options: Any) -> ActionClasses:
        """Actions that always do the same, together; every action once."""
        ...

    def action_names(self, options: Any) -> Sequence[str]:
        """Name of each action, for people; none where they are not known."""
        ...

    def label_names(self, options: Any) -> Mapping[int, str]:
        """Names of the labels in label maps."""
        ...

    def relevant_labels(self, options: Any) -> frozenset[int]:
        """Labels of what matters to play: agent, goals, hazards; not scenery, nor empty space."""
        ...

    def player_labels(self, options: Any) -> frozenset[int]:
        """Labels of the one object that the actions move; none where there is no such label."""
        ...

    def appearances(self, options: Any) -> Mapping[str, Any]:
        """The same game drawn in other ways, by name, where play stays the same."""
        ...

    def version(self, options: Any) -> str | None:
        """Version of what decides how the game plays, such as ``"procgen 0.10.7"``; None where nobody knows."""
        ...

    def normalisation(self, options: Any) -> Normalisation | None:
        """Returns that count as scores 0 and 1, where they are published or computed; None where they are measured.

        Raises
        ------
        ValueError
            If they are not known, and should not be measured.
        """
        ...

    def levels_differ(self, options: Any) -> bool:
        """Whether its levels differ, so that returns on unseen ones tell how far learning generalises."""
        ...

    def has_expert(self, options: Any) -> bool:
        """Whether an optimal policy is known, which `expert` makes."""
        ...

    def expert(self, options: Any) -> Any | None:
        """An optimal policy with a method ``log_probabilities`` on label maps, where there is one."""
        ...


@cache
def _own_families() -> Mapping[str, GameFamily]:
    """The families that come with `lcd.envs`, by name, but for that of any other game."""
    from lcd.envs.calibration.family import CALIBRATION
    from lcd.envs.procgen.family import PROCGEN

    return {family.name: family for family in (PROCGEN, CALIBRATION)}


@cache
def families() -> Mapping[str, GameFamily]:
    """All families by name: the package's own, and those of installed packages."""
    from lcd.envs.external.family import EXTERNAL

    found = dict(_own_families())
    for plugin in entry_points(group=PLUGINS):
        try:
            family = plugin.load()
            found.setdefault(family.name, family)
        except Exception as error:  # of many types: it is somebody else's code
            warnings.warn(
                f"The games of {plugin.value}, an installed package's, cannot be imported "
                f"({type(error).__name__}: {error}): mend or uninstall it.",
                stacklevel=2,
            )
    return found | {EXTERNAL.name: EXTERNAL}  # last: it knows any game of Gymnasium's


def family_of(options: GameOptions) -> GameFamily:
    """The family of some options; installed packages are imported only for options of theirs."""
    return _own_families().get(options.family) or families()[options.family]


def find_game(name: str) -> tuple[GameFamily, str]:
    """The family and the name of a game, from any name that a family knows it by.

    Raises
    ------
    ValueError
        If there is no such game; the message suggests the nearest names.
    """
    asked = text("A game", name)
    for known in (_own_families, families):  # installed packages are imported only for a game of theirs
        for family in known().values():
            if (found := family.find(asked)) is not None:
                return family, found
    games = [game for family in families().values() for game in family.games]
    near = _nearest(asked[:100].lower(), games)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"choose one of {', '.join(games)}, an id of Gymnasium's, or module:Class for a game of your own."
    )
    raise ValueError(f"Unknown game {short(name)}: {hint}")


def _nearest(asked: str, games: list[str]) -> list[str]:
    """At most three games with names like the one that is asked for, in small letters, with or without a namespace."""
    from lcd.envs.external.making import registered_games

    names = {game: game for game in games}
    for game in (each for each in registered_games() if not each.startswith("lcd/")):
        for part in (game, game.rpartition("/")[2], game.removeprefix("MiniGrid-")):
            names.setdefault(part.lower(), game)
    found = difflib.get_close_matches(asked, names, n=3, cutoff=0.6)
    return list(dict.fromkeys(names[each] for each in found))


def game_options(game: str, **settings: Any) -> GameOptions:
    """Options of a game from its name; settings that are None are left at their defaults.

    Raises
    ------
    ValueError
        If there is no such game or setting.
    """
    family, name = find_game(game)
    return family.options(name, **{key: value for key, value in settings.items() if value is not None})


def named_game(game: Any) -> tuple[Any, dict[str, Any]]:
    """The name of a game that is given as an object, and the settings that go with it; anything else as it is.

    Parameters
    ----------
    game
        An environment or a specification of Gymnasium's, a class or function that makes one and can be imported, or a
        family of one game.

    Returns
    -------
    name, settings
        For options, and an environment of this package, the options, and no settings.

    Raises
    ------
    ValueError
        If another process could not make the game, or not as it is given.
    """
    from lcd.envs.external.making import check_plain, named, settings_of

    if isinstance(game, type):
        return named(game)
    if isinstance(game, GameFamily):
        return _only_game(game), {}
    if isinstance(game, gymnasium.Env):
        options = getattr(game.unwrapped, "options", None)
        is_own = isinstance(options, GameOptions)
        check_plain(game, limited=not is_own)
        return (options, {}) if is_own else named(game)
    if isinstance(game, EnvSpec) and any(game.id in family.games.values() for family in _own_families().values()):
        return game.id, {key: value for key, value in settings_of(game).items() if key not in OF_THE_ENVIRONMENT}
    return (game, {}) if isinstance(game, GameOptions) else named(game)


def _only_game(family: GameFamily) -> str:
    """The game of a family that is registered and has a single one."""
    if families().get(family.name) is not family:
        raise _unregistered(family.name)
    if len(family.games) != 1:
        raise ValueError(
            f"The family {family.name} has {len(family.games)} games: name one of them, "
            f"{', '.join(family.games) or 'or give its options'}."
        )
    return next(iter(family.games))


def _unregistered(family: str) -> ValueError:
    return ValueError(
        f"The family of games {short(family)} is not registered: name it in the entry points {PLUGINS} of a package, "
        "and install that."
    )


def chosen_options(game: Any, **settings: Any) -> GameOptions:
    """Options of a game that a user gives in any way; settings that are None are left at their defaults.

    Parameters
    ----------
    game
        Its name; what `named_game` takes; or its options, which then hold all settings.

    Raises
    ------
    ValueError
        If there is no such game or setting, or a setting is given beside options.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    named, own = named_game(game)
    if not isinstance(named, GameOptions):
        return game_options(named, **(own | given))
    if given:
        raise ValueError(f"{next(iter(given))} is given beside {short(named)}: set it in these options.")
    if named.family not in families():
        raise _unregistered(named.family)
    check_begins(named.start_level)
    return named


def options_from_record(record: Mapping[str, Any]) -> tuple[GameOptions, set[str]]:
    """Options of a game from a run's record, and the names of the entries that describe it.

    Raises
    ------
    ValueError
        If there is no such game, or an entry is impossible.
    """
    named = record.get("family")
    if named is not None and (not isinstance(named, str) or named not in families()):
        raise ValueError(f"Unknown family of games {short(named)}: choose one of {', '.join(families())}.")
    family = find_game(record["game"])[0] if named is None else families()[named]
    return family.from_record(record)


def make_vec_env(
    options: GameOptions,
    num_envs: int = 64,
    view: str | Sequence[str] = "pixels",
    seed: int = 0,
    num_threads: int = 0,
) -> VecEnv:
    """A batch of games for Stable-Baselines3.

    Parameters
    ----------
    options
        The game and its levels.
    num_envs, seed
        As in `lcd.envs.vec_env.GameVecEnv`.
    view
        Name of a view in `lcd.envs.views.VIEWS`, or several names, whose observations are a dictionary; ``"both"``
        stands for pixels and semantic.
    num_threads
        Threads that step the games, or processes where threads would wait for one another; 0 steps them in the calling
        thread.
    """
    several = ("pixels", "semantic") if view == BOTH else (view,) if isinstance(view, str) else tuple(view)
    drawn = drawn_for(several)
    env = family_of(options).vec_env(options, num_envs, drawn, seed, num_threads)
    plain = drawn == BOTH if len(several) > 1 else drawn == several[0]
    views = [get_view(name).of_game(options) for name in several]
    if plain and all(each.transform is None for each in views):
        return env
    return ViewVecEnv(env, views, as_dict=not isinstance(view, str))


def observation_space(options: GameOptions, view: str) -> spaces.Space:
    """Space of one game's observation in a view, or in ``"both"``, as `make_vec_env` shows it.

    Raises
    ------
    NoSuchView
        If the game cannot be shown in that view.
    """
    if view == BOTH:
        return family_of(options).observation_space(options, BOTH)
    shown = get_view(view).of_game(options)
    return shown.space or family_of(options).observation_space(options, shown.drawn_as)


def has_view(options: GameOptions, view: str) -> bool:
    """Whether a game can be shown in a view."""
    if get_view(view).drawn_as not in family_of(options).views:
        return False
    try:
        observation_space(options, view)
    except NoSuchView:
        return False
    return True


def has_label_maps(options: GameOptions) -> bool:
    """Whether a game's privileged view is a label map."""
    return has_view(options, "semantic") and len(observation_space(options, "semantic").shape or ()) == 2


def policy_spaces(options: GameOptions, view: str) -> tuple[spaces.Space, spaces.Discrete]:
    """Spaces of a policy's observations, channels first, and actions."""
    space = observation_space(options, view)
    if len(space.shape or ()) == 3:
        space = VecTransposeImage.transpose_space(space)  # type: ignore[arg-type]
    return space, family_of(options).action_space(options)


def runs_others_code(options: GameOptions) -> bool:
    """Whether to make the game is to run code that its name leads to; a file never causes it, only its user."""
    beneath = getattr(options, "base", options)  # of a game in an encoder's view
    return beneath.family not in ("procgen", "calibration")


def frame_shape(options: GameOptions) -> tuple[int, int]:
    """Height and width of a game's frames."""
    height, width, _ = observation_space(options, "pixels").shape or (0, 0, 0)
    return height, width


def random_actions(options: GameOptions, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Uniformly random actions, shape (count,)."""
    return rng.integers(int(family_of(options).action_space(options).n), size=count)
