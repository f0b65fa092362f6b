"""Construction of a game of another package from its name."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any

import gymnasium

from lcd.envs.external.atari import ATARI_LEVELS, FIRST_LEVEL, FRAME_SKIP, with_atari_wrappers
from lcd.envs.external.options import ExternalOptions
from lcd.envs.external.repeating import FrameSkip, StickyActions
from lcd.io.limits import short
from lcd.io.modules import import_named, is_own, version_of_modules

PACKAGES = {"ALE": ("ale_py", "atari"), "MiniGrid": ("minigrid", "minigrid"), "Crafter": ("crafter", "crafter")}
"""Modules that register games, and the extras that install them, by how the ids begin."""


CRAFTER = "Crafter"
"""The name of Crafter's game, which registers none with Gymnasium."""

CRAFTER_ORDER = ", creatures in order"
"""Belongs to its version: how its worlds are kept, see `lcd.envs.external.crafter_drawing`."""

ATARI = "atari"
"""Name of the wrappers that are usual for Atari."""


class UnknownGame(ValueError):
    """A game cannot be made: it is not registered, or making it fails."""


def is_known(game: str) -> bool:
    """Whether a name is that of a game here: it is registered, or names a module or a known package."""
    if ":" in game:
        return True
    return game in gymnasium.registry or any(game.startswith(each) for each in PACKAGES)


def _maker(game: str) -> tuple[Callable[..., gymnasium.Env], bool]:
    """What makes a game from its keyword arguments, and whether ``gymnasium.make`` does.

    Raises
    ------
    UnknownGame
        If the name names nothing.
    """
    module, colon, name = game.partition(":")
    if colon:
        try:
            imported = import_named(module)
        except ImportError as error:
            raise UnknownGame(
                f"The game {short(game)} cannot be found: {error}. Install its package, or start from the folder of "
                "its module."
            ) from error
        made = getattr(imported, name, None)
        if made is not None:
            if not callable(made):
                raise UnknownGame(
                    f"{name} in {module} is no class or function that makes a game: name one, as module:Class."
                )
            return made, False
        if name not in gymnasium.registry and not name.startswith(tuple(PACKAGES)):
            file = getattr(imported, "__file__", None) or "built in"
            near = difflib.get_close_matches(name[:100], [*vars(imported), *gymnasium.registry], n=1)
            raise UnknownGame(
                f"The module {module} ({file}) has no class or function {short(name)}, and registers no game of this "
                f"id: {f'did you mean {near[0]}?' if near else 'name the module that does, as module:id.'}"
            )
        game = name
    for begins, (registers, extra) in PACKAGES.items():
        if game.startswith(begins) and game not in gymnasium.registry:
            try:
                _register(registers)
            except ImportError as error:
                raise UnknownGame(
                    f"{game} is not known without the package of {begins}'s games: pip install "
                    f"'learning-challenge-diagnosticator[{extra}]'."
                ) from error
    if game == CRAFTER:
        from lcd.envs.external.crafter_game import CrafterGame

        return CrafterGame, False
    return partial(gymnasium.make, game), True


def registered_games() -> list[str]:
    """Names of the games of the known packages that are installed, and of those registered with Gymnasium."""
    for name, (registers, _) in PACKAGES.items():
        if name != CRAFTER:
            with suppress(ImportError):
                _register(registers)
    has_crafter = importlib.util.find_spec(PACKAGES[CRAFTER][0]) is not None  # whose import prints lines
    return [*[CRAFTER] * has_crafter, *gymnasium.registry]


