"""Policy evaluation with a fixed number of episodes in every environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from lcd.agents.acting import ActionProbabilities
from lcd.agents.policy import EncoderPolicy
from lcd.agents.raw_rewards import RawRewards, raw_rewards
from lcd.agents.rollout import turned_first
from lcd.agents.teacher import Teacher, check_can_teach, check_fits, device_of, labels_for
from lcd.envs.gymnasium_vec_env import as_vec_env
from lcd.envs.vec_env import GameVecEnv
from lcd.io.limits import LARGEST_SEED, real_number, short, whole_number


@dataclass(frozen=True)
class Episodes:
    """Outcomes of evaluated episodes.

    Attributes
    ----------
    returns : numpy.ndarray, shape (environments, episodes), float64
        Sum of the game's own rewards.
    lengths : numpy.ndarray, shape (environments, episodes), int64
        Number of steps.
    level_seeds : numpy.ndarray, shape (environments, episodes), int64
        Level of the episode's last step, −1 where the environment reports none.
    """

    returns: np.ndarray
    lengths: np.ndarray
    level_seeds: np.ndarray


MOST_EPISODES = 1_000_000
"""Limit of the episodes in each environment."""

MAX_EPISODE_STEPS = 27_000
"""Largest number of steps of an episode: half an hour of an Atari game with four frames a step, the longest in common
use (Machado et al., 2018, arXiv:1709.06009)."""


class EndlessEpisode(ValueError):
    """An episode does not end within the largest number of steps."""


@torch.no_grad()
def evaluate(
    policy: ActorCriticPolicy | Teacher,
    env: VecEnv | VectorEnv,
    episodes_per_env: int = 1,
    seed: int = 0,
    deterministic: bool = False,
    max_episode_steps: int = MAX_EPISODE_STEPS,
    inverse_temperature: float = 1.0,
    *,
    max_steps: int | None = None,
    cut_off: bool = False,
) -> Episodes:
    """Evaluate a policy on the same number of episodes in every environment.

    Taking the first episodes to finish, whichever environment they come from, would be biased towards short ones: an
    agent that dies early would score too low, and one that wins fast too high.

    Returns are the game's own: rewards are read beneath every wrapper of the vector environment (VecNormalize and
    others) and beneath a game's wrappers that change rewards: every `gymnasium.RewardWrapper`, and NormalizeReward.
    Other wrappers of a game count as part of it, also those that change rewards in a `step` of their own. Running
    statistics of observations and rewards are applied, not updated.

    Parameters
    ----------
    policy
        The policy, or a teacher, which is not changed; the random generators of training are not used.
    env
        Environment, also a vector environment of Gymnasium; it is seeded and reset, and one that finishes early waits
        for the others.
    episodes_per_env
        Episodes in each environment.
    seed
        Seed of levels and actions.
    deterministic
        Whether the most probable action is taken; else actions are sampled from the policy.
    max_episode_steps
        Largest number of steps of an episode.
    inverse_temperature
        Factor of the logits before an action is sampled: above 1 the policy acts more deterministically.
    max_steps
        Largest number of steps of all episodes together; by default as many as they need.
    cut_off
        Whether an episode that does not end counts with what it has returned so far. The further ones of its
        environment are not played then, and count the same.

    Returns
    -------
    Episodes

    Raises
    ------
    EndlessEpisode
        If an episode does not end, and is not cut off; it is a ValueError too.
    ValueError
        If no episode is asked for, the inverse temperature is not above 0, the environment's spaces are not those of
        the policy, or a reward or an action probability is not finite.
    """
    episodes_per_env = whole_number("episodes_per_env", episodes_per_env, 1, MOST_EPISODES)
    max_episode_steps = whole_number("max_episode_steps", max_episode_steps, 1)
    limits = max_episode_steps, None if max_steps is None else whole_number("max_steps", max_steps, 1)
    seed = whole_number("seed", seed, 0, LARGEST_SEED)
    if real_number("inverse_temperature", inverse_temperature) <= 0:
        raise ValueError(f"inverse_temperature must be a number above 0, not {inverse_temperature}.")
    env = as_vec_env(env)
    if not isinstance(env, VecEnv):
        raise ValueError(
            f"A policy is evaluated in a vector environment of Stable-Baselines3, not in {short(env)}: make one with "
            "lcd.envs.make_vec_env or DummyVecEnv."
        )
    _check_env(env)
    if isinstance(policy, ActorCriticPolicy):
        _check_spaces(policy, env)
    else:
        check_can_teach(policy)
    training = isinstance(policy, nn.Module) and policy.training
    try:
        if isinstance(policy, nn.Module):
            policy.eval()
        with raw_rewards(env) as paid:
            shape = (env.num_envs, episodes_per_env)
            return _play(policy, env, paid, shape, seed, deterministic, limits, inverse_temperature, cut_off)
    finally:
        if isinstance(policy, nn.Module):
            policy.train(training)


def best_tempered(play: Callable[[float], Episodes], inverse_temperatures: Iterable[float]) -> tuple[float, Episodes]:
    """Choose the inverse temperature at which a policy returns most.

    Parameters
    ----------
    play
        Plays some episodes, the same levels each time, at an inverse temperature.
    inverse_temperatures
        Those to try besides 1. One at which an episode does not end is left out, since a policy that leaves little to
        chance may stand still for ever.

    Returns
    -------
    float
        The inverse temperature; of those that return alike 1, or else the least.
    Episodes
        What was played at it.

    Raises
    ------
    EndlessEpisode
        If an episode does not end at a temperature of 1.
    """
    tried = {1.0: play(1.0)}
    for factor in sorted({*inverse_temperatures} - {1.0}):
        with suppress(EndlessEpisode):
            tried[factor] = play(factor)
    best = max(tried, key=lambda factor: tried[factor].returns.mean())
    return best, tried[best]


def _check_env(env: VecEnv) -> None:
    """Refuse an environment without a single view, or without actions that are numbered from 0."""
    if not isinstance(env.observation_space, spaces.Box):
        raise ValueError(f"A policy is evaluated on a single view of images, not on {env.observation_space}.")
    if not isinstance(env.action_space, spaces.Discrete) or env.action_space.start != 0:
        raise ValueError(
            f"A policy is evaluated with discrete actions that are numbered from 0, not with {env.action_space}: wrap "
            "each game in lcd.envs.NumberedActions, which numbers them so."
        )


def _check_spaces(policy: ActorCriticPolicy, env: VecEnv) -> None:
    """Refuse an environment whose spaces are not those of the policy."""
    shown, wanted = env.observation_space, policy.observation_space
    assert shown.shape is not None
    turned = (shown.shape[-1], *shown.shape[:-1])  # Stable-Baselines3 moves the channels of frames first
    if wanted.shape not in (shown.shape, turned if len(shown.shape) == 3 else shown.shape):
        raise ValueError(
            f"The policy takes observations of shape {wanted.shape}, and the environment gives {shown.shape}: "
            "evaluate it in an environment like the one that it was trained in."
        )
    if not isinstance(policy.action_space, spaces.Discrete) or policy.action_space != env.action_space:
        raise ValueError(
            f"A policy is evaluated with the discrete actions that it was trained with: it has {policy.action_space}, "
            f"and the environment {env.action_space}."
        )


def _play(
    policy: ActorCriticPolicy | Teacher,
    env: VecEnv,
    paid: RawRewards,
    shape: tuple[int, int],
    seed: int,
    deterministic: bool,
    limits: tuple[int, int | None],
    inverse_temperature: float,
    cut_off: bool,
) -> Episodes:
    max_episode_steps, max_steps = limits
    if isinstance(policy, EncoderPolicy) and policy.device.type == "cuda":
        probabilities_of, drawn_on = _probabilities_of_all(policy, inverse_temperature), torch.device("cpu")
    elif isinstance(policy, ActorCriticPolicy):
        probabilities_of, drawn_on = _probabilities_of_some(policy, inverse_temperature), policy.device
    else:
        probabilities_of, drawn_on = _probabilities_of_a_teacher(policy, env, inverse_temperature), torch.device("cpu")
    generator = torch.Generator(drawn_on).manual_seed(seed)
    returns, lengths, level_seeds = np.zeros(shape), np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
    episode = np.zeros(env.num_envs, np.int64)
    env.seed(seed)
    with closing(_Games(env, paid)) as games:
        while (playing := np.flatnonzero(episode < shape[1])).size:
            probabilities = probabilities_of(games.observations, playing)
            _check_numbers(
                "probability of an action", probabilities.sum(dim=1).cpu().numpy(), playing, episode, lengths
            )
            if deterministic:
                chosen = probabilities.argmax(dim=1)
            else:
                chosen = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
            rewards, raw, dones, infos = games.step(playing, chosen.cpu().numpy())
            for given in (raw, rewards):
                _check_numbers("reward", given, playing, episode, lengths)
            returns[playing, episode[playing]] += raw
            lengths[playing, episode[playing]] += 1
            for place in np.flatnonzero(dones).tolist():
                index = playing[place]
                level_seeds[index, episode[index]] = infos[place].get("prev_level_seed", -1)
            unfinished = (lengths[playing, episode[playing]] >= max_episode_steps) & ~dones
            within = f"{max_episode_steps:,} steps", "max_episode_steps"
            if max_steps is not None and lengths.sum() >= max_steps:
                unfinished = ~dones | (episode[playing] + 1 < shape[1])
                within = f"the {max_steps:,} steps of all episodes", "max_steps"
            endless = np.flatnonzero(unfinished)
            if endless.size and not cut_off:
                index = playing[endless[0]]
                raise EndlessEpisode(
                    f"Episode {episode[index] + dones[endless[0]]} of environment {index} does not end within "
                    f"{within[0]}: end it, as gymnasium.wrappers.TimeLimit does, or raise {within[1]}."
                )
            for place in endless.tolist():
                index = playing[place]
                level_seeds[index, episode[index]] = infos[place].get("prev_level_seed", -1)
                for table in (returns, lengths, level_seeds):
                    table[index, episode[index] :] = table[index, episode[index]]
            episode[playing] += dones
            episode[playing[endless]] = shape[1]
    return Episodes(returns, lengths, level_seeds)


class _Games:
    """The games of an evaluation, of which those that have finished are no longer stepped once they are half of them.

    Parameters
    ----------
    env
        Environment, which is reset.
    paid
        The games' own rewards.

    Attributes
    ----------
    observations : numpy.ndarray, shape (games, ...)
        Of all games; the last ones of those that are no longer stepped.
    """

    def __init__(self, env: VecEnv, paid: RawRewards) -> None:
        self._all = self._stepped = env
        self._paid = paid
        self._members = np.arange(env.num_envs)
        self._actions = np.zeros(env.num_envs, np.int64)
        observations = env.reset()
        assert isinstance(observations, np.ndarray)
        self.observations = observations
        paid.begin()

    def step(
        self, playing: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step the games that are playing: their rewards, the games' own rewards, ends of episodes and infos."""
        if 2 * len(playing) <= len(self._members):
            self._leave_behind(playing)
        self._actions[playing] = actions
        seen, rewards, dones, infos = self._stepped.step(self._actions[self._members])
        assert isinstance(seen, np.ndarray)
        if self._stepped is self._all:
            self.observations = seen
        else:
            self.observations[self._members] = seen
        places = np.searchsorted(self._members, playing)
        raw = self._paid.of(rewards)
        return rewards[places], raw[places], dones[places], [infos[place] for place in places.tolist()]

    def _leave_behind(self, playing: np.ndarray) -> None:
        """Go on with those that are playing alone, where the games can be parted."""
        if not isinstance(self._stepped, GameVecEnv):
            return
        alone = self._stepped.part(np.searchsorted(self._members, playing))
        if alone is not None:
            if self._stepped is self._all:
                self.observations = self.observations.copy()  # those of the environment may be its own
            self.close()
            self._stepped, self._members = alone, playing

    def close(self) -> None:
        """Free what was parted."""
        if self._stepped is not self._all:
            self._stepped.close()


