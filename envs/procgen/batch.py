"""A batch of Procgen games in one or two views, which distinguishes termination from truncation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium import spaces

from lcd.envs.batch import Observation, Step, checked_actions, checked_num_envs, one_of
from lcd.envs.procgen.engine import FORCE_RESET, Engine
from lcd.envs.procgen.games import ACTION_KEYS
from lcd.envs.procgen.options import ProcgenOptions
from lcd.envs.procgen.saved_state import SavedState
from lcd.envs.procgen.semantic import NUM_LABELS
from lcd.envs.procgen.twin import SemanticEngine
from lcd.envs.views import both_spaces

FRAME_SHAPE = (64, 64)

TOLERATED_DIVERGENCES = 1e-3
"""Limit of the share of steps in which frame and label map of a game may diverge."""

_TOLERATED_AT_FIRST = 10  # divergences, before a share is meaningful


class LockstepError(RuntimeError):
    """Frames and label maps of a game diverge so often that labels would be wrong."""


def observation_space(view: str) -> spaces.Space:
    """Space of one game's observation in a view: see `lcd.envs.views.both_spaces`."""
    return both_spaces(view, FRAME_SHAPE, NUM_LABELS)


class ProcgenBatch:
    """A batch of Procgen games that step together.

    For ``view="both"`` each game runs twice, rendered as frames and as label maps, with the same levels and actions. At
    every step the two must agree in rewards, episode ends and levels, and for one game in turn in the whole state.
    Where they diverge, the game of the label map is set to the state of the other, and the divergence is counted.

    Parameters
    ----------
    options
        The game, its levels and its appearance.
    num_envs
        Number of games.
    view
        ``"pixels"``, ``"semantic"`` or ``"both"``.
    seed
        Seed of the sequence of levels.
    num_threads
        Threads that step the games of each view; 0 steps them in the calling thread.

    Attributes
    ----------
    divergences : int
        How often frame and label map of a game diverged and were synchronised again.

    Raises
    ------
    ValueError
        If there are no games, or the threads are no number of threads.
    """

    def __init__(
        self, options: ProcgenOptions, num_envs: int, view: str = "pixels", seed: int = 0, num_threads: int = 0
    ) -> None:
        self.observation_space = observation_space(view)
        self.view = view
        self.num_envs = checked_num_envs(num_envs)
        if not isinstance(num_threads, int) or num_threads < 0:
            raise ValueError(f"num_threads is a whole number, at least 0, not {num_threads!r}.")
        self.options = options
        self._num_threads = num_threads
        self._drawings: list[type[Engine]] = []
        if view != "semantic":
            self._drawings.append(Engine)
        if view != "pixels":
            self._drawings.append(SemanticEngine)
        self._engines = [drawing(options, num_envs, seed, num_threads) for drawing in self._drawings]
        self._timeout = self._read_timeout()
        self._elapsed = np.zeros(num_envs, np.int64)
        self._given_up = np.zeros(num_envs, bool)
        self._previews: list[Engine] | None = None
        self.divergences = 0
        self._steps = 0
        self._keep_in_step()

    def observe(self) -> Observation:
        """Present observations, as new arrays with the games along the first axis."""
        return self._view_of(self._engines)

    @property
    def level_seeds(self) -> np.ndarray:
        """Level that each game is in, shape (num_envs,), int32."""
        return self._engines[0].level_seeds.copy()

    def saved_state(self, index: int) -> bytes:
        """Complete state of one game, as Procgen saves it.

        Raises
        ------
        IndexError
            If there is no such game.
        """
        if not 0 <= index < self.num_envs:
            raise IndexError(f"There is no game {index}: the {self.num_envs} of this batch count from 0.")
        return self._engines[0].get_state(index)

    def _view_of(self, engines: list[Engine]) -> Observation:
        views = [engine.labels() if isinstance(engine, SemanticEngine) else engine.frames.copy() for engine in engines]
        return {"pixels": views[0], "semantic": views[1]} if self.view == "both" else views[0]

    def _advance(self, engines: list[Engine], actions: np.ndarray) -> None:
        for engine in engines:
            engine.act(actions)
        for engine in engines:
            engine.observe()

    def _keep_in_step(self) -> None:
        """Synchronise frame and label map of each game where they have diverged.

        Raises
        ------
        LockstepError
            If that happens too often.
        """
        if self.view != "both":
            return
        first, twin = self._engines
        assert isinstance(twin, SemanticEngine)
        diverged = np.zeros(self.num_envs, bool)
        for name in ("rewards", "firsts", "level_seeds"):
            diverged |= getattr(first, name) != getattr(twin, name)
        compared = self._steps % self.num_envs
        diverged[compared] = diverged[compared] or not twin.shows(compared, first)
        self._steps += 1
        for index in np.flatnonzero(diverged).tolist():
            twin.follow(index, first)
        self.divergences += int(diverged.sum())
        if self.divergences > _TOLERATED_AT_FIRST + TOLERATED_DIVERGENCES * self._steps * self.num_envs:
            raise LockstepError(
                f"Frames and label maps of {self.options.game} diverged {self.divergences} times in {self._steps} "
                f"steps of {self.num_envs} games, so labels are unreliable: please report this, and use pixels alone."
            )

    def _read_timeout(self) -> int:
        if not self.options.use_generated_assets:
            return SavedState(self._engines[0].get_state(0)).timeout
        spare = Engine(replace(self.options, use_generated_assets=False), 1, seed=0)
        timeout = SavedState(spare.get_state(0)).timeout
        spare.close()
        return timeout

    def _final_views(self, indices: np.ndarray, actions: np.ndarray) -> dict[int, Observation]:
        """Final observations of episodes that the coming step truncates.

        Procgen overwrites this frame with the first one of the next level, so the step is simulated in a spare game
        without time limit.
        """
        views: dict[int, Observation] = {}
        for index in indices.tolist():
            if self._previews is None:
                self._previews = [drawing(self.options, 1, 0) for drawing in self._drawings]
            for engine, preview in zip(self._engines, self._previews, strict=True):
                preview.look_at(0, engine, index)
            self._advance(self._previews, actions[index : index + 1])
            if not self._previews[0].firsts[0]:
                views[index] = one_of(self._view_of(self._previews), 0)
        return views

    def step(self, actions: np.ndarray) -> Step:
        """Advance every game by one action.

        Parameters
        ----------
        actions : numpy.ndarray, shape (num_envs,), whole numbers below 15

        Raises
        ------
        ValueError
            If they are something else.
        LockstepError
            If frames and label maps diverge too often.
        """
        actions = np.where(self._given_up, FORCE_RESET, checked_actions(actions, self.num_envs, len(ACTION_KEYS)))
        self._given_up[:] = False
        cut_off = self._elapsed == self._timeout - 1
        final_views: dict[int, Observation] = {}
        if not self.options.use_generated_assets:  # Procgen cannot save the state of such games
            final_views = self._final_views(np.flatnonzero(cut_off), actions)
            cut_off[:] = False
            cut_off[list(final_views)] = True
        self._advance(self._engines, actions)
        self._keep_in_step()
        engine = self._engines[0]
        ended = engine.firsts.copy()
        truncated = cut_off & ended
        self._elapsed += 1
        self._elapsed[ended | engine.level_completes] = 0
        return Step(
            observations=self.observe(),
            rewards=engine.rewards.copy(),
            terminated=ended & ~truncated,
            truncated=truncated,
            level_seeds=engine.level_seeds.copy(),
            previous_level_seeds=engine.previous_level_seeds.copy(),
            level_completes=engine.level_completes.copy(),
            final_observations=final_views,
        )

    def set_next_levels(self, games: np.ndarray, levels: np.ndarray) -> None:
        """Choose the level that some games play after their present episode, see `lcd.envs.batch.LevelBatch`.

        The choice is a part of the games' own states, and so of `snapshot`.
        """
        for index, level in zip(games.tolist(), levels.tolist(), strict=True):
            for engine in self._engines:
                engine.set_next_level(index, level)

    def give_up(self, games: np.ndarray) -> None:
        """End the episodes of some games with the coming step, whatever the action.

        Parameters
        ----------
        games : numpy.ndarray, shape (num_envs,), bool
        """
        self._given_up[:] = games

    def restart(self) -> None:
        """End every episode and begin the next."""
        self._advance(self._engines, np.full(self.num_envs, FORCE_RESET, np.int32))
        self._keep_in_step()
        self._elapsed[:] = 0
        self._given_up[:] = False

    def snapshot(self) -> dict[str, Any]:
        """Everything that decides how the games go on: arrays and numbers by name.

        Raises
        ------
        ValueError
            If the games are of generated assets, whose states Procgen cannot save.
        """
        if self.options.use_generated_assets:
            raise ValueError("Procgen cannot save the state of games with use_generated_assets=True: leave them off.")
        return self._snapshot(np.arange(self.num_envs))

    def _snapshot(self, games: np.ndarray) -> dict[str, Any]:
        return {
            "engines": [engine.snapshot(games) for engine in self._engines],
            "elapsed": self._elapsed[games],
            "given_up": self._given_up[games],
            "divergences": self.divergences,
            "steps": self._steps,
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot of a batch of the same options, number of games and view."""
        for engine, saved in zip(self._engines, snapshot["engines"], strict=True):
            engine.restore(saved)
        self._elapsed, self._given_up = np.array(snapshot["elapsed"]), np.array(snapshot["given_up"])
        self.divergences, self._steps = int(snapshot["divergences"]), int(snapshot["steps"])

    def part(self, games: np.ndarray) -> ProcgenBatch | None:
        """Some of the games alone, see `lcd.envs.batch.PartedBatch`; this batch stays as it is."""
        if self.options.use_generated_assets:
            return None
        alone = ProcgenBatch(self.options, len(games), self.view, num_threads=self._num_threads)
        alone.restore(self._snapshot(games))
        return alone

    def close(self) -> None:
        """Free the games."""
        for engine in (*self._engines, *(self._previews or ())):
            engine.close()


ACTION_SPACE = spaces.Discrete(len(ACTION_KEYS))
