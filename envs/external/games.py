"""Several games of another package that step together, in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from lcd.envs.external.game import ExternalGame
from lcd.envs.external.options import ExternalOptions

Views = dict[str, np.ndarray]


class Outcome(NamedTuple):
    """What a step of one game gave.

    Attributes
    ----------
    views
        Of its present state: where an episode ended, of the first state of the next.
    reward, terminated, truncated
        As the game gave them.
    last
        The views of the last state of the episode that ended; None while it goes on.
    """

    views: Views
    reward: float
    terminated: bool
    truncated: bool
    last: Views | None


class Games(Protocol):
    """Games with numbers from 0; each method takes some of them, in rising order of their numbers.

    Attributes
    ----------
    num_actions
        Number of actions of each game.
    """

    num_actions: int

    def begin(self, levels: Mapping[int, int]) -> list[Views]:
        """Begin an episode of some games, each in a level: the views of their first states."""
        ...

    def begin_noise(self, seeds: Mapping[int, int]) -> None:
        """Seed what some games draw beside their levels, from their next episode on: `ExternalGame.begin_noise`."""
        ...

    def step(self, actions: Mapping[int, int], next_level: Callable[[int], int]) -> list[Outcome]:
        """Make a step of some games.

        Parameters
        ----------
        actions
            By the numbers of the games.
        next_level
            Gives the level that a game goes on to; called once for each game whose episode ended, in rising order.
        """
        ...

    def close(self) -> None:
        """Free the games."""
        ...


class GamesHere:
    """Games that step one after the other in the calling thread.

    Parameters
    ----------
    options, view
        As in `lcd.envs.external.game.ExternalGame`.
    number
        Number of games.
    """

    def __init__(self, options: ExternalOptions, view: str, number: int) -> None:
        self.games = [ExternalGame(options, view) for _ in range(number)]
        self.num_actions = self.games[0].num_actions

    def begin(self, levels: Mapping[int, int]) -> list[Views]:
        """Begin an episode of some games, see `Games`."""
        return [self.games[number].begin(level) for number, level in levels.items()]

    def begin_noise(self, seeds: Mapping[int, int]) -> None:
        """Seed what some games draw beside their levels, see `Games`."""
        for number, seed in seeds.items():
            self.games[number].begin_noise(seed)

    def step(self, actions: Mapping[int, int], next_level: Callable[[int], int]) -> list[Outcome]:
        """Make a step of some games, see `Games`."""
        outcomes = []
        for number, action in actions.items():
            outcome = self._step(number, action)
            if outcome.terminated or outcome.truncated:
                begun = self.games[number].begin(next_level(number))
                outcome = outcome._replace(views=begun, last=outcome.views)
            outcomes.append(outcome)
        return outcomes

    def advance(self, actions: Mapping[int, int]) -> list[Outcome]:
        """Make a step of some games without going on where an episode ended: their last states."""
        return [self._step(number, action) for number, action in actions.items()]

    def _step(self, number: int, action: int) -> Outcome:
        views, reward, terminated, truncated = self.games[number].step(action)
        return Outcome(views, reward, terminated, truncated, None)

    def close(self) -> None:
        """Free the games."""
        for game in self.games:
            game.close()