ProbabilitiesOf = Callable[[np.ndarray, np.ndarray], torch.Tensor]
"""Action probabilities, shape (playing, actions), from the observations of all games and the numbers of those that
are still playing."""


def _probabilities_of_some(policy: ActorCriticPolicy, inverse_temperature: float) -> ProbabilitiesOf:
    """Pass only the games that are still playing, where a smaller batch is faster."""

    def probabilities_of(observations: np.ndarray, playing: np.ndarray) -> torch.Tensor:
        visible, _ = policy.obs_to_tensor(observations[playing])
        assert isinstance(visible, torch.Tensor)
        return _probabilities(policy, visible, inverse_temperature)

    return probabilities_of


def _probabilities_of_a_teacher(teacher: Teacher, env: VecEnv, inverse_temperature: float) -> ProbabilitiesOf:
    """Pass only the games that are still playing; its labels are checked."""
    assert isinstance(env.action_space, spaces.Discrete)
    actions, device = int(env.action_space.n), device_of(teacher)
    checked = False

    def probabilities_of(observations: np.ndarray, playing: np.ndarray) -> torch.Tensor:
        nonlocal checked
        visible = turned_first(torch.as_tensor(observations[playing])).to(device)
        if not checked:  # once, as its weights do not change
            check_fits(teacher, visible, actions)
            checked = True
        labels = labels_for(teacher, visible, actions)
        return torch.softmax(labels.cpu() * inverse_temperature, dim=1)

    return probabilities_of


