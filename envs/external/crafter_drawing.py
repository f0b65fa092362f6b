"""Crafter's pictures and worlds as Crafter makes them: drawn faster, and the same each time."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from crafter.engine import ItemView, LocalView, World, _draw_alpha
from numpy.typing import NDArray

BEYOND = 127
"""Grey of what lies beyond the world."""

MOST_ITEMS = 1_000
"""Drawn inventories that are kept."""


def cells_around(known: NDArray[Any], left: int, top: int, columns: int, rows: int, beyond: int) -> NDArray[np.int64]:
    """Cut a window out of a map.

    Parameters
    ----------
    known : numpy.ndarray, shape (width, height)
        The map.
    left, top, columns, rows
        The window, part of which may lie beyond the map.
    beyond
        What stands there.

    Returns
    -------
    numpy.ndarray, shape (columns, rows)
    """
    found = np.full((columns, rows), beyond)
    width, height = known.shape
    here = slice(max(0, left), min(width, left + columns)), slice(max(0, top), min(height, top + rows))
    found[here[0].start - left : here[0].stop - left, here[1].start - top : here[1].stop - top] = known[here]
    return found


class OrderedWorld(World):
    """Crafter's world, whose creatures are kept in the order in which they came.

    Crafter keeps those of a part of the world in a set, in the order of their places in the memory, and draws one of
    them by chance: the same seeds and actions then give other games.
    """

    def reset(self, seed: int | None = None) -> None:
        """Empty it."""
        super().reset(seed)
        self._chunks: defaultdict[tuple[int, int, int, int], _Ordered] = defaultdict(_Ordered)


class _Ordered(dict[Any, None]):
    """A set in the order in which its elements came."""

    def add(self, element: Any) -> None:
        self[element] = None

    def remove(self, element: Any) -> None:
        del self[element]


class FastLocalView(LocalView):
    """Crafter's view of the world around the player, whose ground is drawn at once instead of cell by cell.

    Parameters
    ----------
    world, textures, grid
        As those of Crafter's own view.
    """

    def __init__(self, world: Any, textures: Any, grid: Any) -> None:
        super().__init__(world, textures, grid)
        self._tiles: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def __call__(self, player: Any, unit: Any) -> NDArray[Any]:
        """Draw the cells around the player, each of a size in pixels."""
        self._unit, self._center = np.array(unit), np.array(player.pos)
        (columns, rows), (left, top) = self._grid.tolist(), (self._center - self._offset).tolist()
        canvas = self._ground(left, top, columns, rows)
        for each in self._world.objects:
            x, y = each.pos.tolist()
            if 0 <= x - left < columns and 0 <= y - top < rows:
                place = np.array([x - left, y - top]) * self._unit
                _draw_alpha(canvas, place, self._textures.get(each.texture, self._unit))
        lit = self._light(canvas, self._world.daylight)
        return self._sleep(lit) if player.sleeping else lit

    def _ground(self, left: int, top: int, columns: int, rows: int) -> NDArray[np.uint8]:
        """Pixels of the materials in a window of the world, shape (width, height, 3)."""
        tiles = self._tiles_of(*self._unit.tolist())
        drawn = tiles[cells_around(self._world._mat_map, left, top, columns, rows, len(tiles) - 1)].swapaxes(1, 2)
        return drawn.reshape(columns * tiles.shape[1], rows * tiles.shape[2], 3)

    def _tiles_of(self, width: int, height: int) -> NDArray[np.uint8]:
        """Pixels of each material by its number, and of what lies beyond the world: (number, width, height, 3)."""
        if (width, height) not in self._tiles:
            names = self._world._mat_names
            drawn = [self._textures.get(names[number], (width, height))[..., :3] for number in range(len(names))]
            self._tiles[width, height] = np.stack([*drawn, np.full((width, height, 3), BEYOND, np.uint8)])
        return self._tiles[width, height]


class FastItemView(ItemView):
    """Crafter's view of what the player has, which is drawn once for each inventory.

    Parameters
    ----------
    textures, grid
        As those of Crafter's own view.
    """

    def __init__(self, textures: Any, grid: Any) -> None:
        super().__init__(textures, grid)
        self._drawn: dict[tuple[int, ...], NDArray[Any]] = {}

    def __call__(self, inventory: Any, unit: Any) -> NDArray[Any]:
        """Draw the items and their amounts, in cells of a size in pixels."""
        key = (*inventory.values(), *np.asarray(unit).tolist())
        if key not in self._drawn:
            if len(self._drawn) >= MOST_ITEMS:
                self._drawn.clear()
            self._drawn[key] = super().__call__(inventory, unit)
        return self._drawn[key]


def hasten(game: Any) -> None:
    """Make a game of Crafter draw its pictures faster, and keep its creatures in order.

    Parameters
    ----------
    game
        A ``crafter.Env`` that has not been reset yet.
    """
    game._world.__class__ = OrderedWorld
    game._world.reset()
    game._local_view = FastLocalView(game._world, game._textures, game._local_view._grid)
    game._item_view = FastItemView(game._textures, game._item_view._grid)
