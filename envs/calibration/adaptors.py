"""Courier through Stable-Baselines3 and Gymnasium."""

from __future__ import annotations

from typing import Any

import gymnasium

from envs.batch import View
from envs.calibration.batch import ACTION_SPACE, CourierBatch
from envs.calibration.dials import Dials
from envs.calibration.options import CourierOptions
from envs.gymnasium_envs import GameEnv, GameVectorEnv
from envs.vec_env import GameVecEnv


class CourierVecEnv(GameVecEnv):
    """A batch of games of Courier for Stable-Baselines3.

    Parameters
    ----------
    options
        The dials and the levels.
    num_envs, view, seed
        As in `envs.GameVecEnv`.

    Examples
    --------
    >>> env = CourierVecEnv(CourierOptions(Dials(clutter=0.5)), num_envs=2, view="both")
    >>> sorted((name, view.shape) for name, view in env.reset().items())
    [('pixels', (2, 64, 64, 3)), ('semantic', (2, 64, 64))]
    """

    def __init__(self, options: CourierOptions, num_envs: int = 64, view: View = "pixels", seed: int = 0) -> None:
        self.options = options
        super().__init__(num_envs, view, ACTION_SPACE, seed)

    def _lay_out(self, seed: int) -> CourierBatch:
        return CourierBatch(self.options, self.num_envs, self.view, seed)


class CourierEnv(GameEnv):
    """One game of Courier.

    Parameters
    ----------
    view, render_mode
        As in `envs.ProcgenEnv`.
    num_levels, start_level
        As in `CourierOptions`.
    **dials
        Fields of `Dials`.
    """

    def __init__(
        self,
        view: View = "pixels",
        render_mode: str | None = None,
        num_levels: int = 0,
        start_level: int = 0,
        **dials: float,
    ) -> None:
        self.options = CourierOptions(Dials(**dials), num_levels, start_level)
        super().__init__(view, ACTION_SPACE, render_mode)

    def _lay_out(self, num_envs: int, seed: int) -> CourierBatch:
        return CourierBatch(self.options, num_envs, self.view, seed)


class CourierVectorEnv(GameVectorEnv):
    """A batch of games of Courier that step together; an ended episode gives way to the next in the same step.

    Parameters
    ----------
    num_envs
        Number of games.
    view, render_mode, num_levels, start_level, **dials
        As in `CourierEnv`.
    """

    def __init__(
        self,
        num_envs: int = 1,
        view: View = "pixels",
        render_mode: str | None = None,
        num_levels: int = 0,
        start_level: int = 0,
        **dials: Any,
    ) -> None:
        self.options = CourierOptions(Dials(**dials), num_levels, start_level)
        super().__init__(num_envs, view, ACTION_SPACE, render_mode)

    def _lay_out(self, num_envs: int, seed: int) -> CourierBatch:
        return CourierBatch(self.options, num_envs, self.view, seed)


def register() -> None:
    """Make Courier known to Gymnasium as ``lcd/Courier-v0``; importing `envs` does so."""
    gymnasium.register(
        "lcd/Courier-v0",
        entry_point="envs.calibration.adaptors:CourierEnv",
        vector_entry_point="envs.calibration.adaptors:CourierVectorEnv",
    )
