"""Actions that are repeated: at random, so that no sequence of actions is learned by heart, and for several steps."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class StickyActions(gymnasium.Wrapper):
    """Executes the last action again with some probability, instead of the one that is chosen.

    The draws go on from episode to episode: a level is not always played with the same. The first seed decides them,
    or that of `begin_noise`.

    Parameters
    ----------
    env
        The game.
    probability
        Of each step but the first of an episode; 0.25 is usual.

    References
    ----------
    Machado et al., *Revisiting the Arcade Learning Environment*, Journal of Artificial Intelligence Research 61, 2018,
    arXiv:1709.06009.
    """

    def __init__(self, env: gymnasium.Env, probability: float) -> None:
        super().__init__(env)
        self._probability, self._last = probability, None
        self._random: np.random.Generator | None = None

    def begin_noise(self, seed: int) -> None:
        """Draw anew from a seed."""
        self._random = np.random.default_rng(seed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        if self._random is None:
            self._random = np.random.default_rng(seed)
        self._last = None
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Make a step, with this action or with the last one."""
        if self._last is not None and self._random is not None and self._random.random() < self._probability:
            action = self._last
        self._last = action
        return self.env.step(action)


class FrameSkip(gymnasium.Wrapper):
    """Executes each action for several steps; the rewards are added, and the last observation is shown.

    Parameters
    ----------
    env
        The game.
    steps
        Its steps for each action, fewer where the episode ends.
    """

    def __init__(self, env: gymnasium.Env, steps: int) -> None:
        super().__init__(env)
        self._steps = steps

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Make the steps of one action."""
        total = 0.0
        for _ in range(self._steps):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, info
