"""Reward for getting closer: what a learner is told where the game's own rewards are far away."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from lcd.envs import ProcgenVecEnv
from lcd.teachers.shortest_paths import Ways

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
        The games themselves, in which ways are known (see `lcd.envs.procgen.routes`).
    weight
        Reward for a cell less to go.

    Raises
    ------
    ValueError
        If no ways are known in the game.
    """

    def __init__(self, venv: VecEnv, games: ProcgenVecEnv, weight: float) -> None:
        super().__init__(venv)
        self._ways, self._weight = Ways(games, games.options.game, venv.num_envs), weight
        self._given = np.zeros(venv.num_envs)
        self._time = 0

    def reset(self) -> VecEnvObs:
        """Begin new episodes."""
        observations = self.venv.reset()
        self._time = 0
        self._given[:] = 0
        self._ways.look(range(self.num_envs))
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Make the step; every `STRIDE` steps the rewards say how the way has changed since the last look."""
        observations, rewards, dones, infos = self.venv.step_wait()
        added = np.zeros(self.num_envs)
        self._time += 1
        if self._time % STRIDE == 0:
            before = self._ways.remaining.copy()
            same_goal = self._ways.look(range(self.num_envs))
            added = np.where(same_goal & ~dones, self._weight * (before - self._ways.remaining), 0.0)
            self._given += added
        if dones.any():
            ended = np.flatnonzero(dones)
            failed = ended[[not infos[index]["prev_level_complete"] for index in ended]]
            added[failed] = -self._given[failed]
            self._given[ended] = 0
            if self._time % STRIDE:
                self._ways.look(ended.tolist())
        return observations, rewards + added.astype(np.float32), dones, infos
