"""A rollout buffer that stores byte observations once, on the learner's device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples

from lcd.agents.parallel import parallel_map, single_threaded, thread_share


def channels_last(frames: torch.Tensor) -> torch.Tensor:
    """Frames of shape (batch, channels, height, width) as (batch, height, width, channels); label maps as they are."""
    return frames.movedim(-3, -1) if frames.ndim == 4 else frames


def channels_first(frames: torch.Tensor) -> torch.Tensor:
    """The inverse of `channels_last`."""
    return frames.movedim(-1, -3) if frames.ndim == 4 else frames


def turned_first(frames: torch.Tensor) -> torch.Tensor:
    """Frames of an environment with their channels, the smallest side, first; label maps and vectors as they are."""
    are_first = frames.ndim == 4 and frames.shape[1] < min(frames.shape[2:])
    return frames if are_first else channels_first(frames)


class ByteRolloutBuffer(RolloutBuffer):
    """Stable-Baselines3's rollout buffer with its observations as one byte tensor on the learner's device.

    Frames keep the environment's memory order (channels last), so that neither storing nor sampling transposes them.
    On a GPU the values and log-probabilities of each step stay there until the rollout is complete: reading them back
    step by step would wait for the device.
    """

    observation_space: spaces.Box
    _frames: torch.Tensor | None = None
    _unread: torch.Tensor | None = None

    @property
    def reads_at_the_end(self) -> bool:
        """Whether values and log-probabilities are read back when the rollout is complete, and not at every step."""
        return self.device.type != "cpu"

    def reset(self) -> None:
        """Begin a new rollout in the same memory."""
        if self._frames is None:
            super().reset()
            shape = self.obs_shape
            stored = (*shape[1:], shape[0]) if len(shape) == 3 else shape
            self._frames = torch.empty(
                (self.buffer_size, self.n_envs, *stored),
                dtype=torch.as_tensor(np.empty(0, self.observation_space.dtype)).dtype,
                device=self.device,
            )
            self.observations = np.empty(0)  # SB3's own array is not needed
            if self.reads_at_the_end:
                self._unread = torch.empty((2, self.buffer_size, self.n_envs), device=self.device)
        self.pos = 0
        self.full = False
        self.generator_ready = False

    def add(
        self,
        obs: np.ndarray | torch.Tensor,
        action: np.ndarray,
        reward: np.ndarray,
        episode_start: np.ndarray,
        value: torch.Tensor,
        log_prob: torch.Tensor,
    ) -> None:
        """Append one step of every environment; observations may be on the device already, channels first."""
        assert self._frames is not None
        with single_threaded():  # synchronising threads would take longer than the copy
            self._frames[self.pos].copy_(channels_last(torch.as_tensor(obs)))
        self.actions[self.pos] = action.reshape((self.n_envs, self.action_dim))
        self.rewards[self.pos] = reward
        self.episode_starts[self.pos] = episode_start
        if self._unread is None:
            self.values[self.pos] = value.cpu().numpy().flatten()
            self.log_probs[self.pos] = log_prob.cpu().numpy()
        else:
            self._unread[0, self.pos].copy_(value.flatten(), non_blocking=True)
            self._unread[1, self.pos].copy_(log_prob, non_blocking=True)
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: np.ndarray) -> None:
        """Stable-Baselines3's, after what is still on the device has been read."""
        if self._unread is not None:
            self.values, self.log_probs = self._unread.cpu().numpy()
        super().compute_returns_and_advantage(last_values, dones)

    def _flat(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array.reshape(self.buffer_size * self.n_envs, -1)).squeeze(1).to(self.device)

    def frames(self, rows: torch.Tensor) -> torch.Tensor:
        """Observations of the given rows, channels first; row ``t * n_envs + i`` is step t of environment i."""
        assert self._frames is not None
        rows = rows.to(self.device)
        frames = self._frames.flatten(0, 1)
        picked = frames.new_empty((len(rows), *frames.shape[1:]))
        part_size = thread_share(len(rows), self.device)
        parts = zip(rows.split(part_size), picked.split(part_size), strict=True)
        for _ in parallel_map(lambda part: torch.index_select(frames, 0, part[0], out=part[1]), parts, self.device):
            pass
        return channels_first(picked)

    def columns(self) -> list[Any]:
        """Actions, values, log-probabilities, advantages and returns, one row a step of an environment."""
        arrays = (self.actions, self.values, self.log_probs, self.advantages, self.returns)
        return [self._flat(array) for array in arrays]

    def minibatch_rows(self, batch_size: int | None = None) -> Iterator[torch.Tensor]:
        """Rows of each minibatch of one pass over the buffer, in random order."""
        assert self.full, "the rollout is not complete"
        rows = torch.from_numpy(np.random.permutation(self.buffer_size * self.n_envs))  # noqa: NPY002 (SB3's generator)
        yield from rows.to(self.device).split(batch_size or len(rows))

    def get(self, batch_size: int | None = None) -> Iterator[RolloutBufferSamples]:  # type: ignore[override]
        """Minibatches of one pass over the buffer, in random order."""
        columns = self.columns()
        for rows in self.minibatch_rows(batch_size):
            yield RolloutBufferSamples(self.frames(rows), *(column[rows] for column in columns))
