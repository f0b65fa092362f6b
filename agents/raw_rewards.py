"""A game's own rewards beneath its wrappers, with their running statistics frozen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorWrapper
from gymnasium.wrappers import NormalizeObservation, NormalizeReward
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from lcd.envs.gymnasium_vec_env import GymnasiumVecEnv, layers

RESCALING = (gym.RewardWrapper, NormalizeReward)
"""Wrappers of one game that change its rewards for learning: every RewardWrapper, a user's own too (TransformReward,
ClipReward and Stable-Baselines3's ClipRewardEnv are such), and NormalizeReward, which is none."""

KEEPING_STATISTICS = (NormalizeReward, NormalizeObservation)


class RawRewards:
    """The games' own rewards of the last step.

    Parameters
    ----------
    lowest
        Records the rewards beneath all wrappers of the vector environment; None where it has none.
    games
        By the index of an environment, what records the rewards beneath its own wrappers that change them.
    """

    def __init__(self, lowest: _RecordingVecEnv | _RecordingVectorEnv | None, games: dict[int, _RecordingGame]) -> None:
        self._lowest, self._games = lowest, games

    def begin(self) -> None:
        """Forget what was paid before the reset that has just been made."""
        for game in self._games.values():
            game.take()

    def of(self, rewards: np.ndarray) -> np.ndarray:
        """The games' own rewards of the step in which the outermost wrapper gave these, shape (environments,)."""
        raw = np.array(rewards if self._lowest is None else self._lowest.rewards, np.float64)
        for index, game in self._games.items():
            raw[index] = game.take()
        return raw


@contextmanager
def raw_rewards(env: VecEnv) -> Iterator[RawRewards]:
    """Give access to the rewards beneath an environment's wrappers, with their running statistics frozen.

    Observations are normalised as before, by the frozen statistics.

    Parameters
    ----------
    env
        Environment; its wrappers are restored at the end.

    Raises
    ------
    ValueError
        If games in other processes have wrappers that change rewards or keep statistics.
    """
    with ExitStack() as undo:
        innermost, lowest = None, env
        while isinstance(lowest, VecEnvWrapper):
            if isinstance(lowest, VecNormalize):
                _change(undo, lowest, training=False)
            innermost, lowest = lowest, lowest.venv
        recording = None
        if innermost is not None:
            recording = _RecordingVecEnv(lowest)
            _change(undo, innermost, venv=recording)
        yield RawRewards(_beneath_vector_wrappers(undo, lowest) or recording, _recorded_games(undo, lowest))


def _beneath_vector_wrappers(undo: ExitStack, env: VecEnv) -> _RecordingVectorEnv | None:
    """What records the rewards beneath the wrappers of Gymnasium's vector environment; None without wrappers."""
    wrappers = list(layers(env.vector))[:-1] if isinstance(env, GymnasiumVecEnv) else []
    if not wrappers:
        return None
    recording = _RecordingVectorEnv(wrappers[-1].env)
    _change(undo, wrappers[-1], env=recording)
    return recording


def _recorded_games(undo: ExitStack, env: VecEnv) -> dict[int, _RecordingGame]:
    games = getattr(env, "envs", None)
    if games is None:
        for kind in (*RESCALING, NormalizeObservation):
            if any(env.env_is_wrapped(kind)):
                raise ValueError(
                    f"Games in a {type(env).__name__} are wrapped in a {kind.__name__}, and rewards beneath it cannot "
                    "be read from this process: evaluate them in a DummyVecEnv, or without that wrapper."
                )
        return {}
    found = {}
    for index, game in enumerate(games):
        rescaling = None
        while isinstance(game, gym.Wrapper):
            if isinstance(game, KEEPING_STATISTICS):
                _change(undo, game, update_running_mean=False)
            if isinstance(game, NormalizeReward):
                _change(undo, game, discounted_reward=game.discounted_reward)
            if isinstance(game, RESCALING):
                rescaling = game
            game = game.env
        if rescaling is not None:
            found[index] = _RecordingGame(rescaling.env)
            _change(undo, rescaling, env=found[index])
    return found


def _change(undo: ExitStack, thing: Any, **values: Any) -> None:
    """Set attributes, and restore them at the end."""
    for name, value in values.items():
        undo.callback(setattr, thing, name, getattr(thing, name))
        setattr(thing, name, value)


class _RecordingVecEnv(VecEnvWrapper):
    """Keeps the rewards of the last step."""

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        observations, self.rewards, dones, infos = self.venv.step_wait()
        return observations, self.rewards, dones, infos


class _RecordingVectorEnv(VectorWrapper[Any, Any, Any, Any, Any]):
    """Keeps the rewards of the last step."""

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observations, self.rewards, terminated, truncated, info = self.env.step(actions)
        return observations, self.rewards, terminated, truncated, info


class _RecordingGame(gym.Wrapper[Any, Any, Any, Any]):
    """Sums the rewards of a game between two reads; those after a reset are left for the next read."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._paid = 0.0
        self._ended: float | None = None

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._paid += float(reward)
        return observation, reward, terminated, truncated, info

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        if self._ended is None:
            self._ended = self._paid
        self._paid = 0.0
        return self.env.reset(**kwargs)

    def take(self) -> float:
        """Rewards since the last read, within the episode that they belong to."""
        if self._ended is not None:
            paid, self._ended = self._ended, None
        else:
            paid, self._paid = self._paid, 0.0
        return paid
