"""Procgen's games through Stable-Baselines3 and Gymnasium: ``gymnasium.make("lcd/StarPilot-v0")``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from lcd.envs.gymnasium_envs import GameEnv, GameVectorEnv
from lcd.envs.procgen.batch import ACTION_SPACE, ProcgenBatch, observation_space
from lcd.envs.procgen.games import GAMES
from lcd.envs.procgen.options import ProcgenOptions
from lcd.envs.vec_env import GameVecEnv


class ProcgenVecEnv(GameVecEnv):
    """A batch of Procgen games for Stable-Baselines3, without a Python loop over the games.

    Parameters
    ----------
    options
        The game, its levels and its appearance.
    num_envs
        Number of games.
    view
        ``"pixels"``: RGB frames of shape (64, 64, 3); ``"semantic"``: label maps of shape (64, 64); ``"both"``: a
        dictionary of the two for the same state.
    seed
        Seed of the sequence of levels; `seed()` and the next `reset()` replace it.
    num_threads
        Threads that step the games; 0 steps them in the calling thread.

    Notes
    -----
    Every info holds ``level_seed`` (of the observation), ``prev_level_seed`` and ``prev_level_complete`` (of the step's
    level), ``terminated`` and ``TimeLimit.truncated``. ``terminal_observation`` is there for episodes that were cut off
    for their length; the last frame of one that the game ended is never drawn by Procgen.

    Examples
    --------
    >>> env = ProcgenVecEnv(ProcgenOptions("maze", num_levels=200), num_envs=2, view="both")
    >>> sorted((name, view.shape) for name, view in env.reset().items())
    [('pixels', (2, 64, 64, 3)), ('semantic', (2, 64, 64))]
    """

    def __init__(
        self,
        options: ProcgenOptions,
        num_envs: int = 64,
        view: str = "pixels",
        seed: int = 0,
        num_threads: int = 0,
    ) -> None:
        self.options = options
        self.choosable_levels = options.choosable_levels
        self._num_threads = num_threads
        self._past_divergences = 0
        super().__init__(num_envs, view, observation_space(view), ACTION_SPACE, seed)

    def _lay_out(self, seed: int) -> ProcgenBatch:
        return ProcgenBatch(self.options, self.num_envs, self.view, seed, self._num_threads)

    @property
    def divergences(self) -> int:  # type: ignore[override]
        """How often frame and label map of a game diverged and were synchronised again, since the games began."""
        now = self._batch.divergences if isinstance(self._batch, ProcgenBatch) else 0
        return self._past_divergences + now

    def snapshot(self) -> dict[str, Any]:
        """Everything that decides how the games go on: arrays and numbers by name."""
        return super().snapshot() | {"past_divergences": self._past_divergences}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on, without a reset, from a snapshot of an environment that was made alike."""
        super().restore(snapshot)
        self._past_divergences = int(snapshot["past_divergences"])

    def close(self) -> None:
        """Free the games."""
        self._past_divergences = self.divergences
        super().close()

    def saved_state(self, index: int) -> bytes:
        """Complete state of one game, as Procgen saves it; see `lcd.envs.procgen.saved_state`."""
        if self._batch is None:
            raise RuntimeError("Call reset() before saved_state().")
        assert isinstance(self._batch, ProcgenBatch)
        return self._batch.saved_state(index)

    def give_up(self, games: np.ndarray) -> None:
        """End the episodes of some games, shape (num_envs,), bool, with the coming step, whatever the action."""
        if self._batch is None:
            raise RuntimeError("Call reset() before give_up().")
        assert isinstance(self._batch, ProcgenBatch)
        self._batch.give_up(games)


class ProcgenEnv(GameEnv):
    """One Procgen game.

    Parameters
    ----------
    game
        Name of the game.
    view
        ``"pixels"``, ``"semantic"`` or ``"both"``, as in `lcd.envs.ProcgenVecEnv`.
    render_mode
        ``"rgb_array"`` or None.
    **options
        Further fields of `lcd.envs.ProcgenOptions`, such as ``num_levels`` and ``distribution_mode``.

    Notes
    -----
    The observation that ends an episode is the true last one when the episode was truncated. Procgen never draws the
    last frame of an episode that the game ended: there the frame before it is returned, and ``info["final_frame"]`` is
    False.
    """

    def __init__(self, game: str, view: str = "pixels", render_mode: str | None = None, **options: Any) -> None:
        self.options = ProcgenOptions(game, **options)
        super().__init__(view, observation_space(view), ACTION_SPACE, render_mode)

    def _lay_out(self, num_envs: int, seed: int) -> ProcgenBatch:
        return ProcgenBatch(self.options, num_envs, self.view, seed)


class ProcgenVectorEnv(GameVectorEnv):
    """A batch of Procgen games that step together; an ended episode gives way to the next in the same step.

    Parameters
    ----------
    game, view, render_mode, **options
        As in `ProcgenEnv`.
    num_envs
        Number of games.
    num_threads
        Threads that step the games; 0 steps them in the calling thread.
    """

    def __init__(
        self,
        game: str,
        num_envs: int = 1,
        view: str = "pixels",
        render_mode: str | None = None,
        num_threads: int = 0,
        **options: Any,
    ) -> None:
        self.options = ProcgenOptions(game, **options)
        self._num_threads = num_threads
        super().__init__(num_envs, view, observation_space(view), ACTION_SPACE, render_mode)

    def _lay_out(self, num_envs: int, seed: int) -> ProcgenBatch:
        return ProcgenBatch(self.options, num_envs, self.view, seed, self._num_threads)


def register() -> None:
    """Register all games with Gymnasium as ``lcd/<Title>-v0``; importing `lcd.envs` does so."""
    for game in GAMES.values():
        gymnasium.register(
            f"lcd/{game.title}-v0",
            entry_point="lcd.envs.procgen.adaptors:ProcgenEnv",
            vector_entry_point="lcd.envs.procgen.adaptors:ProcgenVectorEnv",
            kwargs={"game": game.name},
        )
