"""Data for pretraining: consecutive frames of a game, with actions and label maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lcd.agents import EncoderPolicy
from lcd.agents.observations import LABELS
from lcd.agents.teacher import check_finite
from lcd.envs import GameOptions, family_of, make_vec_env
from lcd.envs.family import has_label_maps, has_view, observation_space
from lcd.envs.views import VIEWS
from lcd.io.limits import MOST_CHANNELS


class Transitions(NamedTuple):
    """A batch of transitions.

    Attributes
    ----------
    frames, next_frames : torch.Tensor, shape (batch, channels, height, width), uint8
        Frames before and after the step.
    actions : torch.Tensor, shape (batch,), int64
        Actions of the step.
    labels : torch.Tensor, shape (batch, height, width), uint8, or None
        Label maps of the frames before, where they are known.
    """

    frames: torch.Tensor
    next_frames: torch.Tensor
    actions: torch.Tensor
    labels: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class GameFrames:
    """Trajectories of several games.

    Attributes
    ----------
    frames : numpy.ndarray, shape (steps + 1, games, height, width, channels), uint8
    labels : numpy.ndarray, shape (steps + 1, games, height, width), uint8, or None
        Label maps of the frames, where they are known; only the objective ``segmentation`` needs them.
    actions : numpy.ndarray, shape (steps, games), whole numbers
    goes_on : numpy.ndarray, shape (steps, games), bool
        Whether the next frame belongs to the same episode.

    Raises
    ------
    ValueError
        If the arrays have other shapes or types, or a label is out of range.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None
    actions: NDArray[np.int64]
    goes_on: NDArray[np.bool_]

    def __post_init__(self) -> None:
        shape = np.shape(self.frames)
        is_image = len(shape) == 5 and shape[0] >= 2 and 1 <= shape[-1] <= min(MOST_CHANNELS, *shape[2:4])
        if not is_image or self.frames.dtype != np.uint8:
            raise ValueError(
                f"Frames are bytes of shape (steps + 1, games, height, width, channels), not {_described(self.frames)}."
            )
        steps = (shape[0] - 1, shape[1])
        wanted: dict[str, tuple[tuple[int, ...], str, str]] = {
            "actions": (steps, "iu", "whole numbers"),
            "goes_on": (steps, "b", "truth values"),
        }
        if self.labels is not None:
            wanted["labels"] = (shape[:-1], "u", "bytes")
        for name, (size, kinds, what) in wanted.items():
            found = getattr(self, name)
            if np.shape(found) != size or found.dtype.kind not in kinds:
                raise ValueError(f"Of frames {shape}, {name} are {what} of shape {size}, not {_described(found)}.")
        if self.labels is not None and self.labels.max(initial=0) >= LABELS:
            raise ValueError(f"A label is at most {LABELS - 1}, not {self.labels.max()}: renumber them.")

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a frame, in pixels."""
        return self.frames.shape[2], self.frames.shape[3]

    @property
    def channels(self) -> int:
        """Channels of a frame."""
        return self.frames.shape[4]

    def __len__(self) -> int:
        """Number of transitions within episodes."""
        return int(self.goes_on.sum())

    def batches(self, size: int, seed: int) -> Iterator[Transitions]:
        """Batches of all transitions within episodes, in random order, without a last smaller batch."""
        steps, games = np.nonzero(self.goes_on)
        order = np.random.default_rng(seed).permutation(len(steps))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            yield self._at(steps[chosen], games[chosen])

    def _at(self, steps: NDArray[np.int64], games: NDArray[np.int64]) -> Transitions:
        before, after = (torch.from_numpy(self.frames[which, games]).movedim(-1, -3) for which in (steps, steps + 1))
        actions = torch.from_numpy(self.actions[steps, games].astype(np.int64))
        labels = None if self.labels is None else torch.from_numpy(self.labels[steps, games])
        return Transitions(before, after, actions, labels)


def _described(array: Any) -> str:
    return f"{getattr(array, 'dtype', type(array).__name__)} {np.shape(array)}"


def view_of(policy: EncoderPolicy, options: GameOptions) -> str:
    """The view of a game that a policy takes.

    Raises
    ------
    ValueError
        If its observations or actions are not the game's.
    """
    shape, actions = policy.observation_space.shape, getattr(policy.action_space, "n", None)
    shapes = {name: _policy_shape(options, name) for name in family_of(options).views if has_view(options, name)}
    wanted = int(family_of(options).action_space(options).n)
    for name, known in shapes.items():
        if known == shape and actions == wanted:
            return name
    takes = " or ".join(f"{VIEWS[name].kind}s {known}" for name, known in shapes.items())
    raise ValueError(
        f"A policy for {options.game} takes {takes} and has {wanted} actions; this one takes {shape} and has "
        f"{actions}: give one trained on that game."
    )


def _policy_shape(options: GameOptions, view: str) -> tuple[int, ...]:
    """Shape of a policy's observations in a view: channels first."""
    shape = observation_space(options, view).shape or ()
    return (shape[-1], *shape[:-1]) if VIEWS[view].kind == "image" else shape


def collect_frames(
    options: GameOptions,
    count: int,
    *,
    policy: EncoderPolicy | None = None,
    num_envs: int = 32,
    repeat: float = 0.5,
    seed: int = 0,
) -> GameFrames:
    """Collect frames, label maps where the game has any, and actions of an agent.

    Parameters
    ----------
    options : GameOptions
        The game and its levels.
    count : int
        Number of steps over all games, rounded up to a multiple of `num_envs`.
    policy : EncoderPolicy, optional
        The agent; by default a random one.
    num_envs : int
        Number of parallel games.
    repeat : float
        Probability that the random agent repeats its last action (sticky actions): it explores further.
    seed : int
        Seed of levels and actions.

    Raises
    ------
    ValueError
        If the policy cannot play the game.
    """
    view = "pixels" if policy is None else view_of(policy, options)
    if policy is not None:
        check_finite(policy, "The agent")
    labelled = has_label_maps(options)
    env = make_vec_env(options, num_envs, "both" if labelled or view == "semantic" else "pixels", seed)
    shape = observation_space(options, "pixels").shape or ()
    num_actions = int(family_of(options).action_space(options).n)
    random, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    steps = -(-count // num_envs)
    frames = np.empty((steps + 1, num_envs, *shape), np.uint8)
    labels = np.empty((steps + 1, num_envs, *shape[:2]), np.uint8) if labelled else None
    acted, goes_on = np.empty((steps, num_envs), np.int64), np.empty((steps, num_envs), np.bool_)
    actions = random.integers(num_actions, size=num_envs)
    try:
        observed = env.reset()
        for number in range(steps):
            views: dict[str, Any] = observed if isinstance(observed, dict) else {"pixels": observed}
            frames[number] = views["pixels"]
            if labels is not None:
                labels[number] = views["semantic"]
            if policy is None:
                fresh = random.integers(num_actions, size=num_envs)
                actions = np.where(random.random(num_envs) < repeat, actions, fresh)
            else:
                visible, _ = policy.obs_to_tensor(views[view])
                with torch.no_grad():
                    probabilities = policy.log_probabilities(visible).exp().cpu()
                actions = torch.multinomial(probabilities, 1, generator=generator).squeeze(1).numpy()
            observed, _, ended, _ = env.step(actions)
            acted[number], goes_on[number] = actions, ~ended
        views = observed if isinstance(observed, dict) else {"pixels": observed}
        frames[steps] = views["pixels"]
        if labels is not None:
            labels[steps] = views["semantic"]
    finally:
        env.close()
    return GameFrames(frames, labels, acted, goes_on)
