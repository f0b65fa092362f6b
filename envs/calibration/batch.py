"""A batch of calibration games, observed in one or two views."""

from __future__ import annotations

import json
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from lcd.envs.batch import Observation, Step, checked_actions, checked_num_envs, one_of
from lcd.envs.calibration.courier import Courier
from lcd.envs.calibration.courier_drawing import CourierDrawing
from lcd.envs.calibration.options import CourierOptions, TrackerOptions
from lcd.envs.calibration.tracker import EPISODE, Tracker
from lcd.envs.calibration.tracker_drawing import TrackerDrawing
from lcd.envs.views import both_spaces

ACTIONS = ("stay", "up", "down", "left", "right")
ACTION_SPACE = spaces.Discrete(len(ACTIONS))
FRAME_SHAPE = (64, 64)
NUM_LABELS = 65
"""As in Procgen, so that a policy takes the label maps of either; a game uses a few of them."""
CalibrationOptions = CourierOptions | TrackerOptions

_DRAWN = -1
"""In the place of a chosen level: the game draws one."""


def observation_space(view: str) -> spaces.Space:
    """Space of one game's observation in a view: see `lcd.envs.views.both_spaces`."""
    return both_spaces(view, FRAME_SHAPE, NUM_LABELS)


class _Games(Protocol):
    """The rules of a batch of games, without rendering."""

    levels: NDArray[np.int64]
    terminates: bool

    def begin(self, games: NDArray[np.int64], levels: NDArray[np.int64]) -> None: ...

    def step(self, actions: NDArray[np.integer]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]: ...


class _Drawing(Protocol):
    """Rendering of some of the games."""

    def frames(self, rules: Any, games: NDArray[np.int64]) -> NDArray[np.uint8]: ...

    def labels(self, rules: Any, games: NDArray[np.int64]) -> NDArray[np.uint8]: ...

    def both(self, rules: Any, games: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]: ...


def _lay_out(options: CalibrationOptions, levels: NDArray[np.int64]) -> tuple[_Games, _Drawing]:
    if isinstance(options, CourierOptions):
        return Courier(options.factors, levels), CourierDrawing(options.factors)
    return Tracker(options.distractors, levels), TrackerDrawing(options)


class CalibrationBatch:
    """A batch of calibration games that step together.

    Parameters
    ----------
    options
        The game, its difficulty and its levels.
    num_envs
        Number of games.
    view
        ``"pixels"``, ``"semantic"`` or ``"both"``.
    seed
        Decides which levels are drawn in which order.
    staggered
        Whether the first episodes, and those after a restart, are shortened evenly, so that they do not all end
        together (Tracker only, whose episodes are equally long).

    Raises
    ------
    ValueError
        If a game is staggered whose episodes end at different times anyway.
    """

    def __init__(
        self,
        options: CalibrationOptions,
        num_envs: int,
        view: str = "pixels",
        seed: int = 0,
        *,
        staggered: bool = False,
    ) -> None:
        self.observation_space = observation_space(view)
        self.view = view
        self.num_envs = checked_num_envs(num_envs)
        self.options = options
        self._everyone = np.arange(num_envs)
        self._generator = np.random.default_rng(seed)
        self._next_levels = np.full(num_envs, _DRAWN)
        self._games, self._drawing = _lay_out(options, self._draw_levels(self._everyone))
        self._staggered = staggered
        self._stagger()

    def _draw_levels(self, games: np.ndarray) -> np.ndarray:
        drawn = self._generator.integers(self.options.levels.start, self.options.levels.stop, len(games))
        chosen = self._next_levels[games]
        return np.where(chosen == _DRAWN, drawn, chosen)

    def set_next_levels(self, games: np.ndarray, levels: np.ndarray) -> None:
        """Choose the level that some games play after their present episode, see `lcd.envs.batch.LevelBatch`."""
        self._next_levels[games] = levels

    @property
    def level_seeds(self) -> np.ndarray:
        """Level that each game is in, shape (num_envs,), int64."""
        return self._games.levels.copy()

    def observe(self) -> Observation:
        """Present observations, as new arrays with the games along the first axis."""
        return self._view_of(self._everyone)

    def _view_of(self, games: np.ndarray) -> Observation:
        if self.view == "semantic":
            return self._drawing.labels(self._games, games)
        if self.view == "pixels":
            return self._drawing.frames(self._games, games)
        frames, labels = self._drawing.both(self._games, games)
        return {"pixels": frames, "semantic": labels}

    def step(self, actions: np.ndarray) -> Step:
        """Advance every game by one action.

        Parameters
        ----------
        actions : numpy.ndarray, shape (num_envs,), whole numbers below 5

        Raises
        ------
        ValueError
            If they are something else.
        """
        actions = checked_actions(actions, self.num_envs, len(ACTIONS))
        previous = self.level_seeds
        rewards, over = self._games.step(actions)
        final_views: dict[int, Observation] = {}
        ended = np.flatnonzero(over)
        if ended.size:
            last = self._view_of(ended)
            final_views = {index: one_of(last, place) for place, index in enumerate(ended.tolist())}
            self._games.begin(ended, self._draw_levels(ended))
        return Step(
            observations=self.observe(),
            rewards=rewards,
            terminated=over & self._games.terminates,
            truncated=over & (not self._games.terminates),
            level_seeds=self.level_seeds,
            previous_level_seeds=previous,
            level_completes=np.zeros_like(over),
            final_observations=final_views,
        )

    def _stagger(self) -> None:
        """Shorten the present episodes, where the games are staggered."""
        if not self._staggered:
            return
        if not isinstance(self._games, Tracker):
            raise ValueError("Only games of Tracker are staggered: episodes of the others differ in length.")
        self._games.let_pass(self._everyone * EPISODE // self.num_envs)

    def restart(self) -> None:
        """End every episode and begin the next."""
        self._games.begin(self._everyone, self._draw_levels(self._everyone))
        self._stagger()

    def snapshot(self) -> dict[str, Any]:
        """Everything that decides how the games go on: arrays by name."""
        games = {name: value.copy() for name, value in vars(self._games).items() if isinstance(value, np.ndarray)}
        generator = json.dumps(self._generator.bit_generator.state)
        return {"games": games, "generator": generator, "next_levels": self._next_levels.copy()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot of a batch of the same options and number of games."""
        for name, value in snapshot["games"].items():
            setattr(self._games, name, np.array(value))
        self._generator.bit_generator.state = json.loads(snapshot["generator"])
        self._next_levels = np.array(snapshot["next_levels"])

    def close(self) -> None:
        """Nothing to free."""
