"""PPO that is rewarded for frames which are new to it (RND)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import nn
from torch.nn import functional

from lcd.agents.gradient import Statistics, accumulate_gradient
from lcd.agents.improvements.networks import PPOWithNetworks
from lcd.agents.improvements.novelty import FrameStatistics, IntrinsicScale, Novelty
from lcd.agents.improvements.revaluing import generalised_advantages, values_of
from lcd.agents.ppo import raise_if_diverged
from lcd.agents.rollout import ByteRolloutBuffer
from lcd.io.limits import real_number

LEARNING_RATE = 1e-4
"""Of the predictor, as in the paper; with that of a policy on Procgen, frames would be old after a few rollouts."""

GAMES_PREDICTED = 32
"""The predictor learns from so many games' share of the frames, so that more games do not wear novelty off sooner."""


class CuriousSamples(NamedTuple):
    """PPO's samples with intrinsic returns, shape (batch,)."""

    observations: torch.Tensor
    actions: torch.Tensor
    old_values: torch.Tensor
    old_log_prob: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    intrinsic_returns: torch.Tensor


class _Frames(NamedTuple):
    frames: torch.Tensor


class CuriousPPO(PPOWithNetworks):
    """PPO with random network distillation (Burda et al., 2018, arXiv:1810.12894).

    The intrinsic reward of a step is the predictor's error on the frame that it leads to, in units of the deviation of
    intrinsic returns. Intrinsic returns do not end with episodes and have a value head of their own; the policy follows
    ``weight × A_E + intrinsic_weight × A_I``. The intrinsic value is no part of the policy file, whose values are those
    of the game's own reward.

    Parameters
    ----------
    weight, intrinsic_weight
        Of the advantages by the game's reward, 2 in the paper, and by the intrinsic reward, 1. Both rewards are scaled
        by the deviation of their returns, which `stable_baselines3.common.vec_env.VecNormalize` does for the former.
    intrinsic_gamma
        Discount of intrinsic rewards; 0.99 in the paper.
    **kwargs
        As in `lcd.agents.PPO`; the encoder is trained.

    Raises
    ------
    ValueError
        If observations are no frames of bytes, the encoder is frozen, or an argument is impossible.

    Notes
    -----
    The paper's statistics of pixels begin with a random policy's frames. These begin with the first rollout, which is
    counted before its rewards are computed. Rewards are computed after the rollout, and the predictor makes one pass
    over it then, with an optimiser of its own. Values are not clipped, so that `clip_range_vf` has no effect. Memory:
    the predictor's activations of `micro_batch_size` frames.
    """

    trains_encoder = "Novelty is measured in frames, which must be stored"
    networks = ("novelty", "predictor_optimizer", "intrinsic_head")

    def __init__(
        self,
        *args: Any,
        weight: float = 2.0,
        intrinsic_weight: float = 1.0,
        intrinsic_gamma: float = 0.99,
        **kwargs: Any,
    ) -> None:
        self.weight = real_number("weight", weight, least=0)
        self.intrinsic_weight = real_number("intrinsic_weight", intrinsic_weight, least=0)
        self.intrinsic_gamma = real_number("intrinsic_gamma", intrinsic_gamma, least=0, most=1)
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        space = self.observation_space
        if not (isinstance(space, spaces.Box) and len(space.shape) == 3 and space.dtype == np.uint8):
            raise ValueError(f"Frames of bytes are new or known, not observations of {space}: learn from frames.")
        self.novelty = Novelty(space.shape).to(self.device)
        self.predictor_optimizer = torch.optim.Adam(self.novelty.predictor.parameters(), LEARNING_RATE)
        self.intrinsic_head = nn.Linear(self.policy.features_dim, 1).to(self.device)
        nn.init.orthogonal_(self.intrinsic_head.weight)
        nn.init.zeros_(self.intrinsic_head.bias)
        self.policy.optimizer.add_param_group({"params": list(self.intrinsic_head.parameters())})
        self._statistics = FrameStatistics(space.shape)
        self._scale = IntrinsicScale(self.n_envs, self.intrinsic_gamma)
        self._intrinsic_returns = np.empty(0, np.float32)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_intrinsic_returns", "_statistics", "_scale"]

    @property
    def trained_parameters(self) -> list[nn.Parameter]:
        """Those of the policy and of the intrinsic value."""
        return [*super().trained_parameters, *self.intrinsic_head.parameters()]

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Collect a rollout, and add what its frames are worth for being new."""
        goes_on = super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        if goes_on:
            assert isinstance(rollout_buffer, ByteRolloutBuffer)
            self._add_intrinsic(rollout_buffer)
        return goes_on

    def _add_intrinsic(self, buffer: ByteRolloutBuffer) -> None:
        count = buffer.buffer_size * buffer.n_envs
        for rows in torch.arange(count).split(self.part_size):
            self._statistics.count(buffer.frames(rows))
        self._statistics.tell(self.novelty)
        errors = values_of(buffer, self.novelty, self.part_size)
        last, _ = self.policy.obs_to_tensor(self._last_obs)  # type: ignore[arg-type]
        with torch.no_grad():
            last_errors = self.novelty(last).cpu().numpy()
            last_values = self._intrinsic_values(last).flatten().cpu().numpy()  # type: ignore[arg-type]
        rewards = self._scale.scaled(np.concatenate([errors[1:], last_errors[None]]))  # of the frames that follow
        values = values_of(buffer, self._intrinsic_values, self.part_size)
        never = np.zeros(values.shape, bool)
        advantages = generalised_advantages(rewards, values, last_values, never, self.intrinsic_gamma, self.gae_lambda)
        self._intrinsic_returns = advantages + values
        buffer.advantages = self.weight * buffer.advantages + self.intrinsic_weight * advantages
        self.logger.record("rollout/intrinsic_reward", float(rewards.mean()))
        self.logger.record("rollout/prediction_error", float(errors.mean()))

    def _intrinsic_values(self, observations: torch.Tensor) -> torch.Tensor:
        """Intrinsic values, shape (batch, 1)."""
        return self.intrinsic_head(self.policy.extract_features(observations))

    def _minibatches(self) -> Iterator[CuriousSamples]:
        buffer = self.rollout_buffer
        assert isinstance(buffer, ByteRolloutBuffer)
        actions, values, log_prob, advantages, returns = buffer.columns()
        intrinsic = torch.from_numpy(self._intrinsic_returns.ravel()).to(self.device)
        for rows in buffer.minibatch_rows(self.batch_size):
            yield CuriousSamples(
                buffer.frames(rows),
                actions[rows],
                values[rows],
                log_prob[rows],
                self.normalised(advantages[rows]),
                returns[rows],
                intrinsic[rows],
            )

    def minibatch_loss(self, batch: Any, clip_range: float) -> tuple[torch.Tensor, Statistics]:
        """PPO's losses, with both values'."""
        features = self.policy.extract_features(batch.observations)
        log_probabilities, values = self.policy.heads_of(features)
        log_prob = log_probabilities.gather(1, batch.actions.long().flatten()[:, None]).squeeze(1)
        loss, statistics = self.policy_loss(batch, log_prob, self.policy.entropies(log_probabilities), clip_range)
        value_loss = functional.mse_loss(values.flatten(), batch.returns)
        intrinsic_loss = functional.mse_loss(self.intrinsic_head(features).flatten(), batch.intrinsic_returns)
        loss = loss + self.vf_coef * (value_loss + intrinsic_loss)
        return loss, statistics | {
            "value_loss": value_loss.detach(),
            "intrinsic_value_loss": intrinsic_loss.detach(),
            "loss": loss.detach(),
        }

    def _improve(self, clip_range: float) -> list[dict[str, float]]:
        history = super()._improve(clip_range)
        self._improve_prediction()
        return history

    def _improve_prediction(self) -> None:
        """Make the predictor's pass over its share of the rollout."""
        buffer = self.rollout_buffer
        assert isinstance(buffer, ByteRolloutBuffer)
        count = buffer.buffer_size * buffer.n_envs
        share = round(count * min(1.0, GAMES_PREDICTED / buffer.n_envs))
        for rows in torch.randperm(count)[:share].split(self.batch_size):
            frames = _Frames(buffer.frames(rows))
            parameters = list(self.novelty.predictor.parameters())
            statistics = accumulate_gradient(parameters, frames, self.part_size, self._prediction_loss)
            raise_if_diverged({"loss": statistics["loss"].item(), "grad_norm": 0.0}, self.num_timesteps)
            self.predictor_optimizer.step()

    def _prediction_loss(self, batch: _Frames) -> tuple[torch.Tensor, Statistics]:
        loss = self.novelty(batch.frames).mean()
        return loss, {"loss": loss.detach()}

    def further_state(self) -> dict[str, Any]:
        """The networks, and the statistics of frames and of intrinsic returns."""
        more = {"statistics": self._statistics.snapshot(), "scale": self._scale.snapshot()}
        return super().further_state() | more

    def restore_further_state(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        super().restore_further_state(state)
        self._statistics.restore(state["statistics"])
        self._scale.restore(state["scale"])
