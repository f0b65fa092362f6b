"""Evaluation of teachers and of the experts that they are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lcd.agents import EncoderPolicy, Episodes, best_tempered, evaluate
from lcd.envs import ProcgenBatch, ProcgenOptions, ProcgenVecEnv
from lcd.envs.procgen.actions import HEADINGS
from lcd.envs.procgen.heading import NO_MOVE
from lcd.io.settings import Count, Number, settings
from lcd.measurement.intervals import mean_limits
from lcd.teachers.enemy_avoidance import EnemyAvoidingExpert
from lcd.teachers.recipes import ENEMY_AVOIDING, Expert
from lcd.teachers.search import PlanSearch, SearchSettings
from lcd.teachers.shortest_paths import ShortestPaths

NUM_ENVS = 64
INVERSE_TEMPERATURES = (1.0, 1.5, 2.5, 4.0, 8.0)
SEARCH_STRIDE = 2
"""Steps from one search to the next."""

PPO_50M_RETURNS: Mapping[str, float] = MappingProxyType(
    {
        "bigfish": 29.2,
        "bossfight": 11.4,
        "caveflyer": 9.5,
        "chaser": 11.5,
        "climber": 11.2,
        "coinrun": 9.7,
        "dodgeball": 16.8,
        "fruitbot": 29.9,
        "heist": 10.0,
        "jumper": 8.7,
        "leaper": 7.7,
        "maze": 10.0,
        "miner": 12.6,
        "ninja": 9.4,
        "plunder": 26.0,
        "starpilot": 55.3,
    }
)
"""Returns of PPO after 50 M steps on unlimited easy levels, from the card of a public set of expert trajectories
(https://huggingface.co/datasets/EpicPinkPenguin/procgen)."""


@settings
class Score:
    """A mean return.

    Attributes
    ----------
    mean
        Mean return.
    low, high
        Its 95 % interval, by Student's t over episodes.
    episodes
        Number of episodes.
    """

    mean: Number
    low: Number
    high: Number
    episodes: Count

    @classmethod
    def of(cls, returns: NDArray[np.floating]) -> Score:
        """Score of some episodes, at least two."""
        returns = np.asarray(returns, np.float64).ravel()
        return cls(*mean_limits(returns), returns.size)


def evaluate_teacher(policy: EncoderPolicy, options: ProcgenOptions, episodes: int, seed: int) -> Score:
    """Estimate the mean return of a policy of the semantic view, each episode on a freshly drawn level.

    Parameters
    ----------
    policy
        The policy; its actions are drawn from its distribution.
    options
        The game and the levels.
    episodes
        Number of episodes, rounded up to the same number in each of 64 games.
    seed
        Of levels and actions.
    """
    return Score.of(_play(policy, options, episodes, seed).returns)


def _play(
    policy: EncoderPolicy, options: ProcgenOptions, episodes: int, seed: int, inverse_temperature: float = 1.0
) -> Episodes:
    """Evaluate a policy of the semantic view on at least so many episodes, the same number in each game."""
    num_envs = min(NUM_ENVS, episodes)
    with closing(ProcgenVecEnv(options, num_envs, "semantic")) as env:
        return evaluate(policy, env, -(-episodes // num_envs), seed, inverse_temperature=inverse_temperature)


def tune_inverse_temperature(policy: EncoderPolicy, options: ProcgenOptions, episodes: int, seed: int) -> float:
    """Multiply a policy's logits by the inverse temperature with the highest return, and return it.

    PPO's entropy bonus keeps the policy stochastic for exploration, which a teacher does not need.

    Parameters
    ----------
    policy
        Is changed in place.
    options
        The game and its training levels: the choice must not use others.
    episodes, seed
        Of the evaluation of each candidate, see `evaluate_teacher`.
    """
    best, _ = best_tempered(lambda factor: _play(policy, options, episodes, seed, factor), INVERSE_TEMPERATURES)
    policy.scale_logits(best)
    return best


class Player(Protocol):
    """An expert that plays a batch of games, deciding every `stride` steps."""

    stride: int

    def decide(self, playing: NDArray[np.intp]) -> NDArray[np.int64]:
        """Actions of the next `stride` steps in the given games, shape (games, stride)."""
        ...

    def close(self) -> None:
        """Release its resources."""
        ...


class _SearchPlayer:
    """Play by search."""

    stride = SEARCH_STRIDE

    def __init__(self, batch: ProcgenBatch, options: ProcgenOptions, search: SearchSettings, seed: int) -> None:
        self._batch, self._search = batch, PlanSearch(options, search, seed)
        self._plans: dict[int, NDArray[np.int64]] = {}

    def decide(self, playing: NDArray[np.intp]) -> NDArray[np.int64]:
        for index in playing.tolist():
            state, last = self._batch.saved_state(index), self._plans.get(index)
            self._plans[index] = self._search.decide(state, last, self.stride)
        return np.array([self._plans[index][: self.stride] for index in playing.tolist()])

    def close(self) -> None:
        self._search.close()


class _ShortestPathPlayer:
    """Play by following the shortest path."""

    stride = 1

    def __init__(self, batch: ProcgenBatch, options: ProcgenOptions, episodes: int) -> None:
        self._paths = ShortestPaths(batch, options.game, episodes)

    def decide(self, playing: NDArray[np.intp]) -> NDArray[np.int64]:
        self._paths.update(playing.tolist())
        return np.array([[HEADINGS[self._paths.headings(index)[0]]] for index in playing.tolist()])

    def close(self) -> None:
        pass


class _EnemyAvoidingPlayer:
    """Play by avoiding enemies."""

    stride = 1

    def __init__(self, batch: ProcgenBatch) -> None:
        self._batch, self._expert = batch, EnemyAvoidingExpert()

    def decide(self, playing: NDArray[np.intp]) -> NDArray[np.int64]:
        labels = torch.from_numpy(np.asarray(self._batch.observe())[playing])
        return self._expert.log_probabilities(labels).argmax(dim=1, keepdim=True).numpy()

    def close(self) -> None:
        pass


def evaluate_expert(options: ProcgenOptions, expert: Expert, episodes: int, seed: int) -> Score:
    """Estimate the mean return of an expert over whole episodes.

    Parameters
    ----------
    options
        The game and the levels.
    expert
        How it plays.
    episodes
        Number of episodes, played in parallel.
    seed
        Of levels and of the search.
    """
    batch = ProcgenBatch(options, episodes, "semantic", seed)
    returns, playing = np.zeros(episodes), np.ones(episodes, bool)
    player: Player
    if isinstance(expert, SearchSettings):
        player = _SearchPlayer(batch, options, expert, seed)
    elif expert == ENEMY_AVOIDING:
        player = _EnemyAvoidingPlayer(batch)
    else:
        player = _ShortestPathPlayer(batch, options, episodes)
    try:
        while playing.any():
            ahead = np.full((episodes, player.stride), NO_MOVE)
            ahead[playing] = player.decide(np.flatnonzero(playing))
            for actions in ahead.T:
                step = batch.step(actions.astype(np.int32))
                returns[playing] += step.rewards[playing]
                playing &= ~(step.terminated | step.truncated)
    finally:
        player.close()
        batch.close()
    return Score.of(returns)
