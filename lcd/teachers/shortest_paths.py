"""Shortest paths in a batch of games, recomputed only when goals or obstacles have changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lcd.envs.procgen.routes import TERRAINS, Route, position
from lcd.envs.procgen.saved_state import SavedState


class Games(Protocol):
    """A batch of games whose states can be saved."""

    def saved_state(self, index: int) -> bytes:
        """Saved state of one game."""
        ...


class ShortestPaths:
    """Shortest path to the nearest goal in each game of a batch.

    Parameters
    ----------
    games
        The games.
    game
        Their name.
    count
        Their number.

    Attributes
    ----------
    remaining : numpy.ndarray, shape (count,)
        Path length in cells at the last update.
    unreachable : numpy.ndarray, shape (count,), bool
        Whether there was a goal without a path to it at the last update.

    Raises
    ------
    ValueError
        If no paths are known in the game.
    """

    def __init__(self, games: Games, game: str, count: int) -> None:
        if game not in TERRAINS:
            raise ValueError(
                f"No paths are known in {game}, so that it has neither shaping rewards nor labels from shortest paths: "
                f"choose one of {', '.join(TERRAINS)}."
            )
        self._games, self._game = games, game
        self._goals: list[bytes] = [b""] * count
        self._obstacles: list[bytes] = [b""] * count
        self._routes: list[Route | None] = [None] * count
        self._places = [(0.0, 0.0)] * count
        self.remaining = np.zeros(count)
        self.unreachable = np.zeros(count, bool)

    def update(self, indices: Iterable[int]) -> NDArray[np.bool_]:
        """Update the paths of some games, and return in which of them the goals are the same, shape (count,)."""
        same_goal = np.zeros(len(self.remaining), bool)
        for index in indices:
            state = SavedState(self._games.saved_state(index))
            goals, obstacles = Route.goals(self._game, state), Route.obstacles(self._game, state)
            same_goal[index] = goals == self._goals[index]
            route = self._routes[index]
            if route is None or not same_goal[index] or obstacles != self._obstacles[index]:
                route = self._routes[index] = Route(self._game, state)
                self._goals[index], self._obstacles[index] = goals, obstacles
            self._places[index] = position(state)
            self.unreachable[index] = route.unreachable
            self.remaining[index] = route.remaining(*self._places[index])
        return same_goal

    def headings(self, index: int) -> list[tuple[int, int]]:
        """Headings along the path of a game that has been updated, see `lcd.envs.procgen.routes.Route.headings`."""
        route = self._routes[index]
        assert route is not None, "update first"
        return route.headings(*self._places[index])
