"""Shortest-path distances to the goal around walls, from a saved state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from lcd.envs.procgen.saved_state import SavedState

PLAYER = 0


@dataclass(frozen=True)
class Terrain:
    """Goals and obstacles of a game, as Procgen's object types.

    Attributes
    ----------
    targets
        Types of cells and objects that are goals; the nearest comes first.
    walls
        Types of cells that block paths.
    last
        Types that become goals when none of `targets` is reachable.
    rise
        Number of cells of a jump, up and to the sides; None where the player moves freely.
    """

    targets: tuple[int, ...]
    walls: tuple[int, ...]
    last: tuple[int, ...] = ()
    rise: int | None = None


TERRAINS: Mapping[str, Terrain] = MappingProxyType(
    {
        "caveflyer": Terrain((1,), (8, 51)),
        "chaser": Terrain((2, 1002), (5, 51)),
        "climber": Terrain((1,), (15, 16), rise=6),
        "coinrun": Terrain((1,), (15, 16, 17, 18)),
        "heist": Terrain((2,), (51,), (9,)),
        "jumper": Terrain((1,), (6, 7, 51), rise=7),
        "leaper": Terrain((5,), ()),
        "maze": Terrain((2,), (51,)),
        "miner": Terrain((2, 4), (1, 3, 10), (6,)),
        "ninja": Terrain((1,), (20, 51)),
    }
)
"""Games in which distances to the goal are more informative than rewards."""


def distances_to(targets: NDArray[np.bool_], free: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Path lengths from each cell to the nearest target, moving up, down, left and right.

    Parameters
    ----------
    targets, free : numpy.ndarray, shape (height, width), bool
        Cells to be reached, and cells that can be entered; targets always can.

    Returns
    -------
    numpy.ndarray, shape (height, width)
        Infinite where no path leads to a target.
    """
    height, width = targets.shape
    enterable = np.zeros((height + 2, width + 2), bool)
    enterable[1:-1, 1:-1] = free | targets
    front = np.zeros_like(enterable)
    front[1:-1, 1:-1] = targets
    distances = np.full(enterable.shape, np.inf)
    steps = 0
    while front.any():
        distances[front] = steps
        enterable &= ~front
        spread = np.zeros_like(front)
        spread[1:] |= front[:-1]
        spread[:-1] |= front[1:]
        spread[:, 1:] |= front[:, :-1]
        spread[:, :-1] |= front[:, 1:]
        front = spread & enterable
        steps += 1
    return distances[1:-1, 1:-1]


def jumping_distances_to(targets: NDArray[np.bool_], free: NDArray[np.bool_], rise: int) -> NDArray[np.float64]:
    """Path lengths as in `distances_to`, for a player that falls and jumps.

    A jump covers at most `rise` cells, up and to the sides; a player that moves down falls until it stands again.

    Parameters
    ----------
    targets, free : numpy.ndarray, shape (height, width), bool
        As in `distances_to`; the first row is the lowest, and below it is the ground.
    rise : int
        Number of cells of a jump.

    Returns
    -------
    numpy.ndarray, shape (height, width)
        In the air, for a player that has just jumped from straight below.
    """
    enterable = free | targets
    stands = np.vstack([np.ones((1, free.shape[1]), bool), ~enterable[:-1]])
    # A state is a cell with what is left of a jump: a jump's worth where one stands, nothing once one falls.
    left = np.arange(rise + 1)[:, None, None]
    numbers = np.arange((rise + 1) * free.size).reshape(rise + 1, *free.shape)
    entered = np.take_along_axis(numbers, np.where(stands, rise, left), axis=0)
    fallen = np.broadcast_to(entered[0], numbers.shape)
    moves = (
        (numbers[1:, :-1], entered[:-1, 1:]),
        (numbers[1:, :, :-1], entered[:-1, :, 1:]),
        (numbers[1:, :, 1:], entered[:-1, :, :-1]),
        (numbers[:, 1:], fallen[:, :-1]),
    )
    begins, ends = (np.concatenate([move[side].ravel() for move in moves]) for side in (0, 1))
    possible = enterable.ravel()[begins % free.size] & enterable.ravel()[ends % free.size]
    backwards = csr_array((np.ones(int(possible.sum())), (ends[possible], begins[possible])), shape=(numbers.size,) * 2)
    goals = np.unique(entered[:, targets])
    if not goals.size:
        return np.full(free.shape, np.inf)
    distances = dijkstra(backwards, indices=goals, unweighted=True, min_only=True).reshape(numbers.shape)
    rows = np.arange(len(free))[:, None]
    floor = np.maximum.accumulate(np.where(stands, rows, 0), axis=0)
    return np.take_along_axis(distances, np.maximum(rise - (rows - floor), 0)[None], axis=0)[0]


