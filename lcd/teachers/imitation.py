"""Learning by being shown the way, in every state that the learner comes to."""

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
from lcd.teachers.shortest_paths import Ways

PATIENCE = 8
"""Steps without a way after which a game begins anew: boulders that roll may open it again, others never do."""


def shown_chances(game: str) -> dict[tuple[int, int], np.ndarray]:
    """Chances of a game's actions for each way to push, shape (15,): all actions that push this way are as likely."""
    chances = {}
    for heading, action in HEADINGS.items():
        members = next(members for members in action_classes(game) if action in members)
        chances[heading] = np.isin(np.arange(NUM_ACTIONS), members) / len(members)
    return chances


class ShownVecEnv(TaughtVecEnv):
    """Shows which way to push, instead of another view that a teacher could tell it from.

    Where no way is left, as when boulders have closed a player in, there is nothing to show, and the game begins anew:
    a student that is often closed in would see little else than that.

    Parameters
    ----------
    venv
        Environment of the games.
    games
        The games themselves, in which ways are known (see `lcd.envs.procgen.routes`) and a player goes wherever it is
        pushed.

    Attributes
    ----------
    teacher_observations : torch.Tensor, shape (games, 15), float32
        Logarithms of the chances of the actions: those that follow a shortest way, each way as likely.

    Raises
    ------
    ValueError
        If no ways are known in the game.
    """

    def __init__(self, venv: VecEnv, games: ProcgenVecEnv) -> None:
        super().__init__(venv)
        self._games = games
        self._ways = Ways(games, games.options.game, venv.num_envs)
        self._chances = shown_chances(games.options.game)
        self._steps_lost = np.zeros(venv.num_envs, int)

    def step_async(self, actions: np.ndarray) -> None:
        """Begin the step; games that are lost begin anew."""
        self._games.give_up(self._steps_lost >= PATIENCE)
        super().step_async(actions)

    def _split(self, observations: VecEnvObs) -> np.ndarray:
        own = super()._split(observations)
        self._ways.look(range(self.num_envs))
        self._steps_lost = np.where(self._ways.hopeless, self._steps_lost + 1, 0)
        chances = np.array([self._shown(index) for index in range(self.num_envs)], np.float32)
        self.teacher_observations = torch.from_numpy(chances).clamp(min=math.exp(-20)).log()
        return own

    def _shown(self, index: int) -> np.ndarray:
        return np.mean([self._chances[heading] for heading in self._ways.headings(index)], axis=0)


class Shown:
    """The teacher that says what it is shown."""

    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """The same numbers: they are the logarithms of the action probabilities."""
        return observations


class ValuedSamples(NamedTuple):
    """Labelled observations with their returns."""

    observations: torch.Tensor
    teacher_log_probabilities: torch.Tensor
    returns: torch.Tensor


class Apprentice(DAgger):
    """Imitates, and learns what its states are worth as PPO does, so that PPO can go on from it."""

    def _minibatches(self) -> Iterator[ValuedSamples]:  # type: ignore[override]
        buffer = self.rollout_buffer
        assert isinstance(buffer, LabelRolloutBuffer)
        returns = buffer.columns()[-1]
        for rows in buffer.minibatch_rows(self.batch_size):
            yield ValuedSamples(buffer.frames(rows), self._labels[rows], returns[rows])

    def minibatch_loss(self, batch: Any, clip_range: float) -> tuple[torch.Tensor, Statistics]:
        """Divergence from the labels, as in `lcd.agents.DAgger`, and PPO's value loss."""
        student, values = self.policy.heads(batch.observations)
        loss, statistics = self.imitation_loss(student, batch.teacher_log_probabilities)
        value_loss = functional.mse_loss(batch.returns, values.flatten())
        loss = loss + self.vf_coef * value_loss
        return loss, statistics | {"loss": loss.detach(), "value_loss": value_loss.detach()}
