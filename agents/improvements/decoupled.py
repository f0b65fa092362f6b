"""PPO whose value is a network of its own, and whose policy predicts advantages instead (DAAC)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
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
from lcd.agents.improvements.revaluing import CutOffVecEnv, endings, generalised_advantages, values_of
from lcd.agents.policy import EncoderPolicy
from lcd.agents.ppo import raise_if_diverged
from lcd.agents.rollout import ByteRolloutBuffer
from lcd.io.limits import real_number, whole_number


class ValuedSamples(NamedTuple):
    """Observations with their returns, shape (batch,)."""

    observations: torch.Tensor
    returns: torch.Tensor


class AdvantageHead(nn.Linear):
    """A linear layer from features and an action to that action's advantage.

    Parameters
    ----------
    features
        Number of features.
    actions
        Number of actions.
    """

    def __init__(self, features: int, actions: int) -> None:
        super().__init__(features + actions, 1)
        self.actions = actions
        nn.init.orthogonal_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Advantages, shape (batch,), from features, shape (batch, features), and actions, shape (batch,), int64."""
        named = functional.one_hot(actions, self.actions).to(features.dtype)
        return super().forward(torch.cat([features, named], dim=1)).squeeze(1)


class DecoupledPPO(PPOWithNetworks):
    """Decoupled advantage actor-critic (Raileanu and Fergus, 2021, arXiv:2102.10330).

    The policy's network minimises PPO's surrogate and entropy losses and ``α_a (A_θ(s, a) − Â)²`` in one pass over each
    rollout; no gradient of a value reaches it. The value is another network with an encoder alike and an optimiser of
    its own, which makes more passes. All estimates are made with its values.

    The policy file has a head for values as any other. It learns from the policy's features as they are, for whoever
    reads values out of the file; neither the policy's training nor the gradient's clipping depends on it.

    Parameters
    ----------
    value_epochs
        Passes of the value network over each rollout, E_V; by default three times ``n_epochs``. That is the paper's 9
        where PPO makes the usual 3, and 3 with this package's learner for CPUs, which makes one.
    advantage_weight
        α_a; 0.25 in the paper.
    **kwargs
        As in `lcd.agents.PPO`; the encoder is trained. The policy makes one pass, the paper's E_π.

    Raises
    ------
    ValueError
        If the encoder is frozen, or an argument is impossible.

    Notes
    -----
    Unlike the authors' code, the value loss is not clipped, as in `lcd.agents.PPO`, and the advantages that the head
    predicts are normalised within minibatches, as those of the surrogate are here, not within rollouts.
    """

    trains_encoder = "The policy and the value learn encoders of their own"
    networks = ("critic", "critic.optimizer", "advantage_head")
    scheduled = ("critic.optimizer",)

    def __init__(
        self, *args: Any, value_epochs: int | None = None, advantage_weight: float = 0.25, **kwargs: Any
    ) -> None:
        self.value_epochs = None if value_epochs is None else whole_number("value_epochs", value_epochs, 1, 2**20)
        self.advantage_weight = real_number("advantage_weight", advantage_weight, least=0)
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.value_epochs is None:
            self.value_epochs = 3 * self.n_epochs
        self.n_epochs = 1
        self.policy.detaches_values = True
        assert isinstance(self.action_space, spaces.Discrete)
        self.critic: EncoderPolicy = type(self.policy)(
            self.observation_space, self.action_space, self.lr_schedule, **copy.deepcopy(self.policy_kwargs)
        ).to(self.device)
        self.advantage_head = AdvantageHead(self.policy.features_dim, int(self.action_space.n)).to(self.device)
        self.policy.optimizer.add_param_group({"params": list(self.advantage_head.parameters())})

    @property
    def trained_parameters(self) -> list[nn.Parameter]:
        """Those of the policy and of the advantage head."""
        return [*super().trained_parameters, *self.advantage_head.parameters()]

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Collect a rollout, and value it by the value network."""
        noting = CutOffVecEnv(env)
        goes_on = super().collect_rollouts(noting, callback, rollout_buffer, n_rollout_steps)
        if goes_on:
            assert isinstance(rollout_buffer, ByteRolloutBuffer)
            self._value(rollout_buffer, noting)
        return goes_on

    def _value(self, buffer: ByteRolloutBuffer, noted: CutOffVecEnv) -> None:
        self.critic.set_training_mode(False)
        buffer.values = values_of(buffer, self.critic.predict_values, self.part_size)
        for cut_off in noted.cut_offs:
            value = self._value_now(cut_off.observation)[0]
            buffer.rewards[cut_off.step, cut_off.game] += self.gamma * value
        assert isinstance(self._last_obs, np.ndarray)
        assert self._last_episode_starts is not None
        ended = endings(buffer, self._last_episode_starts)
        last = self._value_now(self._last_obs)
        buffer.advantages = generalised_advantages(
            buffer.rewards, buffer.values, last, ended, self.gamma, self.gae_lambda
        )
        buffer.returns = buffer.advantages + buffer.values

    def _value_now(self, observations: np.ndarray) -> np.ndarray:
        """Values of observations of the games, or of one of them, shape (n,)."""
        moved, _ = self.policy.obs_to_tensor(observations)
        with torch.no_grad():
            return self.critic.predict_values(moved).flatten().float().cpu().numpy()

    def minibatch_loss(self, batch: Any, clip_range: float) -> tuple[torch.Tensor, Statistics]:
        """The policy's losses, and the loss of the value head, whose gradient ends there."""
        actions = batch.actions.long().flatten()
        features = self.policy.extract_features(batch.observations)
        log_probabilities, values = self.policy.heads_of(features)
        log_prob = log_probabilities.gather(1, actions[:, None]).squeeze(1)
        loss, statistics = self.policy_loss(batch, log_prob, self.policy.entropies(log_probabilities), clip_range)
        advantage_loss = functional.mse_loss(self.advantage_head(features, actions), batch.advantages)
        head_loss = functional.mse_loss(values.flatten(), batch.returns)
        loss = loss + self.advantage_weight * advantage_loss + self.vf_coef * head_loss
        return loss, statistics | {"advantage_loss": advantage_loss.detach(), "loss": loss.detach()}

    def gradient(self, batch: Any, clip_range: float) -> Statistics:
        """Accumulate a minibatch's gradient into ``.grad``, that of the value head clipped apart from the others."""
        parameters = self.trained_parameters
        head = list(self.policy.value_net.parameters())
        others = [each for each in parameters if not any(each is parameter for parameter in head)]
        statistics = accumulate_gradient(
            parameters, batch, self.part_size, lambda part: self.minibatch_loss(part, clip_range)
        )
        nn.utils.clip_grad_norm_(head, self.max_grad_norm)
        statistics["grad_norm"] = nn.utils.clip_grad_norm_(others, self.max_grad_norm)
        return statistics

    def _improve(self, clip_range: float) -> list[dict[str, float]]:
        history = super()._improve(clip_range)
        assert self.value_epochs is not None
        self.critic.set_training_mode(True)
        losses = [self._improve_value(batch) for _ in range(self.value_epochs) for batch in self._valued_samples()]
        self.logger.record("train/value_loss", float(np.mean(losses)))
        return history

    def _valued_samples(self) -> Iterator[ValuedSamples]:
        buffer = self.rollout_buffer
        assert isinstance(buffer, ByteRolloutBuffer)
        returns = buffer.columns()[-1]
        for rows in buffer.minibatch_rows(self.batch_size):
            yield ValuedSamples(buffer.frames(rows), returns[rows])

    def value_loss(self, batch: ValuedSamples) -> tuple[torch.Tensor, Statistics]:
        """Half the value network's mean squared error, a scalar, and the scalar for the log."""
        loss = functional.mse_loss(self.critic.predict_values(batch.observations).flatten(), batch.returns) / 2
        return loss, {"loss": loss.detach()}

    def _improve_value(self, batch: ValuedSamples) -> float:
        parameters = [each for each in self.critic.parameters() if each.requires_grad]
        statistics = accumulate_gradient(parameters, batch, self.part_size, self.value_loss)
        statistics["grad_norm"] = nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        numbers = {name: value.item() for name, value in statistics.items()}
        raise_if_diverged(numbers, self.num_timesteps)
        self.critic.optimizer.step()
        return numbers["loss"]
