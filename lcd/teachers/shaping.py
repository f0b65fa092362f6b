"""Reward shaping: a reward for getting closer to the goal, for games with sparse rewards."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from lcd.envs import ProcgenVecEnv
from lcd.teachers.shortest_paths import ShortestPaths

STRIDE = 4
"""Steps between two readings of the state. A reading takes 0.1 ms, as long as two to four steps."""


class ShapedRewardVecEnv(VecEnvWrapper):
    """Potential-based shaping by the length of the path to the goal.

    While the goal stays the same, a detour loses what the way back regains. Where the goal changes between two
    readings, as when a key is found, nothing is added. An episode that ends without completing its level loses all
    shaping reward that it was given, so that dying never pays.

    Parameters
    ----------
    venv
        Environment of the games.
    games
        The games themselves, in which paths are known (see `lcd.envs.procgen.routes`).
    weight
        Reward for each cell closer to the goal.

    Raises
    ------
    ValueError
        If no paths are known in the game.
    """

    def __init__(self, venv: VecEnv, games: ProcgenVecEnv, weight: float) -> None:
        super().__init__(venv)
        self._paths, self._weight = ShortestPaths(games, games.options.game, venv.num_envs), weight
        self._given = np.zeros(venv.num_envs)
        self._time = 0

    def reset(self) -> VecEnvObs:
        """Begin new episodes."""
        observations = self.venv.reset()
        self._time = 0
        self._given[:] = 0
        self._paths.update(range(self.num_envs))
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Make the step; every `STRIDE` steps the shaping reward since the last reading is added."""
        observations, rewards, dones, infos = self.venv.step_wait()
        added = np.zeros(self.num_envs)
        self._time += 1
        if self._time % STRIDE == 0:
            before = self._paths.remaining.copy()
            same_goal = self._paths.update(range(self.num_envs))
            added = np.where(same_goal & ~dones, self._weight * (before - self._paths.remaining), 0.0)
            self._given += added
        if dones.any():
            ended = np.flatnonzero(dones)
            failed = ended[[not infos[index]["prev_level_complete"] for index in ended]]
            added[failed] = -self._given[failed]
            self._given[ended] = 0
            if self._time % STRIDE:
                self._paths.update(ended.tolist())
        return observations, rewards + added.astype(np.float32), dones, infos
