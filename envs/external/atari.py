"""Atari's usual wrappers, and levels that begin at once."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.utils.seeding import np_random

MOST_NOOPS = 30

ATARI_LEVELS = ", levels by no-ops, 18,000 frames"
"""Belongs to the version of a game with these wrappers: what its levels are, and how long its episodes."""

FIRST_LEVEL = ", from the first reset on"
"""Belongs to it without sticky actions: a game begins its first episode as the level says, too."""

MOST_FRAMES = 18_000
"""Frames of an episode, five minutes, unless another limit is given. The games' own is six times as long: one policy of
Breakout that no longer serves the ball took longer to evaluate than to train."""


FRAME_SKIP = 4
"""Frames for each action."""


def with_atari_wrappers(
    env: gymnasium.Env, frame_skip: int = FRAME_SKIP, max_episode_steps: int | None = None
) -> gymnasium.Env:
    """Grey frames of 84 × 84 pixels, four at a time, each action for several frames, for five minutes at most.

    As in Machado et al. (2018), arXiv:1709.06009.

    Up to 30 steps of doing nothing at the start make the levels.

    Raises
    ------
    gymnasium.error.DependencyNotInstalled
        If OpenCV is missing, which resizes frames.
    """
    begins_with = env.unwrapped.get_action_meanings()[:1]  # type: ignore[attr-defined]
    env = gymnasium.wrappers.AtariPreprocessing(
        SeededOnce(env),
        noop_max=MOST_NOOPS if begins_with == ["NOOP"] else 0,  # a few board games have no action that does nothing
        frame_skip=frame_skip,
        screen_size=84,
        grayscale_obs=True,
    )
    limit = max_episode_steps or max(1, MOST_FRAMES // frame_skip)
    return gymnasium.wrappers.TimeLimit(gymnasium.wrappers.FrameStackObservation(env, 4), limit)


class SeededOnce(gymnasium.Wrapper):
    """Seeds the emulator by the first seed only; later ones decide the steps of doing nothing.

    Seeding the emulator loads the ROM again, 90 ms instead of 5, as long as a hundred steps. It decides nothing but
    which actions are sticky: their draws go on from episode to episode, from the first seed or that of `begin_noise`.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self._seeded = False
        self._noise: int | None = None

    def begin_noise(self, seed: int) -> None:
        """Draw sticky actions anew from a seed, from the next episode on."""
        if self.unwrapped.ale.getFloat("repeat_action_probability") > 0:  # type: ignore[attr-defined]
            self._noise = seed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        if self._noise is not None:
            found = self.env.reset(seed=self._noise, options=options)
            self._noise, self._seeded = None, True
            if seed is not None:
                self.unwrapped.np_random = np_random(seed)[0]
            return found
        found = self.env.reset(seed=None if self._seeded else seed, options=options)
        if seed is not None:
            self.unwrapped.np_random, self._seeded = np_random(seed)[0], True
        return found
