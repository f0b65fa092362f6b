"""Baselines of the benchmark: a plain float32 PPO loop, and a straightforward IMPALA encoder.

The loop follows the papers' equations, as single-file implementations such as CleanRL's do: generalized advantages
(Schulman et al., arXiv:1506.02438, eq. 16) and the clipped objective (Schulman et al., arXiv:1707.06347, eq. 7 and 9).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import nn
from torch.distributions import Categorical


class Residual(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.ReLU(), nn.Conv2d(depth, depth, 3, padding=1), nn.ReLU(), nn.Conv2d(depth, depth, 3, padding=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape as the input."""
        return x + self.path(x)


def impala_network() -> nn.Sequential:
    """IMPALA's encoder (arXiv:1802.01561) for 64×64 frames with values in [0, 1]; 256 features."""
    layers: list[nn.Module] = []
    for depth_in, depth in ((3, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(depth_in, depth, 3, padding=1), nn.MaxPool2d(3, 2, 1), Residual(depth), Residual(depth)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(32 * 8 * 8, 256), nn.ReLU())


def nature_network() -> nn.Sequential:
    """The encoder of Mnih et al., 2015, for 64×64 frames with values in [0, 1]; 512 features."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 8, 4),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, 2),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 512),
        nn.ReLU(),
    )


class PlainImpala(BaseFeaturesExtractor):
    """IMPALA as a features extractor for Stable-Baselines3, in float32."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 256)
        self.network = impala_network()

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Features of shape (batch, 256)."""
        return self.network(observations)


class ActorCritic(nn.Module):
    """An encoder with a linear head for the actions' logits and one for the value."""

    def __init__(self, encoder: str, actions: int) -> None:
        super().__init__()
        self.encoder, features = (impala_network(), 256) if encoder == "impala" else (nature_network(), 512)
        self.actor, self.critic = nn.Linear(features, actions), nn.Linear(features, 1)
        gains: dict[nn.Module, float] = {self.actor: 0.01, self.critic: 1.0}
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                assert module.bias is not None
                nn.init.orthogonal_(module.weight, gains.get(module, 2**0.5))
                nn.init.zeros_(module.bias)

    def forward(self, frames: torch.Tensor) -> tuple[Categorical, torch.Tensor]:
        """Distribution of the actions and values, for byte frames of shape (batch, height, width, 3)."""
        features = self.encoder(frames.permute(0, 3, 1, 2) / 255.0)
        return Categorical(logits=self.actor(features)), self.critic(features).squeeze(-1)


@dataclass
class PlainPPO:
    """PPO on byte frames, in float32.

    Parameters
    ----------
    env
        Environment whose observations are frames of shape (64, 64, 3).
    encoder
        ``"nature"`` or ``"impala"``.
    n_steps, batch_size, n_epochs, learning_rate, gamma, gae_lambda, clip_range, ent_coef, vf_coef, max_grad_norm
        As in Stable-Baselines3.
    device
        Where everything but the games is.
    """

    env: VecEnv
    encoder: str = "nature"
    n_steps: int = 256
    batch_size: int = 2048
    n_epochs: int = 3
    learning_rate: float = 5e-4
    gamma: float = 0.999
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    device: str = "cpu"

    def __post_init__(self) -> None:
        assert isinstance(self.env.action_space, spaces.Discrete)
        self.policy = ActorCritic(self.encoder, int(self.env.action_space.n)).to(self.device)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), self.learning_rate, eps=1e-5)
        shape = (self.n_steps, self.env.num_envs)
        self.frames = torch.zeros((*shape, 64, 64, 3), dtype=torch.uint8, device=self.device)
        self.actions = torch.zeros(shape, dtype=torch.long, device=self.device)
        self.log_probs, self.rewards, self.dones, self.values = torch.zeros((4, *shape), device=self.device)
        self.now = torch.as_tensor(np.asarray(self.env.reset())).to(self.device)

    def learn(self, total_timesteps: int) -> None:
        """Train for at least this many steps more."""
        for _ in range(0, total_timesteps, self.n_steps * self.env.num_envs):
            advantages = self._rollout()
            self._update(advantages)

    @torch.no_grad()
    def _rollout(self) -> torch.Tensor:
        for t in range(self.n_steps):
            distribution, self.values[t] = self.policy(self.now)
            action = distribution.sample()
            self.frames[t], self.actions[t], self.log_probs[t] = self.now, action, distribution.log_prob(action)
            now, rewards, dones, _ = self.env.step(action.cpu().numpy())
            self.now = torch.as_tensor(np.asarray(now)).to(self.device)
            self.rewards[t], self.dones[t] = torch.as_tensor(rewards), torch.as_tensor(dones, dtype=torch.float32)
        advantages, next_advantage = torch.zeros_like(self.rewards), torch.zeros(self.env.num_envs, device=self.device)
        next_value = self.policy(self.now)[1]
        for t in reversed(range(self.n_steps)):
            goes_on = 1 - self.dones[t]
            delta = self.rewards[t] + self.gamma * goes_on * next_value - self.values[t]
            next_advantage = delta + self.gamma * self.gae_lambda * goes_on * next_advantage
            advantages[t], next_value = next_advantage, self.values[t]
        return advantages

    def _update(self, advantages: torch.Tensor) -> None:
        returns = (advantages + self.values).flatten()
        frames, actions, old = self.frames.flatten(0, 1), self.actions.flatten(), self.log_probs.flatten()
        for _ in range(self.n_epochs):
            for rows in torch.randperm(len(returns)).to(self.device).split(self.batch_size):
                distribution, values = self.policy(frames[rows])
                ratio = (distribution.log_prob(actions[rows]) - old[rows]).exp()
                gain = advantages.flatten()[rows]
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
                objective = torch.minimum(ratio * gain, clipped * gain).mean()
                value_loss = (values - returns[rows]).square().mean()
                loss = self.vf_coef * value_loss - objective - self.ent_coef * distribution.entropy().mean()
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
                self.optimizer.step()
