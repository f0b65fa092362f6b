"""PPO that chooses the training level of each coming episode."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from lcd.agents.ppo import PPO

MOST_LEVELS = 2**20
"""Largest number of levels that are told apart."""


@dataclass(frozen=True)
class PlayedLevels:
    """What a rollout of `t` steps of `n` games tells about levels.

    Attributes
    ----------
    levels : numpy.ndarray, shape (t, n), int64
        Number of the level of each step, from 0.
    advantages : numpy.ndarray, shape (t, n), float32
        Generalised advantage estimates of the steps.
    ended_levels : numpy.ndarray, shape (episodes,), int64
        Levels of the episodes that ended in the rollout, in their order.
    ended_returns : numpy.ndarray, shape (episodes,), float64
        Their returns, in the game's own unit; NaN where nobody has counted them.
    """

    levels: NDArray[np.int64]
    advantages: NDArray[np.floating]
    ended_levels: NDArray[np.int64]
    ended_returns: NDArray[np.float64]


class LevelChooser:
    """Chooses levels, numbered from 0, by what was played.

    Parameters
    ----------
    count
        Number of levels.
    seed
        Seed of its own random generator; None for any.
    """

    def __init__(self, count: int, seed: int | None) -> None:
        self.count = count
        self.generator = np.random.default_rng(seed)

    @abstractmethod
    def choose(self, games: int) -> NDArray[np.int64]:
        """Choose a level for each of some games, shape (games,)."""

    def begin(self, levels: NDArray[np.int64]) -> None:
        """Take note of levels in which episodes begin."""

    @abstractmethod
    def learn(self, played: PlayedLevels) -> None:
        """Take note of a rollout."""

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What it has learned: arrays by name, which `restore` writes into."""

    def snapshot(self) -> dict[str, Any]:
        """Everything that decides how it goes on."""
        copies = {name: array.copy() for name, array in self.arrays().items()}
        return copies | {"generator": json.dumps(self.generator.bit_generator.state)}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot of a chooser of as many levels."""
        for name, array in self.arrays().items():
            array[...] = np.asarray(snapshot[name])
        self.generator.bit_generator.state = json.loads(snapshot["generator"])


class LevelChoosingPPO(PPO):
    """PPO on levels that a `LevelChooser` chooses among the game's training levels.

    Each game is told its next level when an episode begins, and again after each rollout, which changes the choices. So
    a choice is at most a rollout old when its level begins. Where each game plays first is left to the game. With other
    levels the choice begins anew.

    Parameters
    ----------
    **kwargs
        As in `lcd.agents.PPO`. The environment has `lcd.envs.vec_env.GameVecEnv.set_next_levels`.

    Raises
    ------
    ValueError
        If the levels of the environment cannot be chosen, or are too many.
    """

    chooser_class: ClassVar[type[LevelChooser]]

    def _setup_model(self) -> None:
        super()._setup_model()
        self._chooser: LevelChooser | None = None
        self._has_chosen = False
        if self.env is not None:
            self._levels = self._choosable(self.env)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Learn in another environment, whose games were told nothing yet."""
        super().set_env(env, force_reset)
        self._has_chosen = False

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_chooser", "_has_chosen"]

    @staticmethod
    def _choosable(env: VecEnv) -> range:
        try:
            levels = env.get_attr("choosable_levels")[0]
        except AttributeError:
            levels = None
        if levels is None:
            raise ValueError("The levels of this environment cannot be chosen: learn on one of lcd.envs's games.")
        if len(levels) > MOST_LEVELS:
            raise ValueError(f"Levels are chosen among up to {MOST_LEVELS}, not {len(levels)}: set num_levels.")
        return levels

    @property
    def chooser(self) -> LevelChooser:
        """What chooses the levels."""
        if self._chooser is None:
            self._chooser = self.chooser_class(len(self._levels), self.seed)
        return self._chooser

    def set_next_levels(self, env: VecEnv, games: NDArray[np.int64]) -> None:
        """Choose the next levels of some games, given by their indices."""
        levels = self._levels.start + self.chooser.choose(len(games))
        env.env_method("set_next_levels", games, levels)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Collect a rollout on chosen levels, and learn from it how to choose."""
        levels = self._choosable(env)
        if levels != self._levels:
            self._levels, self._chooser, self._has_chosen = levels, None, False
        everyone = np.arange(env.num_envs)
        if not self._has_chosen:
            self.set_next_levels(env, everyone)
            self._has_chosen = True
        choosing = _ChoosingVecEnv(env, self, self._levels.start)
        goes_on = super().collect_rollouts(choosing, callback, rollout_buffer, n_rollout_steps)
        if goes_on:
            self.chooser.learn(choosing.played(rollout_buffer.advantages))
            self.set_next_levels(env, everyone)
        return goes_on

    def further_state(self) -> dict[str, Any]:
        """The chooser's state; checkpoints hold the levels that the games were told."""
        return super().further_state() | {
            "chooser": self.chooser.snapshot(),
            "has_chosen": self._has_chosen,
            "levels": self._bounds,
        }

    def restore_further_state(self, state: Mapping[str, Any]) -> None:
        """Go on choosing, if it is among the same levels."""
        super().restore_further_state(state)
        if state.get("levels", self._bounds) == self._bounds:
            self.chooser.restore(state["chooser"])
            self._has_chosen = bool(state["has_chosen"]) and self._last_obs is not None  # games that begin know nothing

    @property
    def _bounds(self) -> list[int]:
        """The first level, and the number behind the last."""
        return [self._levels.start, self._levels.stop]


class _ChoosingVecEnv(VecEnvWrapper):
    """Chooses the next level of each game in which an episode begins, and takes note of what is played."""

    def __init__(self, venv: VecEnv, learner: LevelChoosingPPO, first: int) -> None:
        super().__init__(venv)
        self._learner, self._first = learner, first
        self._levels: list[NDArray[np.int64]] = []
        self._ended: list[tuple[int, float]] = []

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        self._levels.append(np.array([info["prev_level_seed"] for info in infos]) - self._first)
        ended = np.flatnonzero(dones)
        if ended.size:
            for game in ended.tolist():
                counted = infos[game].get("episode", {}).get("r", np.nan)
                self._ended.append((infos[game]["prev_level_seed"] - self._first, float(counted)))
            self._learner.chooser.begin(np.array([infos[game]["level_seed"] for game in ended]) - self._first)
            self._learner.set_next_levels(self.venv, ended)
        return observations, rewards, dones, infos

    def played(self, advantages: NDArray[np.floating]) -> PlayedLevels:
        """What the rollout tells, with the advantages of its steps, shape (t, n)."""
        levels, returns = zip(*self._ended, strict=True) if self._ended else ((), ())
        return PlayedLevels(
            np.stack(self._levels), advantages, np.array(levels, np.int64), np.array(returns, np.float64)
        )
