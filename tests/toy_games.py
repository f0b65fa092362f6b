"""Games small enough to know every answer: the colour that fills the frame names the action that earns the reward."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

COLOURS = 4
PALETTE = np.array([[220, 0, 0], [0, 220, 0], [0, 0, 220], [220, 220, 220]], np.uint8)
SIZE = 36  # the smallest frame that the Nature encoder takes


class ColourGame(VecEnv):
    """Frames of one colour with a pixel that tells them apart; label maps of one label.

    `lengths` and `rewards` set the episodes of each game; without `rewards` naming the colour earns 1.
    """

    def __init__(self, num_envs=4, view="pixels", lengths=5, rewards=None, truncates=False):
        self.view = view
        self.lengths = np.broadcast_to(lengths, (num_envs,))
        self.fixed_rewards = None if rewards is None else np.broadcast_to(rewards, (num_envs,))
        self.truncates = truncates
        self.render_mode = None
        self.history = []  # every observation shown, by step
        self.finals = []  # (step, game, observation) of every end
        self.played = []  # actions carried out
        self._seed = 0
        frames = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        labels = spaces.Box(0, 64, (SIZE, SIZE), np.uint8)
        known = {"pixels": frames, "semantic": labels, "both": spaces.Dict(pixels=frames, semantic=labels)}
        super().__init__(num_envs, known[view], spaces.Discrete(COLOURS))

    def seed(self, seed=None):
        self._seed = seed or 0
        return [seed] * self.num_envs

    def _observe(self, colours):
        frames = np.tile(PALETTE[colours][:, None, None], (1, SIZE, SIZE, 1))
        frames[:, 0, 0] = self._rng.integers(0, 256, (len(colours), 3))
        labels = np.zeros((len(colours), SIZE, SIZE), np.uint8)
        labels[...] = (1 + colours)[:, None, None]
        return {"pixels": frames, "semantic": labels, "both": {"pixels": frames, "semantic": labels}}[self.view]

    def reset(self):
        self._rng = np.random.default_rng(self._seed)
        self._elapsed = np.zeros(self.num_envs, np.int64)
        self._episode = np.zeros(self.num_envs, np.int64)
        self._colours = self._rng.integers(COLOURS, size=self.num_envs)
        self.history = [self._observe(self._colours)]
        return self.history[-1]

    def step_async(self, actions):
        self._actions = np.array(actions)
        self.played.append(self._actions)

    def step_wait(self):
        right = (self._actions == self._colours).astype(np.float32)
        rewards = right if self.fixed_rewards is None else self.fixed_rewards.astype(np.float32)
        self._elapsed += 1
        dones = self._elapsed >= self.lengths
        infos = [{"prev_level_seed": int(episode)} for episode in self._episode]
        finals = self._observe(self._rng.integers(COLOURS, size=self.num_envs))
        for index in np.flatnonzero(dones):
            final = {n: v[index] for n, v in finals.items()} if isinstance(finals, dict) else finals[index]
            infos[index] |= {"terminal_observation": final, "TimeLimit.truncated": self.truncates}
            self.finals.append((len(self.history) - 1, int(index), final))
        self._elapsed[dones] = 0
        self._episode[dones] += 1
        self._colours = self._rng.integers(COLOURS, size=self.num_envs)
        self.history.append(self._observe(self._colours))
        return self.history[-1], rewards.copy(), dones, infos

    def close(self):
        pass

    def get_attr(self, attr_name, indices=None):
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name, value, indices=None):
        setattr(self, attr_name, value)

    def env_method(self, method_name, *args, indices=None, **kwargs):
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False for _ in self._get_indices(indices)]


def colour_of_frame(frames):
    """Colours of frames of shape (batch, 3, height, width), read from a pixel that nothing disturbs."""
    pixel = torch.as_tensor(frames)[:, :, -1, -1]
    return (pixel[:, None] == torch.as_tensor(PALETTE)).all(dim=2).int().argmax(dim=1)


class ColourTeacher:
    """Knows the game: reads the colour off its own view and names it with probability `certainty`."""

    def __init__(self, certainty=0.97):
        self.certainty = certainty
        self.shapes = set()

    def log_probabilities(self, observations):
        self.shapes.add(tuple(observations.shape[1:]))
        colours = observations[:, -1, -1].long() - 1 if observations.ndim == 3 else colour_of_frame(observations)
        probabilities = torch.full((len(colours), COLOURS), (1 - self.certainty) / (COLOURS - 1))
        probabilities[torch.arange(len(colours)), colours] = self.certainty
        return probabilities.log()
