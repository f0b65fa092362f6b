"""Classes of equivalent actions among Procgen's 15 in each game."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lcd.envs.family import ActionClasses
from lcd.envs.procgen.engine import Engine
from lcd.envs.procgen.games import ACTION_KEYS, get_game
from lcd.envs.procgen.options import ProcgenOptions
from lcd.envs.procgen.saved_state import SavedState

NUM_ACTIONS = len(ACTION_KEYS)

HEADINGS: Mapping[tuple[int, int], int] = MappingProxyType(
    {
        (("RIGHT" in keys) - ("LEFT" in keys), ("UP" in keys) - ("DOWN" in keys)): action
        for action, keys in reversed(list(enumerate(ACTION_KEYS)))
    }
)
"""The action that pushes right and up (1), left and down (-1) or neither (0)."""

_NOTHING_SPECIAL = (9, 10, 11, 12, 13, 14)
_EIGHT_WAYS: ActionClasses = ((0,), (1,), (2,), (3,), (4, *_NOTHING_SPECIAL), (5,), (6,), (7,), (8,))
_EIGHT_WAYS_AND_FIRE: ActionClasses = (*_EIGHT_WAYS[:4], (4, *_NOTHING_SPECIAL[1:]), *_EIGHT_WAYS[5:], (9,))
_FOUR_WAYS: ActionClasses = ((0, 1, 2), (3,), (4, *_NOTHING_SPECIAL), (5,), (6, 7, 8))
_JUMPS: ActionClasses = ((0, 1), (2,), (3, 4, *_NOTHING_SPECIAL), (5,), (6, 7), (8,))
_SIDEWAYS_AND_FIRE: ActionClasses = ((0, 1, 2), (3, 4, 5, *_NOTHING_SPECIAL[1:]), (6, 7, 8), (9,))

_CLASSES: Mapping[str, ActionClasses] = MappingProxyType(
    {
        "bigfish": _EIGHT_WAYS,
        "bossfight": _EIGHT_WAYS_AND_FIRE,
        "caveflyer": _EIGHT_WAYS_AND_FIRE,
        "chaser": _EIGHT_WAYS,
        "climber": _JUMPS,
        "coinrun": _EIGHT_WAYS,
        "dodgeball": _EIGHT_WAYS_AND_FIRE,
        "fruitbot": _SIDEWAYS_AND_FIRE,
        "heist": _EIGHT_WAYS,
        "jumper": _JUMPS,
        "leaper": _FOUR_WAYS,
        "maze": _FOUR_WAYS,
        "miner": _FOUR_WAYS,
        "ninja": ((0, 1), (2,), (3, 4), (5,), (6, 7), (8,), (9, 13, 14), (10,), (11,), (12,)),
        "plunder": _SIDEWAYS_AND_FIRE,
        "starpilot": (*_EIGHT_WAYS[:4], (4,), *_EIGHT_WAYS[5:], (9, 11, 12, 13, 14), (10,)),
    }
)


def action_classes(game: str) -> ActionClasses:
    """Classes of actions that lead to the same successor in every state of a game.

    They were found with `same_successors` and are measured again by the tests.

    Parameters
    ----------
    game
        Name of a Procgen game.

    Returns
    -------
    tuple of tuple of int
        Every action once; the first of a class represents it.

    Raises
    ------
    ValueError
        If the game is unknown.
    """
    return _CLASSES[get_game(game).name]


def same_successors(options: ProcgenOptions, states: Iterable[bytes]) -> NDArray[np.bool_]:
    """Test which actions lead to the same next state from each of the given states.

    Parameters
    ----------
    options
        The game that the states are of.
    states
        What ``Engine.get_state`` gave.

    Returns
    -------
    numpy.ndarray, shape (15, 15), bool
        True at [i, j] where actions i and j are equivalent. Fields that merely record the last action are ignored.
    """
    engine = Engine(options, 1, seed=0)
    same = np.ones((NUM_ACTIONS, NUM_ACTIONS), bool)
    # Only dodgeball throws in the direction of the last move; elsewhere it is recorded and never read.
    with_last_move = options.game == "dodgeball"
    for state in states:
        successors = []
        for action in range(NUM_ACTIONS):
            engine.set_state(0, state)
            engine.act(np.array([action], np.int32))
            engine.observe()
            successor = SavedState(engine.get_state(0))
            successor.forget_action(with_last_move=with_last_move)
            successors.append(successor.to_bytes())
        same &= np.array([[one == other for other in successors] for one in successors])
    engine.close()
    return same
