"""A batch of games as a Stable-Baselines3 vector environment."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from lcd.envs.batch import Batch, LevelBatch, PartedBatch, checked_num_envs
from lcd.envs.levels import checked_levels


class GameVecEnv(VecEnv):
    """A batch of games for Stable-Baselines3, without a Python loop over the games.

    A subclass creates the batch.

    Attributes
    ----------
    divergences : int
        How often the views of a game diverged and were synchronised again.
    saves_states : bool
        Whether `snapshot` saves the states of the games; else what decides their next levels, and after `restore` they
        begin new episodes with a `reset`.
    choosable_levels : range or None
        Levels of which `set_next_levels` takes any; None where the games draw them themselves.

    Parameters
    ----------
    num_envs
        Number of games.
    view
        ``"pixels"``: RGB frames of shape (height, width, 3); ``"semantic"``: label maps of shape (height, width);
        ``"both"``: a dictionary of the two for the same state.
    observation_space, action_space
        Of one game.
    seed
        Seed of the sequence of levels; `seed()` and the next `reset()` replace it. After `close()` they
        begin again.
    """

    divergences: int = 0
    saves_states: bool = True
    choosable_levels: range | None = None

    def __init__(
        self, num_envs: int, view: str, observation_space: spaces.Space, action_space: spaces.Space, seed: int
    ) -> None:
        checked_num_envs(num_envs)
        self.view = view
        self.render_mode = "rgb_array"
        self._seed = seed
        self._next_seed: int | None = None
        self._batch: Batch | None = None
        self._actions = np.zeros(num_envs, np.int32)
        super().__init__(num_envs, observation_space, action_space)

    @abstractmethod
    def _lay_out(self, seed: int) -> Batch:
        """Create the batch of games."""

    def _begin_anew(self) -> None:
        """Begin from the seed, whatever was before."""
        self.close()
        self._batch = self._lay_out(self._seed)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Set the seed that the next `reset` starts from."""
        self._next_seed = int(np.random.default_rng().integers(2**31 - 1)) if seed is None else seed
        return [self._next_seed] * self.num_envs

    def reset(self) -> VecEnvObs:
        """Begin new episodes: from the seed if one was set since the last reset, else on the next levels."""
        if self._next_seed is not None:
            self._seed, self._next_seed = self._next_seed, None
            self._begin_anew()
        elif self._batch is None:
            self._batch = self._lay_out(self._seed)
        else:
            self._batch.restart()
        assert self._batch is not None
        seeds = self._batch.level_seeds.tolist()
        self.reset_infos = [{"level_seed": level_seed} for level_seed in seeds]
        return self._batch.observe()

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions of the coming step, shape (num_envs,)."""
        self._actions = np.asarray(actions).reshape(-1)

    def step_wait(self) -> VecEnvStepReturn:
        """Make the step."""
        if self._batch is None:
            raise RuntimeError("Call reset() before step().")
        step = self._batch.step(self._actions)
        infos: list[dict[str, Any]] = [
            {
                "level_seed": level_seed,
                "prev_level_seed": previous,
                "prev_level_complete": complete,
                "terminated": terminated,
                "TimeLimit.truncated": truncated,
            }
            for level_seed, previous, complete, terminated, truncated in zip(
                step.level_seeds.tolist(),
                step.previous_level_seeds.tolist(),
                step.level_completes.tolist(),
                step.terminated.tolist(),
                step.truncated.tolist(),
                strict=True,
            )
        ]
        ended = step.terminated | step.truncated
        for index, observation in step.final_observations.items():
            if ended[index]:
                infos[index]["terminal_observation"] = observation
        return step.observations, step.rewards, ended, infos

    def set_next_levels(self, games: np.ndarray, levels: np.ndarray) -> None:
        """Choose the level that some games play once their present episode is over, and until another is chosen.

        A game for which none was ever chosen draws its levels itself, as do all after a reset from a seed.

        Parameters
        ----------
        games : numpy.ndarray, shape (n,), whole numbers
            Indices of the games.
        levels : numpy.ndarray, shape (n,), whole numbers
            A level for each of them, out of `choosable_levels`.

        Raises
        ------
        RuntimeError
            If the games have not begun.
        ValueError
            If their levels cannot be chosen, or these are not levels of theirs.
        """
        if self.choosable_levels is None:
            raise ValueError("These games draw their levels themselves: choose others, or a learner that lets them.")
        if self._batch is None:
            raise RuntimeError("Call reset() before set_next_levels().")
        assert isinstance(self._batch, LevelBatch)
        checked = checked_levels(levels, games, self.num_envs, self.choosable_levels)
        self._batch.set_next_levels(np.asarray(games), checked)

    def part(self, games: np.ndarray) -> GameVecEnv | None:
        """Some of the games alone: they go on from their present states, and the others need not be stepped.

        Parameters
        ----------
        games : numpy.ndarray, shape (n,), whole numbers
            Their indices, in rising order.

        Returns
        -------
        GameVecEnv or None
            To be stepped, and closed, before this environment is reset; None where such games cannot be parted.
        """
        batch = self._batch.part(games) if isinstance(self._batch, PartedBatch) else None
        if batch is None:
            return None
        alone = copy.copy(self)
        alone.num_envs, alone._batch, alone._actions = len(games), batch, np.zeros(len(games), np.int32)
        return alone

    def snapshot(self) -> dict[str, Any]:
        """Everything that decides how the games go on, as far as `saves_states`: arrays and numbers by name.

        Raises
        ------
        RuntimeError
            If they have not begun.
        """
        if self._batch is None:
            raise RuntimeError("Call reset() before snapshot().")
        return {"seed": self._seed, "batch": self._batch.snapshot()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on, without a reset, from a snapshot of an environment that was made alike."""
        self.close()
        self._seed, self._next_seed = int(snapshot["seed"]), None
        self._batch = self._lay_out(self._seed)
        self._batch.restore(snapshot["batch"])

    def close(self) -> None:
        """Free the games."""
        if self._batch is not None:
            self._batch.close()
            self._batch = None

    def get_images(self) -> Sequence[np.ndarray | None]:
        """RGB frames of all games, for `render`."""
        from lcd.envs.painting import paint

        if self._batch is None:
            return [None] * self.num_envs
        observation = self._batch.observe()
        frames = observation["pixels"] if isinstance(observation, dict) else observation
        return list(paint(frames) if self.view == "semantic" else frames)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of this environment, once for every game asked for."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute; the games share it, so it cannot be set for some of them only."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError("The games of a batch share their attributes: set them for all games.")
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Call a method of this environment once and give its result for every game asked for."""
        return [getattr(self, method_name)(*args, **kwargs)] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Never: there are no single environments to wrap."""
        targets: Iterable[int] = self._get_indices(indices)
        return [False for _ in targets]
