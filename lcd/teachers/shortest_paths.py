"""The ways of many games at once, found again only when where they lead or what is in them has changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lcd.envs.procgen.routes import TERRAINS, Route, position
from lcd.envs.procgen.saved_state import SavedState


class Games(Protocol):
    """A number of games of one kind whose states can be saved."""

    def saved_state(self, index: int) -> bytes:
        """State of one of them."""
        ...


class Ways:
    """The way that each of some games has still to go.

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
        Cells still to go at the last look.
    hopeless : numpy.ndarray, shape (count,), bool
        Whether no way led to a goal that was there at the last look.

    Raises
    ------
    ValueError
        If no ways are known in the game.
    """

    def __init__(self, games: Games, game: str, count: int) -> None:
        if game not in TERRAINS:
            raise ValueError(f"Nothing is known of ways in {game}: it has no guidance, and nobody is shown a way.")
        self._games, self._game = games, game
        self._goals: list[bytes] = [b""] * count
        self._obstacles: list[bytes] = [b""] * count
        self._routes: list[Route | None] = [None] * count
        self._places = [(0.0, 0.0)] * count
        self.remaining = np.zeros(count)
        self.hopeless = np.zeros(count, bool)

    def look(self, indices: Iterable[int]) -> NDArray[np.bool_]:
        """Look at some games, and tell in which of them the way still leads to the same goal, shape (count,)."""
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
            self.hopeless[index] = route.hopeless
            self.remaining[index] = route.remaining(*self._places[index])
        return same_goal

    def headings(self, index: int) -> list[tuple[int, int]]:
        """Which way to push in a game that has been looked at, see `lcd.envs.procgen.routes.Route.headings`."""
        route = self._routes[index]
        assert route is not None, "look first"
        return route.headings(*self._places[index])
