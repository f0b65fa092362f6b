"""Evaluation of a policy by a fixed number of episodes in every environment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv


@dataclass(frozen=True)
class Episodes:
    """Outcomes of evaluated episodes.

    Attributes
    ----------
    returns : numpy.ndarray, shape (environments, episodes), float64
        Sum of the rewards as the game gives them.
    lengths : numpy.ndarray, shape (environments, episodes), int64
        Number of steps.
    level_seeds : numpy.ndarray, shape (environments, episodes), int64
        Level of the episode's last step, −1 where the environment names none.
    """

    returns: np.ndarray
    lengths: np.ndarray
    level_seeds: np.ndarray


@torch.no_grad()
def evaluate(
    policy: ActorCriticPolicy, env: VecEnv, episodes_per_env: int = 1, seed: int = 0, deterministic: bool = False
) -> Episodes:
    """Play the same number of episodes in every environment.

    Counting the first episodes to finish, whichever environment they come from, would favour short ones: an agent that
    dies early would look worse than it is, and one that wins fast better.

    Parameters
    ----------
    policy
        The policy; it is used as it is, and no random generator that training uses is touched.
    env
        Environment; it is seeded and reset, and one that is done early waits for the others.
    episodes_per_env
        Episodes in each environment.
    seed
        Decides levels and actions.
    deterministic
        Whether the most probable action is taken; else actions are drawn from the policy's distribution.

    Returns
    -------
    Episodes

    Raises
    ------
    ValueError
        If no episode is asked for, or the environment shows several views.
    """
    if episodes_per_env < 1:
        raise ValueError(f"episodes_per_env must be at least 1, not {episodes_per_env}.")
    if not isinstance(env.observation_space, spaces.Box):
        raise ValueError(f"A policy is evaluated on the one view that it sees, not on {env.observation_space}.")
    training = policy.training
    policy.set_training_mode(False)
    try:
        return _play(policy, env, episodes_per_env, seed, deterministic)
    finally:
        policy.set_training_mode(training)


def _play(policy: ActorCriticPolicy, env: VecEnv, episodes_per_env: int, seed: int, deterministic: bool) -> Episodes:
    generator = torch.Generator(policy.device).manual_seed(seed)
    shape = (env.num_envs, episodes_per_env)
    returns, lengths, level_seeds = np.zeros(shape), np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
    episode = np.zeros(env.num_envs, np.int64)
    env.seed(seed)
    observations = env.reset()
    actions = np.zeros(env.num_envs, np.int64)
    while (playing := np.flatnonzero(episode < episodes_per_env)).size:
        assert isinstance(observations, np.ndarray)
        visible, _ = policy.obs_to_tensor(observations[playing])
        distribution = policy.get_distribution(visible).distribution
        assert isinstance(distribution, torch.distributions.Categorical)
        if deterministic:
            chosen = distribution.probs.argmax(dim=1)
        else:
            chosen = torch.multinomial(distribution.probs, 1, generator=generator).squeeze(1)
        actions[playing] = chosen.cpu().numpy()
        observations, rewards, dones, infos = env.step(actions)
        returns[playing, episode[playing]] += rewards[playing]
        lengths[playing, episode[playing]] += 1
        for index in playing[dones[playing]].tolist():
            level_seeds[index, episode[index]] = infos[index].get("prev_level_seed", -1)
        episode[playing] += dones[playing]
    return Episodes(returns, lengths, level_seeds)