class Route:
    """Distances from every place of a level to the next goal.

    Parameters
    ----------
    game
        A name in `TERRAINS`.
    state
        The state that decides the targets.

    Attributes
    ----------
    unreachable : bool
        Whether there is a goal without a path to it.
    """

    def __init__(self, game: str, state: SavedState) -> None:
        terrain = TERRAINS[game]
        free = ~np.isin(state.grid, terrain.walls)
        locked = np.zeros_like(free)
        if game == "heist":
            locked = self._cells(_locked_doors(state), free.shape)
        self.unreachable = False
        for types in (terrain.targets, terrain.last):
            found = np.isin(state.entities["type"], types) & (state.entities["will_erase"] == 0)
            targets = np.isin(state.grid, types) | self._cells(state.entities[found], free.shape)
            passable = free & ~locked
            self._distances = (
                distances_to(targets, passable)
                if terrain.rise is None
                else jumping_distances_to(targets, passable, terrain.rise)
            )
            row, column = _cell(*position(state))
            if np.isfinite(self._distances[row % free.shape[0], column % free.shape[1]]):
                break
            self.unreachable |= bool(targets.any())

    @staticmethod
    def goals(game: str, state: SavedState) -> bytes:
        """Key of the goals: equal keys mean equal goals."""
        terrain = TERRAINS[game]
        types = (*terrain.targets, *terrain.last)
        found = state.entities[np.isin(state.entities["type"], types) & (state.entities["will_erase"] == 0)]
        cells = np.flatnonzero(np.isin(state.grid, types))
        parts = [cells, state.grid.flat[cells], found["x"], found["y"], found["type"]]
        return b"".join(part.tobytes() for part in parts)

    @staticmethod
    def obstacles(game: str, state: SavedState) -> bytes:
        """Key of the obstacles, walls and locked doors: equal keys mean equal obstacles."""
        parts = [np.packbits(np.isin(state.grid, TERRAINS[game].walls))]
        if game == "heist":
            doors = _locked_doors(state)
            parts += [doors["x"], doors["y"]]
        return b"".join(part.tobytes() for part in parts)

    @staticmethod
    def _cells(entities: np.ndarray, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        cells = np.zeros(shape, bool)
        for entity in entities:
            row, column = _cell(entity["x"], entity["y"])
            if 0 <= row < shape[0] and 0 <= column < shape[1]:
                cells[row, column] = True
        return cells

    def headings(self, x: float, y: float) -> list[tuple[int, int]]:
        """Headings along a shortest path from a place, in games whose player moves in the direction of the action.

        Parameters
        ----------
        x, y
            The place.

        Returns
        -------
        list of (int, int)
            Right and up are 1, left and down are -1. Each leads to the centre of a next cell on a shortest path, or of
            the same cell where none is nearer; close to the centre line it may be sideways, which is first, or straight
            on.
        """
        cells = self._around(x, y)
        nearest = min(distance for _, _, distance in cells)
        if cells[0][2] == nearest:
            cells = cells[:1]
        next_cells = [(r, c) for r, c, distance in cells if distance == nearest]
        return [push for r, c in next_cells for push in _pushes(c + 0.5 - x, r + 0.5 - y)]

    def _around(self, x: float, y: float) -> list[tuple[int, int, float]]:
        """Row, column and distance of a place's cell, which is first, and of those that share an edge with it."""
        row, column = _cell(x, y)
        height, width = self._distances.shape
        cells = [(row + up, column + right) for up, right in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))]
        return [(r, c, self._distances[r, c] if 0 <= r < height and 0 <= c < width else np.inf) for r, c in cells]

    def remaining(self, x: float, y: float) -> float:
        """Length of the shortest path from a place, in cells.

        It is interpolated between cell centres; where there is no path it exceeds that of the farthest place.
        """
        best = min(distance + abs(x - c - 0.5) + abs(y - r - 0.5) for r, c, distance in self._around(x, y))
        if np.isfinite(best):
            return float(best)
        known = self._distances[np.isfinite(self._distances)]
        return float(known.max(initial=0)) + 1


def position(state: SavedState) -> tuple[float, float]:
    """Position of the player."""
    player = state.entities[np.flatnonzero(state.entities["type"] == PLAYER)[0]]
    return float(player["x"]), float(player["y"])


_IN_THE_MIDDLE, _CLOSE_TO_IT = 0.05, 0.25
"""Distances from the centre line, in cells, below which the player must, or may, go straight on."""


def _pushes(right: float, up: float) -> list[tuple[int, int]]:
    """Headings towards an offset: along the path, and across it towards its centre line."""
    across_is_up = abs(right) > abs(up)
    ahead, aside = (right, up) if across_is_up else (up, right)
    sides = [int(np.sign(aside))]
    if abs(aside) <= _CLOSE_TO_IT:
        sides = [0] if abs(aside) <= _IN_THE_MIDDLE else [*sides, 0]
    straight = int(np.sign(ahead))
    return [(straight, side) if across_is_up else (side, straight) for side in sides]


def _cell(x: float, y: float) -> tuple[int, int]:
    return int(np.floor(y)), int(np.floor(x))


def _locked_doors(state: SavedState) -> np.ndarray:
    """Doors in heist whose key the player does not have."""
    (has_keys,) = state.own_lists(after=2, count=1)
    doors = state.entities[state.entities["type"] == 1]
    return doors[has_keys[doors["image_theme"]] == 0]
