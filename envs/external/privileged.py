"""Privileged views of other packages' games: the same state as a label map or a vector, without how it looks.

A game offers its own by a method ``label_map()`` (whole numbers, shape (height, width)), ``object_list()`` (numbers,
shape (objects, numbers of each)) or ``state_vector()`` (numbers, shape (length,)); a wrapper with such a method adds
one to somebody else's game. MiniGrid's and Atari's are built in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import gymnasium
import numpy as np

from lcd.envs.external.images import image_reader
from lcd.envs.external.making import UnknownGame, resolved
from lcd.envs.external.minigrid_views import LABEL_NAMES, is_minigrid, label_reader, with_pictures
from lcd.envs.external.options import NO_VIEW, ExternalOptions

Kind = Literal["label map", "object list", "vector"]

METHODS: Mapping[str, Kind] = MappingProxyType(
    {"label_map": "label map", "object_list": "object list", "state_vector": "vector"}
)
"""Methods of a game that give a privileged view, and the kind of view."""


@dataclass(frozen=True)
class Source:
    """Where a game's privileged view comes from.

    Attributes
    ----------
    read
        Gives the view of the present state.
    kind
        ``"label map"``, ``"object list"`` or ``"vector"``.
    names
        Names of labels, where they are known.
    described
        What it is, for people.
    """

    read: Callable[[], Any]
    kind: Kind
    described: str
    names: Mapping[int, str] = field(default_factory=dict)


def with_privileged_view(env: gymnasium.Env, options: ExternalOptions) -> tuple[gymnasium.Env, Source | None]:
    """The game, wrapped where its view needs it, and the source of its privileged view; None without one.

    Raises
    ------
    UnknownGame
        If the source that the options name is not there.
    """
    asked, game = options.semantic, env
    env = _with_pictures(env)
    if asked == NO_VIEW:
        return env, None
    if asked is None:
        for method, kind in METHODS.items():
            if (read := _method(game, method)) is not None:
                return env, Source(read, kind, f"the game's own {method}()")
        return env, _minigrid(env) or _atari(env)
    if ":" in asked:
        wrapped = _wrapped(asked, game)
        for method, kind in sorted(METHODS.items(), key=lambda item: not hasattr(wrapped, item[0])):
            if isinstance(wrapped, gymnasium.Env) and (read := _method(wrapped, method)) is not None:
                return _with_pictures(wrapped), Source(read, kind, f"{method}() of {asked}")
        raise UnknownGame(f"{asked} makes no game with a method {' or '.join(METHODS)}: give it one.")
    if (read := _method(game, asked)) is None:
        raise UnknownGame(
            f"{options.game} has no method {asked!r} for its privileged view: name another with --semantic, or a "
            "wrapper as module:Class."
        )
    try:
        env.reset(seed=0)
        kind = kind_of(read(), image_reader(env.observation_space, options.image_key)[1][:2])
    except (Exception, SystemExit) as error:  # of many types: it is somebody else's code
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UnknownGame(
            f"{asked}() of {options.game} gives no privileged view ({reason[:300]}): name another with --semantic."
        ) from error
    return env, Source(read, kind, f"the game's own {asked}(), taken as {ARTICLES[kind]} {kind}")


ARTICLES: Mapping[Kind, str] = MappingProxyType({"label map": "a", "object list": "an", "vector": "a"})

LEAST_SIDE, LARGEST_STRETCH = 4, 1.5
"""Of a label map whose method does not say that it is one: cells of a side, and how far they may be from squares."""


def kind_of(view: Any, shape: tuple[int, int]) -> Kind:
    """What a privileged view is whose method does not say it.

    Parameters
    ----------
    view
        What the method gave.
    shape
        Height and width of the image.

    Returns
    -------
    str
        A label map of whole numbers has about the proportions of the image; other tables are lists of objects.
    """
    found = np.asarray(view)
    if found.ndim != 2:
        return "vector"
    if found.dtype.kind not in "biu" or min(found.shape) < LEAST_SIDE:
        return "object list"
    stretch = shape[0] / found.shape[0] / (shape[1] / found.shape[1])
    return "label map" if 1 / LARGEST_STRETCH <= stretch <= LARGEST_STRETCH else "object list"


def _with_pictures(env: gymnasium.Env) -> gymnasium.Env:
    """The game with pictures as observations, for one whose own observations are codes."""
    return with_pictures(env) if is_minigrid(env) else env


def _wrapped(name: str, game: gymnasium.Env) -> Any:
    """A game in the wrapper that a user names.

    Raises
    ------
    UnknownGame
        If there is none, or it does not take the game.
    """
    wrapper = resolved(name)
    try:
        return wrapper(game)
    except (Exception, SystemExit) as error:  # of many types: a wrapper's constructor is somebody else's code
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UnknownGame(f"{name} does not wrap the game ({reason[:300]}): check it.") from error


def _method(env: gymnasium.Env, name: str) -> Callable[[], Any] | None:
    """A method of a game or of a wrapper around it, None if there is none."""
    found = env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else None
    return found if callable(found) else None


def _minigrid(env: gymnasium.Env) -> Source | None:
    """MiniGrid's own grid, in the camera of its picture: what the agent sees, from above."""
    if not is_minigrid(env):
        return None
    return Source(label_reader(env), "label map", "MiniGrid's own grid, as the agent sees it", LABEL_NAMES)


def _atari(env: gymnasium.Env) -> Source | None:
    """Atari's memory of 128 bytes."""
    ale = getattr(env.unwrapped, "ale", None)
    if ale is None or not hasattr(ale, "getRAM"):
        return None
    return Source(lambda: np.asarray(ale.getRAM(), np.uint8), "vector", "the machine's memory, 128 bytes")
