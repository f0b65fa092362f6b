"""Online DAgger across time, for policies with a memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.buffers import RecurrentRolloutBuffer
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, unwrap_vec_wrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from lcd.agents.imitation import TaughtVecEnv, checked_mixing, labels_of, mixed_actions, prepare, share_of
from lcd.agents.ppo import TrainingDiverged, raise_if_diverged
from lcd.agents.teacher import Teacher, check_fits

LABELLED_ON = torch.device("cpu")
"""Where teachers label: the games of one step at a time."""


class RecurrentDAgger(RecurrentPPO):
    """The student acts, a teacher labels every state that it visits, and the student learns from whole sequences.

    As `lcd.agents.DAgger` for policies with a memory: rollouts, minibatches and optimiser are those of sb3-contrib's
    RecurrentPPO. The label of a state is an action that is drawn from the teacher's distribution, so that the loss is
    an unbiased estimate of the cross-entropy.

    Parameters
    ----------
    policy
        A class of recurrent policies, such as `lcd.agents.memory.MemoryPolicy`.
    env
        A `lcd.agents.TaughtVecEnv`, possibly wrapped further.
    teacher
        Gives the labels, on the CPU. A module is put in evaluation mode. It is not saved: give it to `load` again.
    mixing
        Probability with which the teacher's action is taken instead of the student's, or a function of the remaining
        share of the budget (from 1 to 0), as in `lcd.agents.DAgger`. Where a student that errs cannot find back, its
        states tell nothing at first, and the teacher should act.
    **kwargs
        Further arguments of RecurrentPPO; those of the reinforcement-learning loss have no effect.

    Raises
    ------
    lcd.agents.TrainingDiverged
        From `learn`, when a loss is not finite.
    ValueError
        From `learn`, without a teacher or its view, and as in `lcd.agents.DAgger`.
    """

    def __init__(
        self,
        policy: Any,
        env: VecEnv | None = None,
        *,
        teacher: Teacher | None = None,
        mixing: float | Callable[[float], float] = 0.0,
        **kwargs: Any,
    ) -> None:
        self.teacher, self.mixing = teacher, checked_mixing(mixing)
        self._checked: object = None  # the teacher that passed the checks
        super().__init__(policy, env, **kwargs)  # type: ignore[arg-type]

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "teacher", "_checked"]

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Collect a rollout, and put the teacher's actions in the place of the student's."""
        assert isinstance(rollout_buffer, RecurrentRolloutBuffer)
        taught = unwrap_vec_wrapper(env, TaughtVecEnv)
        if taught is None or self.teacher is None:
            raise ValueError(
                "RecurrentDAgger needs a teacher, and an environment in a TaughtVecEnv: pass teacher= and wrap env."
            )
        prepare(self.teacher, LABELLED_ON)
        if self._checked is not self.teacher:
            assert isinstance(self.action_space, spaces.Discrete)
            check_fits(self.teacher, taught.teacher_observations, int(self.action_space.n))
            self._checked = self.teacher
        share = share_of(FloatSchedule(self.mixing), self._current_progress_remaining)
        labelled = _LabellingVecEnv(env, taught, self.teacher, share)
        done = super().collect_rollouts(labelled, callback, rollout_buffer, n_rollout_steps)
        rollout_buffer.actions[: len(labelled.labels)] = np.stack(labelled.labels)[..., None]
        return done

    def train(self) -> None:
        """Update the student towards the teacher's actions on the rollout just collected."""
        policy, buffer = self.policy, self.rollout_buffer
        assert isinstance(policy, RecurrentActorCriticPolicy)
        assert isinstance(buffer, RecurrentRolloutBuffer)
        policy.set_training_mode(True)
        self._update_learning_rate(policy.optimizer)
        losses = []
        for _ in range(self.n_epochs):
            for batch in buffer.get(self.batch_size):
                actions = batch.actions.long().flatten()
                try:
                    _, likelihood, _ = policy.evaluate_actions(
                        batch.observations, actions, batch.lstm_states, batch.episode_starts
                    )
                except ValueError as error:  # torch has no distribution for logits that are not finite
                    why = " ".join(str(error).split())[:100]
                    raise TrainingDiverged(f"Training diverged after {self.num_timesteps} steps: {why}") from error
                loss = -likelihood[batch.mask > 0].mean()
                policy.optimizer.zero_grad()
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), self.max_grad_norm)
                raise_if_diverged({"loss": loss.item(), "grad_norm": norm.item()}, self.num_timesteps)
                policy.optimizer.step()
                losses.append(loss.item())
        self._n_updates += self.n_epochs
        self.logger.record("train/imitation_loss", np.mean(losses))


class _LabellingVecEnv(VecEnvWrapper):
    """Labels each state before the step from it, in `labels`, and takes these actions with probability `mixing`."""

    def __init__(self, venv: VecEnv, taught: TaughtVecEnv, teacher: Teacher, mixing: float) -> None:
        super().__init__(venv)
        self._taught, self._teacher, self._mixing = taught, teacher, mixing
        self.labels: list[np.ndarray] = []

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        assert isinstance(self.action_space, spaces.Discrete)
        observed = self._taught.teacher_observations
        labels = labels_of(self._teacher, observed, int(self.action_space.n), LABELLED_ON)
        taken, experts = mixed_actions(actions, labels, self._mixing)
        self.labels.append(experts)
        self.venv.step_async(taken)

    def step_wait(self) -> VecEnvStepReturn:
        return self.venv.step_wait()
