"""Gymnasium's vector environments for Stable-Baselines3: an ended game shows its next episode in the same step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers import vector as vector_wrappers
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from lcd.envs.batch import one_of
from lcd.io.limits import short

REPLACED_BY = {
    vector_wrappers.NormalizeReward: "VecNormalize",
    vector_wrappers.NormalizeObservation: "VecNormalize",
    vector_wrappers.RecordEpisodeStatistics: "VecMonitor",
}
"""Vector wrappers that count wrongly where some games are reset alone, and what Stable-Baselines3 has for each."""

Env = TypeVar("Env")


def as_vec_env(env: Env) -> Env | GymnasiumVecEnv:
    """A vector environment of Gymnasium as one of Stable-Baselines3; anything else as it is.

    Parameters
    ----------
    env
        Any environment.

    Raises
    ------
    ValueError
        If it is a vector environment of Gymnasium that cannot be adapted.
    """
    return GymnasiumVecEnv(env) if isinstance(env, VectorEnv) else env


class GymnasiumVecEnv(VecEnv):
    """A vector environment of Gymnasium, as ``gymnasium.make_vec`` makes it, for Stable-Baselines3.

    Steps, seeds and resets are those of ``DummyVecEnv`` with the same games. Where Gymnasium would begin the next
    episode in the next step (``AutoresetMode.NEXT_STEP``, its default), or not at all (``DISABLED``), it is begun here
    in the step that ends one, with ``reset_mask``.

    Parameters
    ----------
    vector
        The vector environment: ``SyncVectorEnv``, or ``AsyncVectorEnv`` with shared memory, with any autoreset mode, or
        another one with ``SAME_STEP`` or ``DISABLED``; possibly in wrappers.

    Raises
    ------
    ValueError
        If it does not tell its autoreset mode, or resets in the next step and cannot be told to reset earlier.
    """

    def __init__(self, vector: VectorEnv) -> None:
        self.vector = vector
        self._resets_itself = _checked_mode(vector) is AutoresetMode.SAME_STEP
        self._actions: Any = None
        super().__init__(vector.num_envs, vector.single_observation_space, vector.single_action_space)

    @property
    def envs(self) -> list[gymnasium.Env] | None:
        """The single games, where they are in this process; None elsewhere."""
        innermost = self.vector.unwrapped
        return innermost.envs if isinstance(innermost, SyncVectorEnv) else None

    def reset(self) -> VecEnvObs:
        """Begin new episodes in all games, from the seeds if some were set since the last reset."""
        options = self._options[0]
        if any(each != options for each in self._options):
            raise ValueError("The games of a vector environment are reset with the same options: set one dictionary.")
        observations, info = self.vector.reset(seed=self._seeds[0], options=dict(options) or None)
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = [info_of(info, index) for index in range(self.num_envs)]
        return _copied(observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions of the coming step."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Make the step, and begin the next episode of every game that has ended."""
        observations, rewards, terminated, truncated, info = self.vector.step(self._actions)
        ended = np.asarray(terminated, bool) | np.asarray(truncated, bool)
        infos = [info_of(info, index) for index in range(self.num_envs)]
        if self._resets_itself:
            for index in np.flatnonzero(ended).tolist():
                infos[index] = self._of_the_end(index, infos[index])
        elif ended.any():
            observations = self._begin(ended, observations, infos)
        for index, each in enumerate(infos):
            each["TimeLimit.truncated"] = bool(truncated[index] and not terminated[index])
        return _copied(observations), np.array(rewards, np.float32), ended, infos

    def _of_the_end(self, index: int, info: dict[str, Any]) -> dict[str, Any]:
        """Info of the last step of an episode, from that of a step which has begun the next."""
        last, final = info.pop("final_obs", None), info.pop("final_info", {})
        self.reset_infos[index] = info
        return info | final | ({} if last is None else {"terminal_observation": last})

    def _begin(self, ended: np.ndarray, observations: Any, infos: list[dict[str, Any]]) -> Any:
        """Begin the next episode of some games: the observations of all games, and the last ones into infos."""
        for index in np.flatnonzero(ended).tolist():
            infos[index]["terminal_observation"] = _copied(one_of(observations, index))
        observations, begun = self.vector.reset(options={"reset_mask": ended.copy()})
        for index in np.flatnonzero(ended).tolist():
            self.reset_infos[index] = info_of(begun, index)
        return observations

    def close(self) -> None:
        """Free the games."""
        self.vector.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """RGB frames of all games, for `render`."""
        frames: Any = self.vector.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of some games; of the vector environment where they have none of their own."""
        places, innermost = list(self._get_indices(indices)), self.vector.unwrapped
        if isinstance(innermost, SyncVectorEnv | AsyncVectorEnv):
            values = innermost.get_attr(attr_name)
            return [values[place] for place in places]
        return [getattr(self.vector, attr_name)] * len(places)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of all games."""
        self._refuse_some(indices)
        innermost = self.vector.unwrapped
        if isinstance(innermost, SyncVectorEnv | AsyncVectorEnv):
            innermost.set_attr(attr_name, [value] * self.num_envs)
        else:
            setattr(innermost, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Call a method of all games."""
        self._refuse_some(indices)
        innermost = self.vector.unwrapped
        if isinstance(innermost, SyncVectorEnv | AsyncVectorEnv):
            return list(innermost.call(method_name, *args, **kwargs))
        return [getattr(self.vector, method_name)(*args, **kwargs)] * self.num_envs

    def _refuse_some(self, indices: VecEnvIndices) -> None:
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError("Gymnasium's vector environments call all of their games: leave indices out.")

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Whether games are in a wrapper of a class or of one derived from it; in other processes by their names."""
        places, innermost = list(self._get_indices(indices)), self.vector.unwrapped
        if self.envs is not None:
            return [any(isinstance(each, wrapper_class) for each in layers(self.envs[place])) for place in places]
        if isinstance(innermost, AsyncVectorEnv):
            written = innermost.call("__str__")
            names = [f"<{each.__name__}<" for each in _with_derived(wrapper_class)]
            return [any(name in written[place] for name in names) for place in places]
        return [False] * len(places)


def layers(env: Any) -> Iterator[Any]:
    """An environment, what it wraps, and so on."""
    yield env
    while isinstance(env, gymnasium.Wrapper | VectorWrapper):
        env = env.env
        yield env


def info_of(infos: dict[str, Any], index: int) -> dict[str, Any]:
    """Entries of one game, out of those that a vector environment gives for all.

    Parameters
    ----------
    infos
        Arrays by name, shape (games, ...), each with a mask of the games that have it under ``_name``.
    index
        The game.
    """
    found = {}
    for name, values in infos.items():
        mask = infos.get(f"_{name}")
        if mask is None or not mask[index]:
            continue
        found[name] = info_of(values, index) if isinstance(values, dict) and name != "final_obs" else values[index]
    return found


def _copied(observations: Any) -> Any:
    """Observations that the next step does not overwrite."""
    if isinstance(observations, dict):
        return {name: np.array(view) for name, view in observations.items()}
    return np.array(observations)


def _can_be_reset_earlier(vector: VectorEnv) -> bool:
    """Whether ``reset_mask`` takes the place of a reset in the next step.

    Gymnasium's processes without shared memory would reset again in the next step, up to version 1.4 at least.
    """
    return isinstance(vector, SyncVectorEnv) or (isinstance(vector, AsyncVectorEnv) and bool(vector.shared_memory))


def _checked_mode(vector: VectorEnv) -> AutoresetMode:
    """When a vector environment begins the next episode of a game.

    Raises
    ------
    ValueError
        If it does not say so, or its games cannot be reset in time.
    """
    name = type(vector.unwrapped).__name__
    mode = vector.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise ValueError(
            f"The metadata of {name} have autoreset_mode {short(mode)}, which does not tell when its games are reset: "
            "set it to a gymnasium.vector.AutoresetMode."
        )
    if mode is AutoresetMode.NEXT_STEP and not _can_be_reset_earlier(vector.unwrapped):
        raise ValueError(
            f"{name} resets ended games in the next step (AutoresetMode.NEXT_STEP), where Stable-Baselines3 expects "
            "this one: make it with autoreset_mode SAME_STEP or DISABLED."
        )
    for layer in layers(vector):
        for wrapper, other in REPLACED_BY.items():
            if isinstance(layer, wrapper):
                raise ValueError(
                    f"Gymnasium's {wrapper.__name__} for vector environments counts wrongly where games are reset in "
                    f"the step that ends an episode, as Stable-Baselines3 expects: use its {other} instead."
                )
    return mode


def _with_derived(wrapper_class: type[gymnasium.Wrapper]) -> Iterator[type[gymnasium.Wrapper]]:
    """A class of wrappers and every one derived from it in this process."""
    yield wrapper_class
    for derived in wrapper_class.__subclasses__():
        yield from _with_derived(derived)
