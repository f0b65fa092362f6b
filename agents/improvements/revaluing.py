"""Values of a rollout by another network than the policy's, computed after the rollout was collected."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from lcd.agents.rollout import ByteRolloutBuffer

Values = Callable[[torch.Tensor], torch.Tensor]
"""From observations, channels first, to their values, shape (batch, 1)."""


class CutOff(NamedTuple):
    """An episode that was cut off for its length.

    Attributes
    ----------
    step, game
        Where in the rollout its last step is.
    observation : numpy.ndarray
        What followed that step.
    """

    step: int
    game: int
    observation: np.ndarray


class CutOffVecEnv(VecEnvWrapper):
    """Takes note of episodes that are cut off for their length, and hides it from whoever collects the rollout.

    Stable-Baselines3 adds the policy's value of the last observation to the last reward. Who values a rollout
    afterwards does so as well, by its own network.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.cut_offs: list[CutOff] = []
        self._step = 0

    def reset(self) -> VecEnvObs:
        """Begin new episodes."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Finish the step."""
        observations, rewards, dones, given = self.venv.step_wait()
        infos = list(given)  # some environments give a tuple
        for game in np.flatnonzero(dones).tolist():
            last = infos[game].get("terminal_observation")
            if last is not None and infos[game].get("TimeLimit.truncated", False):
                self.cut_offs.append(CutOff(self._step, game, last))
                infos[game] = infos[game] | {"TimeLimit.truncated": False}
        self._step += 1
        return observations, rewards, dones, infos


def values_of(buffer: ByteRolloutBuffer, values: Values, part_size: int) -> NDArray[np.float32]:
    """Value each observation of a rollout, in parts, which bound the memory.

    Parameters
    ----------
    buffer
        The rollout, of `t` steps of `n` games.
    values
        Of observations.
    part_size
        Largest number of observations at a time.

    Returns
    -------
    numpy.ndarray, shape (t, n), float32
    """
    rows = torch.arange(buffer.buffer_size * buffer.n_envs)
    with torch.no_grad():
        found = [values(buffer.frames(part)).flatten().float().cpu() for part in rows.split(part_size)]
    return torch.cat(found).numpy().reshape(buffer.buffer_size, buffer.n_envs)


def generalised_advantages(
    rewards: NDArray[np.floating],
    values: NDArray[np.floating],
    last_values: NDArray[np.floating],
    ended: NDArray[np.bool_],
    gamma: float,
    gae_lambda: float,
) -> NDArray[np.float32]:
    """Generalised advantage estimates of a rollout (Schulman et al., 2016, arXiv:1506.02438, equation 16).

    Parameters
    ----------
    rewards, values : numpy.ndarray, shape (t, n)
        Of `t` steps of `n` games.
    last_values : numpy.ndarray, shape (n,)
        Values of what follows the last step.
    ended : numpy.ndarray, shape (t, n), bool
        Whether a step ended its episode, so that nothing that follows counts.
    gamma, gae_lambda
        Discount, and weight of longer estimates.

    Returns
    -------
    numpy.ndarray, shape (t, n), float32
    """
    advantages = np.zeros(rewards.shape, np.float32)
    following, running = last_values, np.zeros(rewards.shape[1])
    for step in reversed(range(len(rewards))):
        goes_on = 1.0 - ended[step]
        surprise = rewards[step] + gamma * following * goes_on - values[step]
        running = surprise + gamma * gae_lambda * goes_on * running
        advantages[step], following = running, values[step]
    return advantages


def endings(buffer: ByteRolloutBuffer, last_starts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each step of a rollout ended its episode, shape (t, n).

    Parameters
    ----------
    buffer
        The rollout.
    last_starts : numpy.ndarray, shape (n,), bool
        Whether what follows its last step begins an episode.
    """
    return np.concatenate([buffer.episode_starts[1:], np.asarray(last_starts)[None]]).astype(bool)
