"""Privileged views of other packages' games: the same state as a label map or a vector, without how it looks.

A game offers its own by a method ``label_map()`` (whole numbers, shape (height, width)) or ``state_vector()`` (numbers,
shape (length,)); a wrapper with such a method adds one to somebody else's game. MiniGrid's and Atari's are built in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray

from lcd.envs.external.making import UnknownGame, resolved
from lcd.envs.external.options import NO_VIEW, ExternalOptions

METHODS: Mapping[str, Literal["label map", "vector"]] = MappingProxyType(
    {"label_map": "label map", "state_vector": "vector"}
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
        ``"label map"`` or ``"vector"``.
    names
        Names of labels, where they are known.
    described
        What it is, for people.
    """

    read: Callable[[], Any]
    kind: Literal["label map", "vector"]
    described: str
    names: Mapping[int, str] = field(default_factory=dict)


def with_privileged_view(env: gymnasium.Env, options: ExternalOptions) -> tuple[gymnasium.Env, Source | None]:
    """The game, wrapped where its view needs it, and the source of its privileged view; None without one.

    Raises
    ------
    UnknownGame
        If the source that the options name is not there.
    """
    asked = options.semantic
    if asked == NO_VIEW:
        return _pictures(env), None
    if asked is None:
        for method, kind in METHODS.items():
            if (read := _method(env, method)) is not None:
                return _pictures(env), Source(read, kind, f"the game's own {method}()")
        for built_in in (_minigrid, _atari):
            if (found := built_in(env)) is not None:
                return found
        return _pictures(env), None
    if ":" in asked:
        wrapped = resolved(asked)(env)
        for method, kind in METHODS.items():
            if isinstance(wrapped, gymnasium.Env) and (read := _method(wrapped, method)) is not None:
                return _pictures(wrapped), Source(read, kind, f"{method}() of {asked}")
        raise UnknownGame(f"{asked} makes no game with a method {' or '.join(METHODS)}: give it one.")
    if (read := _method(env, asked)) is None:
        raise UnknownGame(
            f"{options.game} has no method {asked!r} for its privileged view: name another with --semantic, or a "
            "wrapper as module:Class."
        )
    env.reset(seed=0)
    kind = "label map" if np.ndim(read()) == 2 else "vector"
    return _pictures(env), Source(read, kind, f"the game's own {asked}()")


def _method(env: gymnasium.Env, name: str) -> Callable[[], Any] | None:
    """A method of a game or of a wrapper around it, None if there is none."""
    found = env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else None
    return found if callable(found) else None


def _is_minigrid(env: gymnasium.Env) -> bool:
    return any(
        each.__module__.startswith("minigrid.") and each.__name__ == "MiniGridEnv"
        for each in type(env.unwrapped).__mro__
    )


def _pictures(env: gymnasium.Env) -> gymnasium.Env:
    """The game with pictures as observations, for one whose own observations are codes."""
    if _is_minigrid(env):
        from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper

        if env.observation_space["image"].shape[-1] == 3 and env.observation_space["image"].shape[0] < 16:  # type: ignore[index]
            return ImgObsWrapper(RGBImgPartialObsWrapper(env))
    return env


_PLAIN = ("unseen", "empty", "wall", "floor", "goal", "lava", "agent")
_COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
_DOORS = ("open", "closed", "locked")
MINIGRID_LABELS: tuple[str, ...] = (
    *_PLAIN,
    *(f"{colour} door, {state}" for colour in _COLOURS for state in _DOORS),
    *(f"{colour} {thing}" for thing in ("key", "ball", "box") for colour in _COLOURS),
)
"""Names of MiniGrid's labels, in their order."""

_TYPES = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")


def _minigrid_table() -> NDArray[np.uint8]:
    """Label of each type, colour and state, in MiniGrid's own numbers."""
    table = np.zeros((len(_TYPES), len(_COLOURS), len(_DOORS) + 1), np.uint8)
    for number, kind in enumerate(_TYPES):
        for colour, hue in enumerate(_COLOURS):
            for state in range(table.shape[2]):
                doors = _DOORS[min(state, len(_DOORS) - 1)]
                name = kind if kind in _PLAIN else f"{hue} door, {doors}" if kind == "door" else f"{hue} {kind}"
                table[number, colour, state] = MINIGRID_LABELS.index(name)
    return table


def _minigrid(env: gymnasium.Env) -> tuple[gymnasium.Env, Source] | None:
    """MiniGrid's own grid, in the camera of its picture: what the agent sees, from above."""
    if not _is_minigrid(env):
        return None
    table, game = _minigrid_table(), env.unwrapped

    def label_map() -> NDArray[np.uint8]:
        grid, seen = game.gen_obs_grid()  # type: ignore[attr-defined]
        kinds, colours, states = np.moveaxis(grid.encode(seen), -1, 0)
        labels = table[kinds, colours, states].T  # MiniGrid's first index is the column
        row, column = labels.shape[0] - 1, labels.shape[1] // 2
        if game.carrying is None:  # type: ignore[attr-defined]
            labels[row, column] = MINIGRID_LABELS.index("agent")
        return labels

    names = MappingProxyType(dict(enumerate(MINIGRID_LABELS)))
    return _pictures(env), Source(label_map, "label map", "MiniGrid's own grid, as the agent sees it", names)


def _atari(env: gymnasium.Env) -> tuple[gymnasium.Env, Source] | None:
    """Atari's memory of 128 bytes."""
    ale = getattr(env.unwrapped, "ale", None)
    if ale is None or not hasattr(ale, "getRAM"):
        return None
    return env, Source(lambda: np.asarray(ale.getRAM(), np.uint8), "vector", "the machine's memory, 128 bytes")
