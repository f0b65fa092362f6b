"""Recording of episodes that a policy plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lcd.agents import EncoderPolicy
from lcd.envs import GameOptions, make_vec_env
from lcd.envs.external.images import shown
from lcd.envs.family import family_of, has_view
from lcd.pretraining.frames import view_of


@dataclass(frozen=True)
class Replay:
    """Recorded episodes of one game in both views; `n` steps.

    Attributes
    ----------
    game
        The game.
    frames : numpy.ndarray, shape (n, height, width, 3), uint8
        Frame before each step.
    labels : numpy.ndarray, shape (n, height, width), uint8
        Label maps of the same states; empty ones for a game that has none.
    actions : numpy.ndarray, shape (n,), int
    values : numpy.ndarray, shape (n,), float
        The policy's value estimates, in units of its training rewards.
    rewards : numpy.ndarray, shape (n,), float
        The game's reward of each step.
    ended : numpy.ndarray, shape (n,), bool
        Whether the step ended an episode.
    action_names
        Name of each action; none where they are not known.
    """

    game: str
    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    actions: NDArray[np.int64]
    values: NDArray[np.float64]
    rewards: NDArray[np.float64]
    ended: NDArray[np.bool_]
    action_names: Sequence[str] = ()

    def action_name(self, step: int) -> str:
        """Name of the action of a step."""
        action = int(self.actions[step])
        return self.action_names[action] if self.action_names else f"action {action}"

    @property
    def returns(self) -> NDArray[np.float64]:
        """Return of the running episode after each step, shape (n,)."""
        returns, so_far = [], 0.0
        for reward, ended in zip(self.rewards.tolist(), self.ended.tolist(), strict=True):
            so_far += reward
            returns.append(so_far)
            so_far = 0.0 if ended else so_far
        return np.array(returns)


@torch.no_grad()
def record(
    policy: EncoderPolicy,
    options: GameOptions,
    *,
    view: str | None = None,
    episodes: int = 1,
    max_steps: int = 1000,
    seed: int = 0,
) -> Replay:
    """Record episodes that a policy plays.

    Parameters
    ----------
    policy
        A policy on frames or label maps.
    options
        The game and its levels.
    view
        Name of the view that the policy acts on; by default the one whose observations have its shape.
    episodes
        Episodes to play.
    max_steps
        Largest number of steps over all episodes.
    seed
        Seed of levels and actions.

    Raises
    ------
    ValueError
        If the policy cannot play the game.
    """
    view = view_of(policy, options) if view is None else view
    drawn = ["pixels", *["semantic"] * has_view(options, "semantic")]
    shown_views = dict.fromkeys([*drawn, view])
    env = make_vec_env(options, 1, tuple(shown_views) if len(shown_views) > 1 else "pixels", seed)
    generator = torch.Generator().manual_seed(seed)
    steps: list[tuple[np.ndarray, np.ndarray, int, float, float, bool]] = []
    left = episodes
    try:
        observed = env.reset()
        while left and len(steps) < max_steps:
            views: dict[str, Any] = observed if isinstance(observed, dict) else {"pixels": observed}
            visible, _ = policy.obs_to_tensor(views[view])
            action = int(torch.multinomial(policy.log_probabilities(visible).exp(), 1, generator=generator))
            value = float(policy.predict_values(visible))
            frame, labels = views["pixels"][0], np.zeros(views["pixels"].shape[1:3], np.uint8)
            if "semantic" in views and views["semantic"].ndim == 3:
                labels = views["semantic"][0]
            pair = (shown(frame), labels)
            observed, rewards, ends, _ = env.step(np.array([action]))
            steps.append((*pair, action, value, float(rewards[0]), bool(ends[0])))
            left -= bool(ends[0])
    finally:
        env.close()
    frames, labels, actions, values, rewards, ends = (np.array(column) for column in zip(*steps, strict=True))
    names = family_of(options).action_names(options)
    return Replay(options.game, frames, labels, actions, values, rewards, ends, names)
