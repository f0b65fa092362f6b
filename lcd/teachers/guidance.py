"""Reward for getting closer: what a learner is told where the game's own rewards are far away."""

from __future__ import annotations

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
    about. The step in which the goal changes, as when a key is found, is not rewarded; nor is an episode's end, which
    the game rewards itself.

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
        self._routes: list[tuple[bytes, Route] | None] = [None] * venv.num_envs
        self._to_go = np.full(venv.num_envs, np.nan)
        self._time = 0

    def reset(self) -> VecEnvObs:
        """Begin new episodes."""
        observations = self.venv.reset()
        self._to_go[:] = np.nan
        self._time = 0
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Make the step; every `STRIDE` steps the rewards say how the way has changed since the last look."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self._to_go[dones] = np.nan
        self._time += 1
        if self._time % STRIDE == 0:
            before = self._to_go.copy()
            changed = self._look()
            progress = np.where(changed, 0.0, before - self._to_go)
            rewards = rewards + self._weight * np.nan_to_num(progress).astype(np.float32)
        return observations, rewards, dones, infos

    def _look(self) -> NDArray[np.bool_]:
        """Measure all ways, and tell where they lead to another goal than before."""
        changed = np.zeros(self.num_envs, bool)
        for index in range(self.num_envs):
            state = SavedState(self._games.saved_state(index))
            key = Route.key(self._games.options.game, state)
            known = self._routes[index]
            if known is None or known[0] != key:
                known = self._routes[index] = (key, Route(self._games.options.game, state))
                changed[index] = True
            self._to_go[index] = known[1].remaining(*position(state))
        return changed