def _probabilities_of_all(policy: EncoderPolicy, inverse_temperature: float) -> ProbabilitiesOf:
    """Pass all games, where a batch that is always of one size is faster."""
    probabilities = ActionProbabilities(policy)
    return lambda observations, playing: probabilities(observations, inverse_temperature)[torch.from_numpy(playing)]


def _probabilities(policy: ActorCriticPolicy, observations: torch.Tensor, inverse_temperature: float) -> torch.Tensor:
    """Action probabilities of a policy, shape (batch, actions); NaN in states where they are not valid."""
    try:
        distribution = policy.get_distribution(observations).distribution
    except ValueError:  # one bad state makes torch refuse the whole batch
        if len(observations) > 1:
            return torch.cat([_probabilities(policy, each[None], inverse_temperature) for each in observations])
        assert isinstance(policy.action_space, spaces.Discrete)
        return torch.full((1, int(policy.action_space.n)), float("nan"), device=observations.device)
    assert isinstance(distribution, torch.distributions.Categorical)
    if inverse_temperature == 1:
        return distribution.probs
    return torch.softmax(distribution.logits * inverse_temperature, dim=1)


def _check_numbers(
    what: str, numbers: np.ndarray, playing: np.ndarray, episode: np.ndarray, lengths: np.ndarray
) -> None:
    """Refuse values that are not finite, naming their step, episode and environment."""
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        index = playing[bad[0]]
        cause = "the game" if what == "reward" else "the policy's weights and its observations"
        step = lengths[index, episode[index]] + 1
        raise ValueError(
            f"A {what} is {numbers[bad[0]]} in step {step} of episode {episode[index]} of environment {index}: "
            f"check {cause}."
        )
