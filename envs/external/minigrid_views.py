"""Both views of MiniGrid's games from the grid of codes that the agent sees: a picture of it, and a label map.

MiniGrid's own wrapper works out a second time what the agent sees and draws it cell by cell, which takes longer than
the game's step. Here the picture is put together from the game's own tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

TILE = 8
"""Height and width of a cell's picture, in pixels."""

_PLAIN = ("unseen", "empty", "wall", "floor", "goal", "lava", "agent")
_COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
_DOORS = ("open", "closed", "locked")
LABELS: tuple[str, ...] = (
    *_PLAIN,
    *(f"{colour} door, {state}" for colour in _COLOURS for state in _DOORS),
    *(f"{colour} {thing}" for thing in ("key", "ball", "box") for colour in _COLOURS),
)
"""Names of the labels, in their order."""

LABEL_NAMES = MappingProxyType(dict(enumerate(LABELS)))

_TYPES = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")
_STATES = len(_DOORS) + 1
_UP = 3
"""Direction in which the agent looks in its own view."""


def is_minigrid(env: gymnasium.Env) -> bool:
    """Whether a game is one of MiniGrid's, or is derived from them."""
    return any(
        each.__module__.startswith("minigrid.") and each.__name__ == "MiniGridEnv"
        for each in type(env.unwrapped).__mro__
    )


def _is_plain(env: gymnasium.Env) -> bool:
    """Whether nothing between MiniGrid's own code and the LCD changes what is observed, or adds objects."""
    wrapped = env
    while isinstance(wrapped, gymnasium.Wrapper):
        if isinstance(wrapped, gymnasium.ObservationWrapper):
            return False
        wrapped = wrapped.env
    return type(wrapped).__module__.startswith("minigrid.")


def with_pictures(env: gymnasium.Env) -> gymnasium.Env:
    """One of MiniGrid's games with pictures as observations, if its own are codes; otherwise as it is.

    A game derived from MiniGrid's may have objects of its own, which MiniGrid's own wrapper draws.
    """
    space = env.observation_space
    codes = space.get("image") if isinstance(space, spaces.Dict) else None
    if not isinstance(codes, spaces.Box) or codes.shape[-1] != 3 or codes.shape[0] >= 2 * TILE:
        return env
    if _is_plain(env):
        return MiniGridViews(env)
    from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper

    return ImgObsWrapper(RGBImgPartialObsWrapper(env, tile_size=TILE))


def label_reader(env: gymnasium.Env) -> Callable[[], NDArray[np.uint8]]:
    """What gives the label map of the present state of one of MiniGrid's games: what the agent sees, from above."""
    if isinstance(env, MiniGridViews):
        return env.label_map
    table, game = _label_table(), env.unwrapped

    def read() -> NDArray[np.uint8]:
        grid, visible = game.gen_obs_grid()  # type: ignore[attr-defined]
        return _labels(table, grid.encode(visible))

    return read


def _labels(table: NDArray[np.uint8], codes: NDArray[Any]) -> NDArray[np.uint8]:
    """Labels of what the agent sees, shape (rows, columns); its own cell holds what it carries."""
    kinds, colours, states = np.moveaxis(codes, -1, 0)
    if kinds.max() >= len(_TYPES):
        raise ValueError(f"MiniGrid's labels do not know the object of number {kinds.max()}: give the game a label_map")
    labels = table[kinds, colours, states].T  # MiniGrid's first index is the column
    row, column = labels.shape[0] - 1, labels.shape[1] // 2
    if labels[row, column] in (LABELS.index("empty"), LABELS.index("unseen")):
        labels[row, column] = LABELS.index("agent")
    return labels


def _label_table() -> NDArray[np.uint8]:
    """Label of each type, colour and state, in MiniGrid's own numbers."""
    table = np.zeros((len(_TYPES), len(_COLOURS), _STATES), np.uint8)
    for number, kind in enumerate(_TYPES):
        for colour, hue in enumerate(_COLOURS):
            for state in range(_STATES):
                doors = _DOORS[min(state, len(_DOORS) - 1)]
                name = kind if kind in _PLAIN else f"{hue} door, {doors}" if kind == "door" else f"{hue} {kind}"
                table[number, colour, state] = LABELS.index(name)
    return table


class MiniGridViews(gymnasium.ObservationWrapper):
    """Pictures of what the agent sees as observations, and the same as label maps.

    Parameters
    ----------
    env
        One of MiniGrid's own games, whose observations are codes.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        assert isinstance(env.observation_space, spaces.Dict)
        self._side = int(env.observation_space["image"].shape[0])  # type: ignore[index]
        self.observation_space = spaces.Box(0, 255, (self._side * TILE, self._side * TILE, 3), np.uint8)
        self._table = _label_table()
        self._tiles = np.zeros((2, len(_TYPES) * len(_COLOURS) * _STATES, TILE, TILE, 3), np.uint8)
        self._drawn = np.zeros(self._tiles.shape[:2], bool)
        self._codes = np.zeros((self._side, self._side, 3), np.int64)

    @property
    def _agent(self) -> tuple[int, int]:
        """Column and row of the agent in its view."""
        return self._side // 2, self._side - 1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; some games change their first state after they have shown it."""
        _, info = self.env.reset(seed=seed, options=options)
        return self.observation(self.env.unwrapped.gen_obs()), info  # type: ignore[attr-defined]

    def observation(self, observation: Any) -> NDArray[np.uint8]:
        """The picture of what the agent sees, from above, shape (height, width, 3)."""
        self._codes = observation["image"].astype(np.int64)
        kinds, colours, states = np.moveaxis(self._codes, -1, 0)
        tiles = (kinds * len(_COLOURS) + colours) * _STATES + states
        holders = np.zeros_like(tiles)
        holders[self._agent] = 1
        for column, row in zip(*np.nonzero(~self._drawn[holders, tiles]), strict=True):
            self._draw(int(holders[column, row]), int(tiles[column, row]), self._codes[column, row].tolist())
        # MiniGrid's first index is the column.
        picture = self._tiles[holders, tiles].transpose(1, 2, 0, 3, 4)
        return picture.reshape(self.observation_space.shape or ())

    def _draw(self, agent: int, tile: int, code: list[int]) -> None:
        """Let the game draw a tile."""
        from minigrid.core.grid import Grid
        from minigrid.core.world_object import WorldObj

        # Of a type without a picture, such as an empty cell, MiniGrid makes None.
        self._tiles[agent, tile] = Grid.render_tile(
            WorldObj.decode(*code), _UP if agent else None, highlight=_TYPES[code[0]] != "unseen", tile_size=TILE
        )
        self._drawn[agent, tile] = True

    def label_map(self) -> NDArray[np.uint8]:
        """Labels of what the agent sees, shape (cells, cells); the agent's own cell holds what it carries."""
        return _labels(self._table, self._codes)
