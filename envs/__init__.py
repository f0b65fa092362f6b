"""Procgen environments with twin views: what a player sees, and a perfect segmentation of the same state."""

from envs import procgen_library as _library  # first: it keeps the old gym's notice from the user's terminal
from envs.batch import LockstepError, ProcgenBatch, View
from envs.calibration.adaptors import register as _register_calibration
from envs.games import GAMES, Game, get_game
from envs.gymnasium_envs import ProcgenEnv, ProcgenVectorEnv, register
from envs.options import ProcgenOptions
from envs.semantic import NUM_LABELS, LabelReader, class_names, paint
from envs.vec_env import ProcgenVecEnv

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

del _library
register()
_register_calibration()
