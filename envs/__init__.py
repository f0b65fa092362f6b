"""Games in two views of the same state, frames and a privileged one: Procgen, calibration games, and anybody's."""

from lcd.envs.calibration.adaptors import register as _register_calibration
from lcd.envs.centring import centred
from lcd.envs.external.game import NumberedActions
from lcd.envs.family import GameFamily, GameOptions, families, family_of, find_game, make_vec_env
from lcd.envs.gymnasium_vec_env import GymnasiumVecEnv, as_vec_env
from lcd.envs.painting import paint
from lcd.envs.procgen.adaptors import ProcgenEnv, ProcgenVecEnv, ProcgenVectorEnv
from lcd.envs.procgen.adaptors import register as _register_procgen
from lcd.envs.procgen.batch import LockstepError, ProcgenBatch
from lcd.envs.procgen.games import GAMES, Game, get_game
from lcd.envs.procgen.options import ProcgenOptions
from lcd.envs.procgen.semantic import NUM_LABELS, LabelReader, class_names
from lcd.envs.views import View, register_view

__all__ = [
    "GAMES",
    "NUM_LABELS",
    "Game",
    "GameFamily",
    "GameOptions",
    "GymnasiumVecEnv",
    "LabelReader",
    "LockstepError",
    "NumberedActions",
    "ProcgenBatch",
    "ProcgenEnv",
    "ProcgenOptions",
    "ProcgenVecEnv",
    "ProcgenVectorEnv",
    "View",
    "as_vec_env",
    "centred",
    "class_names",
    "families",
    "family_of",
    "find_game",
    "get_game",
    "make_vec_env",
    "paint",
    "register_view",
]

_register_procgen()
_register_calibration()
