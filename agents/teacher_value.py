"""The value of a teacher: what it will return from a state, learned from what it does, and used to shape rewards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, unwrap_vec_wrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch.nn import functional

from lcd.agents.gradient import Statistics
from lcd.agents.imitation import DAgger, TaughtVecEnv
from lcd.agents.policy import EncoderPolicy
from lcd.agents.ppo import PPO
from lcd.agents.recorded import recordable
from lcd.agents.rollout import turned_first


class TeacherValue(DAgger):
    """Evaluates a teacher: the teacher acts, and the policy's value head learns TD(λ) estimates of its return.

    The policy itself is not trained. Rollouts, minibatches and optimiser are those of `lcd.agents.PPO`.

    Parameters
    ----------
    policy, env, teacher
        As in `lcd.agents.DAgger`.
    **kwargs
        Further arguments of `lcd.agents.PPO`.
    """

    def __init__(self, policy: str | type = "EncoderPolicy", env: Any = None, **kwargs: Any) -> None:
        super().__init__(policy, env, **(kwargs | {"mixing": 1.0, "memory": 0}))

    def _minibatches(self) -> Iterator[Any]:
        yield from PPO._minibatches(self)

    def train(self) -> None:
        """Update the values on the rollout just collected."""
        PPO.train(self)

    @recordable
    def minibatch_loss(self, batch: RolloutBufferSamples, clip_range: float) -> tuple[torch.Tensor, Statistics]:
        """Squared error of the values, mean over states."""
        loss = functional.mse_loss(batch.returns, self.policy.predict_values(batch.observations).flatten())
        return loss, {"loss": loss.detach(), "value_loss": loss.detach()}


class ValueShapedVecEnv(VecEnvWrapper):
    """Potential-based shaping by a teacher's value: each reward becomes r + γ V(s′) − V(s).

    After Ng, Harada and Russell, *Policy Invariance Under Reward Transformations*, 1999: the best policy stays best.
    With the value of a good teacher a reward tells at once what an action is worth, so that what remains of learning
    from reward is to find good actions, not to find out which of the earlier ones were good. The end of an episode has
    the value 0; one that was cut off has that of its last state.

    Parameters
    ----------
    venv
        Environment in a `lcd.agents.TaughtVecEnv`, whose student and teacher have the same view.
    value
        Policy whose value head estimates the teacher's return in units of the reward, from the teacher's view.
    gamma
        γ, the learner's discount.
    device
        Where the values are computed.
    """

    def __init__(self, venv: VecEnv, value: EncoderPolicy, gamma: float, device: torch.device | str = "cpu") -> None:
        super().__init__(venv)
        taught = unwrap_vec_wrapper(venv, TaughtVecEnv)
        if taught is None:
            raise ValueError("Shaping by a teacher's value needs the teacher's view: wrap the games in a TaughtVecEnv.")
        self._taught, self._value, self._gamma, self._device = taught, value.to(device), gamma, device
        self._value.set_training_mode(False)
        self._before: NDArray[np.float32] | None = None  # of the present states; None until they are valued

    @torch.no_grad()
    def _values(self, observations: torch.Tensor) -> NDArray[np.float32]:
        return self._value.predict_values(observations.to(self._device)).flatten().float().cpu().numpy()

    def reset(self) -> VecEnvObs:
        """Begin new episodes."""
        self._before = None
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        """Value the present states, unless the last step has, and start the step."""
        if self._before is None:
            self._before = self._values(self._taught.teacher_observations)
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Finish the step, and shape its rewards."""
        observations, rewards, dones, infos = self.venv.step_wait()
        assert self._before is not None
        values = self._values(self._taught.teacher_observations)
        reached = np.where(dones, np.float32(0), values)
        for index in np.flatnonzero(dones).tolist():
            if not infos[index].get("TimeLimit.truncated", False):
                continue
            last = infos[index].get("terminal_observation")
            if last is None:  # as of Procgen's generated assets: the state before is nearly the same
                reached[index] = self._before[index]
            else:
                reached[index] = self._values(turned_first(torch.as_tensor(last[None])))[0]
        shaped = rewards + self._gamma * reached - self._before
        self._before = values
        return observations, shaped.astype(np.float32), dones, infos
