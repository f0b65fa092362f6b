"""Frames of a game, one step after the other, for an eye to learn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents import EncoderPolicy
from agents.teacher import check_finite
from envs import ProcgenBatch, ProcgenOptions
from envs.actions import NUM_ACTIONS
from envs.batch import FRAME_SHAPE


class Transitions(NamedTuple):
    """A batch of steps.

    Attributes
    ----------
    frames, next_frames : torch.Tensor, shape (batch, 3, height, width), uint8
        What is seen before and after.
    actions : torch.Tensor, shape (batch,), int64
        What is done between.
    labels : torch.Tensor, shape (batch, height, width), uint8
        Label maps of the frames before.
    """

    frames: torch.Tensor
    next_frames: torch.Tensor
    actions: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True, eq=False)
class GameFrames:
    """Steps of several games at once.

    Attributes
    ----------
    frames : numpy.ndarray, shape (steps + 1, games, height, width, 3), uint8
    labels : numpy.ndarray, shape (steps + 1, games, height, width), uint8
    actions : numpy.ndarray, shape (steps, games), int64
    goes_on : numpy.ndarray, shape (steps, games), bool
        Whether the next frame is of the same episode.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    actions: NDArray[np.int64]
    goes_on: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of steps within an episode."""
        return int(self.goes_on.sum())

    def batches(self, size: int, seed: int) -> Iterator[Transitions]:
        """All steps within episodes once, in random order, a last smaller batch left out."""
        steps, games = np.nonzero(self.goes_on)
        order = np.random.default_rng(seed).permutation(len(steps))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            yield self._at(steps[chosen], games[chosen])

    def _at(self, steps: NDArray[np.int64], games: NDArray[np.int64]) -> Transitions:
        before, after = (torch.from_numpy(self.frames[which, games]).movedim(-1, -3) for which in (steps, steps + 1))
        actions, labels = self.actions[steps, games], self.labels[steps, games]
        return Transitions(before, after, torch.from_numpy(actions), torch.from_numpy(labels))


def collect_frames(
    options: ProcgenOptions,
    count: int,
    *,
    policy: EncoderPolicy | None = None,
    num_envs: int = 32,
    repeat: float = 0.5,
    seed: int = 0,
) -> GameFrames:
    """Let an agent play, and keep what it sees.

    Parameters
    ----------
    options : ProcgenOptions
        The game and its levels.
    count : int
        Number of steps over all games, rounded up to whole ones.
    policy : EncoderPolicy, optional
        The agent; by default one that acts at random.
    num_envs : int
        Games at once.
    repeat : float
        Chance that an agent without a policy does what it did before: it gets about, and does not tremble on the spot.
    seed : int
        Of levels and actions.

    Raises
    ------
    ValueError
        If the agent cannot act in Procgen's games.
    """
    if policy is not None:
        _check_agent(policy)
    batch = ProcgenBatch(options, num_envs, "both", seed)
    random, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    view = "semantic" if policy is not None and policy.observation_space.shape == FRAME_SHAPE else "pixels"
    steps = -(-count // num_envs)
    frames = np.empty((steps + 1, num_envs, *FRAME_SHAPE, 3), np.uint8)
    labels = np.empty((steps + 1, num_envs, *FRAME_SHAPE), np.uint8)
    acted, goes_on = np.empty((steps, num_envs), np.int64), np.empty((steps, num_envs), np.bool_)
    actions = random.integers(NUM_ACTIONS, size=num_envs)
    seen = batch.observe()
    try:
        for number in range(steps):
            assert isinstance(seen, dict)
            frames[number], labels[number] = seen["pixels"], seen["semantic"]
            if policy is None:
                fresh = random.integers(NUM_ACTIONS, size=num_envs)
                actions = np.where(random.random(num_envs) < repeat, actions, fresh)
            else:
                visible, _ = policy.obs_to_tensor(seen[view])
                with torch.no_grad():
                    chances = policy.log_probabilities(visible).exp()
                actions = torch.multinomial(chances, 1, generator=generator).squeeze(1).numpy()
            step = batch.step(actions.astype(np.int32))
            acted[number], goes_on[number] = actions, ~(step.terminated | step.truncated)
            seen = step.observations
        assert isinstance(seen, dict)
        frames[steps], labels[steps] = seen["pixels"], seen["semantic"]
    finally:
        batch.close()
    return GameFrames(frames, labels, acted, goes_on)


def _check_agent(policy: EncoderPolicy) -> None:
    """Refuse a policy of other observations or actions than those of Procgen's games, or with damaged weights."""
    check_finite(policy, "The agent")
    shape = policy.observation_space.shape
    if shape not in (FRAME_SHAPE, (3, *FRAME_SHAPE)) or policy.action_space.n != NUM_ACTIONS:  # type: ignore[attr-defined]
        raise ValueError(
            f"The agent sees observations of shape {shape} and has the actions {policy.action_space}: one that plays "
            f"Procgen sees frames of shape {(3, *FRAME_SHAPE)} or label maps of shape {FRAME_SHAPE}, and has "
            f"{NUM_ACTIONS} actions."
        )
