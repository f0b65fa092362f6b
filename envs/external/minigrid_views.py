"""Both views of MiniGrid's games from the grid of codes that the agent sees: a picture of it, and a label map.

MiniGrid's own wrapper works out a second time what the agent sees and draws it cell by cell, which takes longer than
the game's step. Here the picture is put together from the game's own tiles.
"""

from __future__ import annotations

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


def shows_codes(env: gymnasium.Env) -> bool:
    """Whether the observations of one of MiniGrid's games are the codes of what the agent sees, and no pictures."""
    space = env.observation_space
    if not isinstance(space, spaces.Dict) or not isinstance(space.get("image"), spaces.Box):
        return False
    wrapped = env
    while isinstance(wrapped, gymnasium.Wrapper):
        if isinstance(wrapped, gymnasium.ObservationWrapper):
            return False
        wrapped = wrapped.env
    side = env.unwrapped.agent_view_size  # type: ignore[attr-defined]
    return space["image"].shape == (side, side, 3)


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
        A game whose observations are codes, see `shows_codes`.
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
        kinds, colours, states = np.moveaxis(self._codes, -1, 0)
        labels = self._table[kinds, colours, states].T
        column, row = self._agent
        if labels[row, column] in (LABELS.index("empty"), LABELS.index("unseen")):
            labels[row, column] = LABELS.index("agent")
        return labels
