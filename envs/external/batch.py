"""A batch of another package's games, each in its own level."""

from __future__ import annotations

import copy
import json
import multiprocessing
from typing import Any

import numpy as np
from gymnasium import spaces

from lcd.envs.batch import Observation, Step, checked_actions, checked_num_envs
from lcd.envs.external.game import spaces_of
from lcd.envs.external.games import Games, GamesHere, Views
from lcd.envs.external.options import ExternalOptions
from lcd.envs.external.processes import GamesInProcesses
from lcd.envs.vec_env import GameVecEnv
from lcd.envs.views import BOTH
from lcd.io.limits import whole_number


class ExternalBatch:
    """Games that step together, each going on to a new level when its episode ends.

    Parameters
    ----------
    options
        The game and its levels.
    num_envs
        Number of games.
    view
        ``"pixels"``, ``"semantic"`` or ``"both"``.
    seed
        Decides which levels are drawn in which order.
    num_processes
        Processes that step the games; below 2 the calling thread does.
    snapshot
        Of a batch of the same games, whose next levels these go on to.
    """

    def __init__(
        self,
        options: ExternalOptions,
        num_envs: int,
        view: str = "pixels",
        seed: int = 0,
        num_processes: int = 0,
        snapshot: dict[str, Any] | None = None,
    ) -> None:
        self.options, self.view, self.num_envs = options, view, checked_num_envs(num_envs)
        self._games = _games(options, view, num_envs, whole_number("num_processes", num_processes))
        self._owns_games = True
        self._numbers = list(range(num_envs))
        self._levels = np.zeros(num_envs, np.int64)
        self._next_levels: dict[int, int] = {}
        self._now: list[Views] = []
        if snapshot is None:
            self.begin(seed)
        else:
            self.restore(snapshot)

    def begin(self, seed: int) -> None:
        """Begin from a seed, with the same games; each has its own generator, so that no play decides its levels."""
        self._generators = [np.random.default_rng([seed, index]) for index in range(self.num_envs)]
        self._next_levels.clear()
        self._begin_noise()
        self.restart()

    def _begin_noise(self) -> None:
        """Seed what the games draw beside their levels, such as sticky actions, without a draw of the generators."""
        seeds = [int(copy.deepcopy(each).integers(2**31)) for each in self._generators]
        self._games.begin_noise(dict(zip(self._numbers, seeds, strict=True)))

    def _next_level(self, index: int) -> int:
        drawn = self._generators[index].integers(self.options.levels.start, self.options.levels.stop)
        self._levels[index] = self._next_levels.get(index, drawn)
        return int(self._levels[index])

    def _one(self, views: Views) -> Observation:
        return dict(views) if self.view == BOTH else views[self.view]

    @property
    def level_seeds(self) -> np.ndarray:
        """Level that each game is in, shape (num_envs,), int64."""
        return self._levels.copy()

    def observe(self) -> Observation:
        """Present observations, as new arrays with the games along the first axis."""
        if self.view == BOTH:
            return {name: np.stack([each[name] for each in self._now]) for name in self._now[0]}
        return np.stack([each[self.view] for each in self._now])

    def step(self, actions: np.ndarray) -> Step:
        """Advance every game by one action.

        Raises
        ------
        lcd.envs.external.game.GameFault
            If a game fails.
        """
        actions = checked_actions(actions, self.num_envs, self._games.num_actions)
        previous, places = self.level_seeds, {number: index for index, number in enumerate(self._numbers)}
        outcomes = self._games.step(
            dict(zip(self._numbers, actions.tolist(), strict=True)), lambda number: self._next_level(places[number])
        )
        self._now = [each.views for each in outcomes]
        terminated = np.array([each.terminated for each in outcomes])
        return Step(
            observations=self.observe(),
            rewards=np.array([each.reward for each in outcomes], np.float32),
            terminated=terminated,
            truncated=np.array([each.truncated for each in outcomes]) & ~terminated,
            level_seeds=self.level_seeds,
            previous_level_seeds=previous,
            level_completes=np.zeros(self.num_envs, bool),
            final_observations={
                index: self._one(each.last) for index, each in enumerate(outcomes) if each.last is not None
            },
        )

    def set_next_levels(self, games: np.ndarray, levels: np.ndarray) -> None:
        """Choose the level that some games play after their present episode, see `lcd.envs.batch.LevelBatch`."""
        self._next_levels |= dict(zip(games.tolist(), levels.tolist(), strict=True))

    def restart(self) -> None:
        """End every episode and begin the next."""
        self._now = self._games.begin({number: self._next_level(index) for index, number in enumerate(self._numbers)})

    def snapshot(self) -> dict[str, Any]:
        """What decides which levels come next: the state of somebody else's game cannot be saved."""
        return {
            "generators": json.dumps([each.bit_generator.state for each in self._generators]),
            "chosen": [[index, level] for index, level in self._next_levels.items()],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Begin new episodes, in the levels that would have come next."""
        self._generators = [np.random.default_rng() for _ in range(self.num_envs)]
        for generator, state in zip(self._generators, json.loads(snapshot["generators"]), strict=True):
            generator.bit_generator.state = state
        self._next_levels = {int(index): int(level) for index, level in snapshot["chosen"]}
        self._begin_noise()
        self.restart()

    def part(self, games: np.ndarray) -> ExternalBatch:
        """Some of the games alone, see `lcd.envs.batch.PartedBatch`; this batch is to begin anew afterwards."""
        chosen = games.tolist()
        alone = copy.copy(self)
        alone.num_envs, alone._owns_games, alone._levels = len(chosen), False, self._levels[games]
        alone._numbers, alone._now = [self._numbers[index] for index in chosen], [self._now[index] for index in chosen]
        alone._generators = [self._generators[index] for index in chosen]
        alone._next_levels = {
            place: self._next_levels[index] for place, index in enumerate(chosen) if index in self._next_levels
        }
        return alone

    def close(self) -> None:
        """Free the games."""
        if self._owns_games:
            self._games.close()


def _games(options: ExternalOptions, view: str, number: int, num_processes: int) -> Games:
    """The games, in this process or in others; a process of a pool may start none."""
    if min(num_processes, number) < 2 or multiprocessing.current_process().daemon:
        return GamesHere(options, view, number)
    return GamesInProcesses(options, view, number, min(num_processes, number))


class ExternalVecEnv(GameVecEnv):
    """A batch of another package's games for Stable-Baselines3.

    Parameters
    ----------
    options
        The game and its levels.
    num_envs, view, seed
        As in `lcd.envs.vec_env.GameVecEnv`.
    num_processes
        Processes that step the games; below 2 the calling thread does.
    """

    saves_states = False

    def __init__(
        self,
        options: ExternalOptions,
        num_envs: int = 64,
        view: str = "pixels",
        seed: int = 0,
        num_processes: int = 0,
    ) -> None:
        self.options = options
        self._num_processes = num_processes
        self._goes_on_from: dict[str, Any] | None = None
        self.choosable_levels = options.choosable_levels
        found = spaces_of(options.training_levels(0))
        actions: spaces.Space = found.actions
        super().__init__(num_envs, view, found.of_view(view), actions, seed)

    def _lay_out(self, seed: int) -> ExternalBatch:
        snapshot, self._goes_on_from = self._goes_on_from, None
        return ExternalBatch(self.options, self.num_envs, self.view, seed, self._num_processes, snapshot)

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on, from the next `reset` without a seed, to the levels that would have come next."""
        self.close()
        self._seed, self._next_seed = int(snapshot["seed"]), None
        self._goes_on_from = snapshot["batch"]

    def _begin_anew(self) -> None:
        """Begin from the seed with the games that there are: making them may take seconds."""
        self._goes_on_from = None
        if isinstance(self._batch, ExternalBatch):
            self._batch.begin(self._seed)
        else:
            super()._begin_anew()
