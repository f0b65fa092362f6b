"""Memory of one process that learns for long: it must not grow."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import lcd  # noqa: F401, first: it keeps the old gym's notice off the terminal

# isort: split
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from lcd.agents import PPO
from lcd.envs import ProcgenOptions, make_vec_env
from soaking.table import Row, say

MOST_GROWTH_MB = 10.0


class Memory(BaseCallback):
    """Measures the memory of the process after each rollout, and ends learning when the time is up."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._end = time.monotonic() + seconds
        self._last_line = 0.0
        self.measured: list[float] = []

    def _on_rollout_start(self) -> None:
        self.measured.append(resident_mb())
        if time.monotonic() - self._last_line > 30:
            self._last_line = time.monotonic()
            left = self._end - self._last_line
            say(f"learn: {self.num_timesteps:,} steps, {self.measured[-1]:.1f} MB, {left:.0f} s left")

    def _on_step(self) -> bool:
        return time.monotonic() < self._end


def resident_mb() -> float:
    """Memory of this process that is not shared or swapped out, in millions of bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def learn(minutes: float) -> Iterator[list[Row]]:
    """Learn from pixels in one process, and tell by how much its memory grew after warming up."""
    torch.set_num_threads(1)
    env = VecNormalize(
        VecMonitor(make_vec_env(ProcgenOptions("coinrun", num_levels=200), 64, "pixels")), norm_obs=False
    )
    model = PPO(env=env, encoder="nature", n_steps=32, batch_size=512, n_epochs=1, seed=0, device="cpu")
    memory = Memory(60 * minutes)
    row = Row("learn", f"PPO, minutes: {minutes:g}")
    try:
        model.learn(10**9, callback=memory)
    finally:
        env.close()
        measured = np.array(memory.measured[len(memory.measured) // 4 :])
        tenth = max(1, len(measured) // 10)
        if len(measured):
            row.tried = len(memory.measured)
            row.growth_mb = float(np.median(measured[-tenth:]) - np.median(measured[:tenth]))
            row.lost = int(row.growth_mb > MOST_GROWTH_MB)
            row.unchanged = row.tried - row.lost
        say(f"learn: {row.tried} rollouts, memory grew by {row.growth_mb:.1f} MB")
        yield [row]
