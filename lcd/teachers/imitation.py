"""Online DAgger with expert labels from shortest paths, in every state that the student visits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs
from torch.nn import functional

from lcd.agents import DAgger, TaughtVecEnv
from lcd.agents.gradient import Statistics
from lcd.agents.imitation import LabelRolloutBuffer
from lcd.envs import ProcgenVecEnv
from lcd.envs.procgen.actions import HEADINGS, NUM_ACTIONS, action_classes
from lcd.teachers.shortest_paths import ShortestPaths

MAX_STEPS_WITHOUT_PATH = 8
"""Steps without a path to any goal after which an episode is ended. Rolling boulders may reopen a path."""


def heading_action_probabilities(game: str) -> dict[tuple[int, int], np.ndarray]:
    """Action probabilities for each heading, shape (15,): uniform over the actions equivalent to it."""
    probabilities = {}
    for heading, action in HEADINGS.items():
        members = next(members for members in action_classes(game) if action in members)
        probabilities[heading] = np.isin(np.arange(NUM_ACTIONS), members) / len(members)
    return probabilities


class ShortestPathLabelVecEnv(TaughtVecEnv):
    """Label every state with the actions along a shortest path, computed from the true state.

    Where no path is left, as when boulders enclose the player, there is no label. The episode is then ended, or such
    states would dominate the rollouts of a student that is often enclosed.

    Parameters
    ----------
    venv
        Environment of the games.
    games
        The games themselves. Their paths must be known (see `lcd.envs.procgen.routes`), and each action must move the
        player in its own direction.

    Attributes
    ----------
    teacher_observations : torch.Tensor, shape (games, 15), float32
        Log-probabilities of the actions: uniform over the headings along a shortest path.

    Raises
    ------
    ValueError
        If no paths are known in the game.
    """

    def __init__(self, venv: VecEnv, games: ProcgenVecEnv) -> None:
        super().__init__(venv)
        self._games = games
        self._paths = ShortestPaths(games, games.options.game, venv.num_envs)
        self._probabilities = heading_action_probabilities(games.options.game)
        self._steps_without_path = np.zeros(venv.num_envs, int)

    def step_async(self, actions: np.ndarray) -> None:
        """Begin the step, and end the episodes in which no path is left."""
        self._games.give_up(self._steps_without_path >= MAX_STEPS_WITHOUT_PATH)
        super().step_async(actions)

    def _split(self, observations: VecEnvObs) -> np.ndarray:
        own = super()._split(observations)
        self._paths.update(range(self.num_envs))
        self._steps_without_path = np.where(self._paths.unreachable, self._steps_without_path + 1, 0)
        labels = np.array([self._label(index) for index in range(self.num_envs)], np.float32)
        self.teacher_observations = torch.from_numpy(labels).clamp(min=math.exp(-20)).log()
        return own

    def _label(self, index: int) -> np.ndarray:
        return np.mean([self._probabilities[heading] for heading in self._paths.headings(index)], axis=0)


class PassthroughTeacher:
    """Teacher whose observations already are the labels, as those of `ShortestPathLabelVecEnv` are."""

    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the observations, which are log-probabilities of the actions."""
        return observations


class ValuedSamples(NamedTuple):
    """Minibatch of labelled observations with their returns."""

    observations: torch.Tensor
    teacher_log_probabilities: torch.Tensor
    returns: torch.Tensor


class DAggerWithCritic(DAgger):
    """DAgger that also trains the value function as PPO does, so that PPO can continue from its weights."""

    def _minibatches(self) -> Iterator[ValuedSamples]:  # type: ignore[override]
        buffer = self.rollout_buffer
        assert isinstance(buffer, LabelRolloutBuffer)
        returns = buffer.columns()[-1]
        for rows in buffer.minibatch_rows(self.batch_size):
            yield ValuedSamples(buffer.frames(rows), self._labels[rows], returns[rows])

    def minibatch_loss(self, batch: Any, clip_range: float) -> tuple[torch.Tensor, Statistics]:
        """Imitation loss of `lcd.agents.DAgger` plus PPO's value loss."""
        student, values = self.policy.heads(batch.observations)
        loss, statistics = self.imitation_loss(student, batch.teacher_log_probabilities)
        value_loss = functional.mse_loss(batch.returns, values.flatten())
        loss = loss + self.vf_coef * value_loss
        return loss, statistics | {"loss": loss.detach(), "value_loss": value_loss.detach()}
