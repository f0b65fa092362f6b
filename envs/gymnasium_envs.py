"""Batches of games as Gymnasium environments, single and vectorised."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from lcd.envs.batch import Batch, checked_num_envs, one_of
from lcd.envs.painting import paint


def _draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31 - 1))


def _as_frames(observation: Any, view: str) -> np.ndarray:
    if view == "both":
        return observation["pixels"]
    return paint(observation) if view == "semantic" else observation


class GameEnv(gymnasium.Env):
    """Base class of single games; a subclass creates the game.

    Parameters
    ----------
    view
        ``"pixels"``, ``"semantic"`` or ``"both"``, as in `lcd.envs.vec_env.GameVecEnv`.
    observation_space, action_space
        Of the game.
    render_mode
        ``"rgb_array"`` or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(
        self, view: str, observation_space: spaces.Space, action_space: spaces.Space, render_mode: str | None
    ) -> None:
        self.view = view
        self.render_mode = render_mode
        self.observation_space = observation_space
        self.action_space = action_space
        self._batch: Batch | None = None
        self._observation: Any = None
        self._next_is_laid_out = False

    def _lay_out(self, num_envs: int, seed: int) -> Batch:
        """Create a batch of games."""
        raise NotImplementedError

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; with a seed, the same sequence of levels begins again."""
        super().reset(seed=seed)
        if self._batch is None or seed is not None:
            self.close()
            self._batch = self._lay_out(1, _draw_seed(self.np_random))
        elif not self._next_is_laid_out:
            self._batch.restart()
        self._next_is_laid_out = False
        self._observation = one_of(self._batch.observe(), 0)
        return self._observation, {"level_seed": int(self._batch.level_seeds[0])}

    def step(self, action: int | np.integer) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Make one step."""
        if self._batch is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step().")
        step = self._batch.step(np.array([action]))
        terminated, truncated = bool(step.terminated[0]), bool(step.truncated[0])
        ended = terminated or truncated
        if not ended:
            self._observation = one_of(step.observations, 0)
        elif step.final_observations:
            self._observation = step.final_observations[0]
        self._next_is_laid_out = ended
        info = {
            "level_seed": int(step.previous_level_seeds[0] if ended else step.level_seeds[0]),
            "prev_level_seed": int(step.previous_level_seeds[0]),
            "prev_level_complete": bool(step.level_completes[0]),
            "final_frame": not ended or bool(step.final_observations),
        }
        return self._observation, float(step.rewards[0]), terminated, truncated, info

    def render(self) -> np.ndarray | None:
        """The frame of the last observation (label maps in false colours)."""
        if self._observation is None:
            raise gymnasium.error.ResetNeeded("Call reset() before render().")
        return _as_frames(self._observation, self.view) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the game."""
        if self._batch is not None:
            self._batch.close()
            self._batch = None


class GameVectorEnv(gymnasium.vector.VectorEnv):
    """A batch of games that step together; an ended episode gives way to the next in the same step.

    A subclass creates the batch.

    Parameters
    ----------
    num_envs
        Number of games.
    view, observation_space, action_space, render_mode
        As in `GameEnv`.
    """

    metadata = {  # noqa: RUF012 (Gymnasium declares it so)
        "render_modes": ["rgb_array"],
        "render_fps": 15,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int,
        view: str,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        render_mode: str | None,
    ) -> None:
        self.num_envs = checked_num_envs(num_envs)
        self.view = view
        self.render_mode = render_mode
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._batch: Batch | None = None

    def _lay_out(self, num_envs: int, seed: int) -> Batch:
        """Create a batch of games."""
        raise NotImplementedError

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes; one seed decides the levels of all games."""
        if isinstance(seed, list):
            raise ValueError("The games of one batch draw their levels from one seed: pass a single number.")
        if not np.all((options or {}).get("reset_mask", True)):
            raise ValueError("The games of one batch begin together: leave reset_mask out.")
        super().reset(seed=seed)
        if self._batch is None or seed is not None:
            self._free()
            self._batch = self._lay_out(self.num_envs, _draw_seed(self.np_random))
            self.closed = False
        else:
            self._batch.restart()
        return self._batch.observe(), self._info(level_seed=self._batch.level_seeds)

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Make one step of every game."""
        if self._batch is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step().")
        step = self._batch.step(np.asarray(actions))
        info = self._info(
            level_seed=step.level_seeds,
            prev_level_seed=step.previous_level_seeds,
            prev_level_complete=step.level_completes,
        )
        ended = step.terminated | step.truncated
        with_final = [index for index in np.flatnonzero(ended).tolist() if index in step.final_observations]
        if step.truncated.any() or with_final:
            final = np.full(self.num_envs, None, object)
            for index in with_final:
                final[index] = step.final_observations[index]
            info |= {"final_obs": final, "_final_obs": np.array([observation is not None for observation in final])}
        return step.observations, step.rewards.astype(np.float64), step.terminated, step.truncated, info

    def _info(self, **columns: np.ndarray) -> dict[str, Any]:
        everywhere = np.ones(self.num_envs, bool)
        return columns | {f"_{name}": everywhere for name in columns}

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The frames of all games (label maps in false colours)."""
        if self.render_mode != "rgb_array" or self._batch is None:
            return None
        return tuple(_as_frames(self._batch.observe(), self.view))

    def _free(self) -> None:
        if self._batch is not None:
            self._batch.close()
            self._batch = None

    def close_extras(self, **kwargs: Any) -> None:
        """Free the games."""
        self._free()
