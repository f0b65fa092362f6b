"""Procgen itself: a batch of games in one rendering, as plain arrays."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from lcd.envs.procgen.library import procgen_env
from lcd.envs.procgen.options import ProcgenOptions
from lcd.envs.procgen.saved_state import INT32_MAX, SavedState

FORCE_RESET = -1
"""The action that ends an episode whatever its state (Procgen's ``Game::step``)."""

_STATE_SIZE = 2**20  # more than any saved state needs


class Engine:
    """A batch of Procgen games that step together.

    Parameters
    ----------
    options
        The game, its levels and its appearance.
    num_envs
        Number of games in the batch.
    seed
        Seed of the sequence of levels.
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

    Raises
    ------
    lcd.envs.procgen.library.ProcgenMissing
        If Procgen cannot be loaded on this machine.

    Notes
    -----
    The arrays are Procgen's own buffers: the next `observe` overwrites them.
    """

    def __init__(self, options: ProcgenOptions, num_envs: int, seed: int, num_threads: int = 0) -> None:
        settings = asdict(options)
        if options.distribution_mode == "exploration":
            del settings["num_levels"], settings["start_level"]
        game = settings.pop("game")
        self._env = procgen_env(
            num=num_envs, env_name=game, rand_seed=seed % INT32_MAX, num_threads=num_threads, **settings
        )
        # An engine that is dropped unclosed is freed whenever Python collects cycles, perhaps while another one loads
        # the library and holds a lock that looking up a function takes: so the function is looked up now.
        _ = self._env._c_lib.libenv_close
        self.num_envs = num_envs
        self.frames: np.ndarray = self._env._ob["rgb"]
        self.rewards: np.ndarray = self._env._rew
        self.firsts: np.ndarray = self._env._first
        self.level_seeds: np.ndarray = self._env._info["level_seed"]
        self.previous_level_seeds: np.ndarray = self._env._info["prev_level_seed"]
        self.level_completes: np.ndarray = self._env._info["prev_level_complete"].view(bool)
        self._state_buffer = self._env._ffi.new(f"char[{_STATE_SIZE}]")
        Engine.observe(self)

    def act(self, actions: np.ndarray) -> None:
        """Start a step of every game; returns at once when the engine has threads."""
        self._env._ac["action"][:] = actions
        self._env._c_lib.libenv_act(self._env._c_env)

    def observe(self) -> None:
        """Wait for the started step, after which the arrays hold its results."""
        self._env._c_lib.libenv_observe(self._env._c_env)

    def get_state(self, index: int) -> bytes:
        """The saved state of one game."""
        used = self._env.call_c_func("get_state", index, self._state_buffer, _STATE_SIZE)
        return bytes(self._env._ffi.buffer(self._state_buffer, used))

    def set_state(self, index: int, state: bytes) -> None:
        """Put one game into a saved state; its frame and arrays follow at once."""
        self._env.call_c_func("set_state", index, state, len(state))

    def set_next_level(self, index: int, level: int) -> None:
        """Make a game draw its levels, from its next episode on, out of this one alone."""
        state = SavedState(self.get_state(index))
        state.levels = range(level, level + 1)
        self.set_state(index, state.to_bytes())

    def snapshot(self, games: np.ndarray) -> dict[str, Any]:
        """Everything that decides how some of the games go on and are drawn: arrays by name."""
        return {"states": [np.frombuffer(self.get_state(index), np.uint8) for index in games.tolist()]}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot of an engine of the same options and number of games."""
        for index, state in enumerate(snapshot["states"]):
            self.set_state(index, np.asarray(state).tobytes())

    def look_at(self, index: int, other: Engine, other_index: int) -> None:
        """Set a game to the present state of a game of another engine, without time limit."""
        state = SavedState(other.get_state(other_index))
        state.timeout = INT32_MAX
        self.set_state(index, state.to_bytes())

    def close(self) -> None:
        """End the engine's threads and free its games."""
        self._env.close()
