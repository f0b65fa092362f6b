"""Reward for getting closer: what a learner is told where the game's own rewards are far away."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from envs import ProcgenVecEnv
from envs.routes import TERRAINS, Route, position
from envs.saved_state import SavedState

STRIDE = 4
"""Steps from one look at the state to the next: a look takes a tenth of a millisecond, as long as two to four steps."""


class GuidedVecEnv(VecEnvWrapper):
    """Adds to the reward what the way to the goal has become shorter by.

    While the goal stays the same, what a detour takes away its way back gives again, so nothing is gained by walking
    about. Where the goal changes between two looks, as when a key is found, they are not compared. An episode that ends
    without its level being completed takes back all that it was given: running into danger is no way to be paid.

    Parameters
    ----------
    venv
        Environment of the games.
    games
        The games themselves, in which ways are known (see `envs.routes`).
    weight
        Reward for a cell less to go.

    Raises
    ------
    ValueError
        If no ways are known in the game.
    """

    def __init__(self, venv: VecEnv, games: ProcgenVecEnv, weight: float) -> None:
        super().__init__(venv)
        if games.options.game not in TERRAINS:
            raise ValueError(f"Nothing is known of ways in {games.options.game}: its guidance must be 0.")
        self._games, self._weight = games, weight
        self._goals: list[bytes] = [b""] * venv.num_envs
        self._obstacles: list[bytes] = [b""] * venv.num_envs
        self._routes: list[Route | None] = [None] * venv.num_envs
        self._to_go, self._given = np.zeros(venv.num_envs), np.zeros(venv.num_envs)
        self._time = 0

    def reset(self) -> VecEnvObs:
        """Begin new episodes."""
        observations = self.venv.reset()
        self._time = 0
        self._given[:] = 0
        self._look(range(self.num_envs))
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Make the step; every `STRIDE` steps the rewards say how the way has changed since the last look."""
        observations, rewards, dones, infos = self.venv.step_wait()
        added = np.zeros(self.num_envs)
        self._time += 1
        if self._time % STRIDE == 0:
            before = self._to_go.copy()
            same_goal = self._look(range(self.num_envs))
            added = np.where(same_goal & ~dones, self._weight * (before - self._to_go), 0.0)
            self._given += added
        if dones.any():
            ended = np.flatnonzero(dones)
            failed = ended[[not infos[index]["prev_level_complete"] for index in ended]]
            added[failed] = -self._given[failed]
            self._given[ended] = 0
            if self._time % STRIDE:
                self._look(ended.tolist())
        return observations, rewards + added.astype(np.float32), dones, infos

    def _look(self, games: Iterable[int]) -> NDArray[np.bool_]:
        """Measure the ways in some games, and tell where they still lead to the same goal."""
        same_goal = np.zeros(self.num_envs, bool)
        name = self._games.options.game
        for index in games:
            state = SavedState(self._games.saved_state(index))
            goals, obstacles = Route.goals(name, state), Route.obstacles(name, state)
            same_goal[index] = goals == self._goals[index]
            route = self._routes[index]
            if route is None or not same_goal[index] or obstacles != self._obstacles[index]:
                route = self._routes[index] = Route(name, state)
                self._goals[index], self._obstacles[index] = goals, obstacles
            self._to_go[index] = route.remaining(*position(state))
        return same_goal