def _register(module: str) -> None:
    """Make the games of a package known to Gymnasium.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    registering = importlib.import_module(module)
    if hasattr(registering, "ALEInterface"):
        gymnasium.register_envs(registering)


def make_game(options: ExternalOptions) -> gymnasium.Env:
    """One game, as its package makes it.

    Raises
    ------
    UnknownGame
        If it is not known, or its construction fails.
    """
    make, is_registered = _maker(options.game)
    settings = _arguments(options)
    if is_registered and options.max_episode_steps is not None:
        settings["max_episode_steps"] = -1  # none of its own beside that of the options
    try:
        env = make(**settings)
    except gymnasium.error.Error as error:
        reason = " ".join(str(error).split())
        raise UnknownGame(f"Gymnasium does not make {short(options.game)}: {reason[:300]}") from error
    except (Exception, SystemExit) as error:  # of many types: a game's constructor is somebody else's code
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        added = " and what the wrappers atari add" if options.wrappers == ATARI else ""
        given = "" if options.env_kwargs == "{}" and not added else f" with {options.env_kwargs}{added}"
        remedy = "check its arguments" if given else "mend it, or give it arguments with --env-kwargs"
        raise UnknownGame(f"Making {options.game}{given} fails ({reason[:300]}): {remedy}.") from error
    if not isinstance(env, gymnasium.Env):
        raise UnknownGame(
            f"{options.game} makes an object of {type(env).__name__}, and not a gymnasium.Env: name another."
        )
    if is_atari(options):
        return _as_atari(env, options.frame_skip or FRAME_SKIP, options.max_episode_steps)
    env = _repeating(env, options)
    if options.max_episode_steps is not None:
        env = gymnasium.wrappers.TimeLimit(env, options.max_episode_steps)
    return env


def close(env: gymnasium.Env) -> None:
    """Free a game; one whose `close` fails is left to itself."""
    with suppress(Exception, SystemExit):  # of many types: it is somebody else's code
        env.close()


def _arguments(options: ExternalOptions) -> dict[str, Any]:
    """Keyword arguments of a game; Atari's games repeat and skip by themselves where they are asked to.

    Raises
    ------
    UnknownGame
        If they are asked for the same twice.
    """
    given: dict[str, Any] = json.loads(options.env_kwargs)
    asked: dict[str, Any] = {}
    if _repeats_itself(options):
        asked = {"repeat_action_probability": options.sticky_actions, "frameskip": options.frame_skip}
        asked = {name: value for name, value in asked.items() if value is not None}
    if twice := next((name for name in asked if name in given), None):
        option = {"frameskip": "frame_skip"}.get(twice, "sticky_actions")
        raise UnknownGame(f"{twice} is in the arguments of {options.game}, beside {option}: give one of the two.")
    if is_atari(options):
        asked["frameskip"] = 1  # the wrapper skips
    return asked | given


def _repeating(env: gymnasium.Env, options: ExternalOptions) -> gymnasium.Env:
    """The game with sticky actions and frame skip; the last action may be repeated in each of its own steps.

    Raises
    ------
    UnknownGame
        If the game would skip twice.
    """
    if _repeats_itself(options) or (options.sticky_actions is None and options.frame_skip is None):
        return env
    if hasattr(env.unwrapped, "ale"):
        raise UnknownGame(
            f"{options.game} repeats and skips by itself: set its arguments repeat_action_probability and frameskip "
            "(--env-kwargs)."
        )
    if options.sticky_actions is not None:
        env = StickyActions(env, options.sticky_actions)
    return env if options.frame_skip is None else FrameSkip(env, options.frame_skip)


def version_of(options: ExternalOptions) -> str | None:
    """What decides how a game plays: distributions, ``"minigrid 3.0.0"``, and the source of the user's own modules.

    The source is read again at every call, as it may be edited between two plans of one process.
    """
    game, *further = _modules_of(options)
    if options.game == CRAFTER:
        game = PACKAGES[CRAFTER][0]  # which the LCD's own class plays
    module, colon, _ = (options.semantic or "").partition(":")
    wrapper = [import_named(module).__name__] if colon else []
    found = version_of_modules(game, *wrapper, *(module for module in further if is_own(module)))
    ours = ATARI_LEVELS * is_atari(options) + CRAFTER_ORDER * (options.game == CRAFTER)
    ours += FIRST_LEVEL * (is_atari(options) and options.sticky_actions == 0)
    return None if found is None else found + ours


@cache
def _modules_of(options: ExternalOptions) -> tuple[str, ...]:
    """Names of the modules that make a game: that of the game itself, those of its wrappers, and the one it names."""
    env = make_game(options)
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    close(env)
    named_module = [options.game.partition(":")[0]] if ":" in options.game else []
    return tuple(dict.fromkeys([*(type(layer).__module__ for layer in reversed(layers)), *named_module]))


def is_atari(options: ExternalOptions) -> bool:
    """Whether a game gets Atari's usual wrappers, in which it has 30 beginnings for levels."""
    return options.wrappers == ATARI or (options.wrappers is None and _is_of_ale(options))


def _is_of_ale(options: ExternalOptions) -> bool:
    return options.game.rpartition(":")[2].startswith("ALE/")


def _repeats_itself(options: ExternalOptions) -> bool:
    """Whether a game has arguments for sticky actions and frame skip, as Atari's have."""
    return is_atari(options) or _is_of_ale(options)


def _as_atari(env: gymnasium.Env, frame_skip: int, max_episode_steps: int | None) -> gymnasium.Env:
    """The game in Atari's usual wrappers.

    Raises
    ------
    UnknownGame
        If a package for them is missing.
    """
    try:
        return with_atari_wrappers(env, frame_skip, max_episode_steps)
    except gymnasium.error.DependencyNotInstalled as error:
        raise UnknownGame(
            "Atari's frames are resized by OpenCV: pip install 'learning-challenge-diagnosticator[atari]'."
        ) from error


def resolved(name: str) -> Callable[..., Any]:
    """A class or function from ``module:Name``.

    Raises
    ------
    UnknownGame
        If there is none.
    """
    module, _, attribute = name.partition(":")
    try:
        imported = import_named(module)
    except ImportError as error:
        raise UnknownGame(
            f"{short(name)} cannot be found: {error}. Write --semantic as module:Class, and start from the module's "
            "folder."
        ) from error
    found = getattr(imported, attribute, None)
    if not callable(found):
        raise UnknownGame(f"There is no class or function {attribute!r} in the module {module}: check its name.")
    return found


