"""Procgen environments with twin views: the rendered frame and a perfect segmentation of the same state."""

from lcd.envs.calibration.adaptors import register as _register_calibration
from lcd.envs.gymnasium_envs import ProcgenEnv, ProcgenVectorEnv, register
from lcd.envs.procgen.batch import LockstepError, ProcgenBatch, View
from lcd.envs.procgen.games import GAMES, Game, get_game
from lcd.envs.procgen.options import ProcgenOptions
from lcd.envs.procgen.semantic import NUM_LABELS, LabelReader, class_names, paint
from lcd.envs.vec_env import ProcgenVecEnv

__all__ = [
    "GAMES",
    "NUM_LABELS",
    "Game",
    "LabelReader",
    "LockstepError",
    "ProcgenBatch",
    "ProcgenEnv",
    "ProcgenOptions",
    "ProcgenVecEnv",
    "ProcgenVectorEnv",
    "View",
    "class_names",
    "get_game",
    "paint",
    "register",
]

register()
_register_calibration()
