"""Crafter as a Gymnasium environment with a label map of what its picture shows."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

FACING: tuple[tuple[int, int], ...] = ((0, 1), (0, -1), (1, 0), (-1, 0))
"""Down, up, right and left, as Crafter counts rows and columns."""

_CREATURES = ("Cow", "Zombie", "Skeleton", "Arrow", "Plant")
_RIPE, _SLEEPING, _PLAYER, _AMOUNT = 20, 21, 22, 30


class CrafterGame(gymnasium.Env):
    """Crafter (Hafner, *Benchmarking the spectrum of agent capabilities*, 2022, arXiv:2109.06780).

    Parameters
    ----------
    length
        Steps after which an episode is cut off.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(self, length: int = 10_000) -> None:
        from crafter import Env

        from lcd.envs.external.crafter_drawing import hasten

        self._game = Env(length=None, seed=0)
        hasten(self._game)
        self._length, self._steps = length, 0
        self.observation_space = spaces.Box(0, 255, (64, 64, 3), np.uint8)
        self.action_space = spaces.Discrete(int(self._game.action_space.n))
        self.action_names = tuple(self._game.action_names)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in a world that the seed decides."""
        super().reset(seed=seed)
        self._game._seed = int(self.np_random.integers(2**31 - 1))
        self._game._episode = self._steps = 0
        return self._game.reset(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Make a step."""
        picture, reward, dead, info = self._game.step(int(action))
        self._steps += 1
        return picture, float(reward), bool(dead), self._steps >= self._length, info

    def label_map(self) -> NDArray[np.uint8]:
        """Materials, creatures and amounts in the cells of the picture, shape (64, 64).

        Materials have Crafter's own numbers, creatures those that follow; the player has one for each way to face, and
        another asleep; each amount of an item has one, in the item's place.
        """
        from lcd.envs.external.crafter_drawing import cells_around

        game = self._game
        columns, rows = game._local_view._grid.tolist()
        cells = np.zeros(tuple(game._view), np.uint8)
        left, top = (game._player.pos - game._local_view._offset).tolist()
        cells[:columns, :rows] = cells_around(game._world._mat_map, left, top, columns, rows, beyond=0)
        names = len(game._world._mat_ids)
        for each in game._world.objects:
            x, y = (each.pos - (left, top)).tolist()
            if not (0 <= x < columns and 0 <= y < rows):
                continue
            kind = type(each).__name__
            if kind == "Player":
                facing = FACING.index(tuple(int(part) for part in each.facing))
                cells[x, y] = _SLEEPING if each.sleeping else _PLAYER + facing
            elif kind == "Plant" and each.ripe:
                cells[x, y] = _RIPE
            else:
                cells[x, y] = names + _CREATURES.index(kind)
        for place, amount in enumerate(game._player.inventory.values()):
            if amount > 0:
                cells[place % columns, rows + place // columns] = _AMOUNT + min(int(amount), 9)
        unit = 64 // cells.shape[0]
        labels = np.zeros((64, 64), np.uint8)
        drawn = cells.T.repeat(unit, axis=0).repeat(unit, axis=1)
        labels[: drawn.shape[0], : drawn.shape[1]] = drawn
        return labels