def check_plain(env: gymnasium.Env, *, limited: bool = True) -> None:
    """Check that an environment is in no other wrappers than those that ``gymnasium.make`` puts around its game.

    Parameters
    ----------
    env
        The environment.
    limited
        Whether ``gymnasium.make`` may limit its episodes.

    Raises
    ------
    UnknownGame
        If it is: runs make their games anew, without them.
    """
    spec, layer = env.spec, env
    registered = None if spec is None else gymnasium.registry.get(spec.id)
    usual = {"OrderEnforcing", "PassiveEnvChecker"}
    if registered is not None:
        usual |= {wrapper.name for wrapper in registered.additional_wrappers}
    limits = 0 if spec is None or spec.max_episode_steps is None else int(limited)
    while isinstance(layer, gymnasium.Wrapper):
        name = type(layer).__name__
        limits -= name == "TimeLimit"
        if name not in usual and not (name == "TimeLimit" and limits >= 0):
            raise UnknownGame(
                f"The wrapper {name} is around {type(env.unwrapped).__name__}, and runs make the game without it: give "
                "a function that makes it so, at the top level of a module."
            )
        layer = layer.env


def settings_of(spec: gymnasium.envs.registration.EnvSpec) -> dict[str, Any]:
    """Keyword arguments of a specification that are not the registered ones, and likewise its max_episode_steps.

    Raises
    ------
    UnknownGame
        If the specification adds wrappers to those that are registered.
    """
    registered = gymnasium.registry.get(spec.id, spec)
    if spec.additional_wrappers != registered.additional_wrappers:
        raise UnknownGame(
            f"The specification of {spec.id} adds the wrapper {spec.additional_wrappers[-1].name}, and runs make the "
            "game without it: give a function that makes it so, at the top level of a module."
        )
    limit = spec.max_episode_steps
    if limit is None and registered.max_episode_steps is not None:
        raise UnknownGame(
            f"Episodes of {spec.id} end after {registered.max_episode_steps} steps, and this one was made without a "
            "limit: make it with one, however large (max_episode_steps)."
        )
    usual = registered.kwargs
    changed = {name: value for name, value in spec.kwargs.items() if name not in usual or _differs(value, usual[name])}
    return changed | ({} if limit == registered.max_episode_steps else {"max_episode_steps": limit})


def _is_found_by_its_id(game: str, entry_point: str) -> bool:
    """Whether a process that has imported nothing knows a registered game: Gymnasium's own, and of known packages."""
    package = entry_point.partition(":")[0].partition(".")[0]
    return package == "gymnasium" or any(
        game.startswith(begins) and package == registers for begins, (registers, _) in PACKAGES.items()
    )


def _differs(one: Any, other: Any) -> bool:
    try:
        return bool(one != other)
    except Exception:  # of many types: arrays, say, whose comparison is no single truth
        return True


def named(game: Any) -> tuple[Any, dict[str, Any]]:
    """The name of a game that is given as an object, and the settings that go with it; anything else as it is.

    Parameters
    ----------
    game
        A Gymnasium environment or its specification, or a class or function that makes one and can be imported.

    Raises
    ------
    UnknownGame
        If another process could not make the game: runs are carried out in processes of their own.
    """
    if isinstance(game, gymnasium.Env):
        if game.spec is None:
            return _named_unregistered(game.unwrapped)
        game = game.spec
    if isinstance(game, gymnasium.envs.registration.EnvSpec):
        found = settings_of(game)
        limit = {"max_episode_steps": found.pop("max_episode_steps")} if "max_episode_steps" in found else {}
        settings: dict[str, Any] = ({"env_kwargs": found} if found else {}) | limit
        if isinstance(game.entry_point, str) and not _is_found_by_its_id(game.id, game.entry_point):
            return f"{game.entry_point.partition(':')[0]}:{game.id}", settings
        return game.id, settings
    if isinstance(game, str) or not callable(game):
        if hasattr(game, "step_wait") or isinstance(game, gymnasium.vector.VectorEnv):
            raise UnknownGame(
                f"A vector environment, {type(game).__name__}, was given: name the game itself, of which runs make as "
                "many as they need."
            )
        return game, {}
    module, name = getattr(game, "__module__", None), getattr(game, "__qualname__", "")
    if module in (None, "__main__") or not name.isidentifier() or getattr(sys.modules[module], name, None) is not game:
        raise UnknownGame(
            f"{name or game!r} cannot be imported by the processes that carry out runs: put it at the top level of a "
            "module, and give that."
        )
    return f"{module}:{name}", {}


def _named_unregistered(env: gymnasium.Env) -> tuple[Any, dict[str, Any]]:
    """The name of a game that its class made, and not ``gymnasium.make``.

    Raises
    ------
    UnknownGame
        If it may have been made with arguments, which nobody knows any more.
    """
    kind = type(env)
    if taken := [name for name in inspect.signature(kind).parameters if name != "render_mode"]:
        raise UnknownGame(
            f"A {kind.__name__} does not tell with which {', '.join(taken)} it was made, and runs make the game anew: "
            f"give its class, {kind.__name__}, and with env_kwargs what is not at its default."
        )
    return named(kind)
