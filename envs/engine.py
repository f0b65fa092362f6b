"""Procgen itself: one batch of games, drawn one way, as plain arrays."""

from __future__ import annotations

import struct
import warnings

import numpy as np
from gym_notices import notices

from envs.options import ProcgenOptions

notices.notices.clear()  # else importing procgen prints the old gym's notice on every user's stderr
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from procgen import ProcgenGym3Env

FORCE_RESET = -1
"""The action that ends an episode whatever its state (Procgen's ``Game::step``)."""

_INT32_MAX = 2**31 - 1


class Engine:
    """A batch of Procgen games that step together.

    Parameters
    ----------
    options
        The game, its levels and how it is drawn.
    num_envs
        Number of games in the batch.
    seed
        Decides which levels are drawn in which order.
    num_threads
        Threads that step the games; 0 steps them in the calling thread.

    Attributes
    ----------
    frames : numpy.ndarray, shape (num_envs, 64, 64, 3), uint8
    rewards : numpy.ndarray, shape (num_envs,), float32
    firsts : numpy.ndarray, shape (num_envs,), bool
        Whether the frame is the first of a new episode.
    level_seeds, previous_level_seeds : numpy.ndarray, shape (num_envs,), int32
    level_completes : numpy.ndarray, shape (num_envs,), bool
        Whether the last step completed its level.

    Notes
    -----
    The arrays are Procgen's own buffers: the next `observe` overwrites them.
    """

    def __init__(self, options: ProcgenOptions, num_envs: int, seed: int, num_threads: int = 0) -> None:
        settings = options.as_dict()
        if options.distribution_mode == "exploration":
            del settings["num_levels"], settings["start_level"]
        game = settings.pop("game")
        self._env = ProcgenGym3Env(
            num=num_envs, env_name=game, rand_seed=seed % _INT32_MAX, num_threads=num_threads, **settings
        )
        self.num_envs = num_envs
        self.frames: np.ndarray = self._env._ob["rgb"]
        self.rewards: np.ndarray = self._env._rew
        self.firsts: np.ndarray = self._env._first
        self.level_seeds: np.ndarray = self._env._info["level_seed"]
        self.previous_level_seeds: np.ndarray = self._env._info["prev_level_seed"]
        self.level_completes: np.ndarray = self._env._info["prev_level_complete"].view(bool)
        self.observe()

    def act(self, actions: np.ndarray) -> None:
        """Begin a step of every game; returns at once when the engine has threads."""
        self._env._ac["action"][:] = actions
        self._env._c_lib.libenv_act(self._env._c_env)

    def observe(self) -> None:
        """Wait until the step that was begun is done and the arrays hold its outcome."""
        self._env._c_lib.libenv_observe(self._env._c_env)

    def get_state(self, index: int) -> bytes:
        """The saved state of one game."""
        size = 2**20
        buffer = self._env._ffi.new(f"char[{size}]")
        used = self._env.call_c_func("get_state", index, buffer, size)
        return bytes(self._env._ffi.buffer(buffer, used))

    def set_state(self, index: int, state: bytes) -> None:
        """Put one game into a saved state; its arrays follow at the next step."""
        self._env.call_c_func("set_state", index, state, len(state))

    def close(self) -> None:
        """End the engine's threads and free its games."""
        self._env.close()


def _timeout_offset(state: bytes) -> int:
    """Where the length limit stands in a saved state.

    The layout is that of ``Game::serialize`` in Procgen's ``game.cpp``: version, name, 12 options, 5 numbers, two random
    generators (a flag and a text each), reward, done, completed, action, and then the limit.
    """
    position = 4
    position += 4 + struct.unpack_from("<i", state, position)[0]
    position += 4 * (12 + 5)
    for _ in range(2):
        position += 4
        position += 4 + struct.unpack_from("<i", state, position)[0]
    return position + 4 * 4


def read_timeout(state: bytes) -> int:
    """Number of steps after which Procgen cuts an episode off."""
    return int(struct.unpack_from("<i", state, _timeout_offset(state))[0])


def without_timeout(state: bytes) -> bytes:
    """The same state, in which the episode is never cut off for its length."""
    offset = _timeout_offset(state)
    return state[:offset] + struct.pack("<i", _INT32_MAX) + state[offset + 4 :]
