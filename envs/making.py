"""Construction of a batch of any known game."""

from __future__ import annotations

from lcd.envs.calibration.adaptors import CalibrationVecEnv
from lcd.envs.calibration.batch import CalibrationOptions
from lcd.envs.procgen.batch import View
from lcd.envs.procgen.options import ProcgenOptions
from lcd.envs.vec_env import GameVecEnv, ProcgenVecEnv

GameOptions = ProcgenOptions | CalibrationOptions


def make_vec_env(
    options: GameOptions, num_envs: int = 64, view: View = "pixels", seed: int = 0, num_threads: int = 0
) -> GameVecEnv:
    """A batch of games for Stable-Baselines3.

    Parameters
    ----------
    options
        The game and its levels.
    num_envs, view, seed
        As in `lcd.envs.GameVecEnv`.
    num_threads
        Threads that step Procgen's games; the calibration games need none.
    """
    if isinstance(options, ProcgenOptions):
        return ProcgenVecEnv(options, num_envs, view, seed, num_threads)
    return CalibrationVecEnv(options, num_envs, view, seed)
