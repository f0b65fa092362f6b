"""Random play of a game that is checked: what it showed, and whether two plays are the same."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lcd.envs import GameOptions, make_vec_env
from lcd.envs.external.randomness import stirred
from lcd.envs.family import random_actions
from lcd.envs.views import PIXELS

NUM_ENVS = 4

SHOWN_EVERY = 40
"""Steps between the observations of random play that are compared."""

GROWS_AFTER = 4
"""A quarter of random play, in which libraries are loaded, passes before growing memory counts."""


@dataclass
class Played:
    """What random play of some games showed.

    Attributes
    ----------
    views
        Some observations by view, after how many steps they were shown.
    rewards, ended, levels, steps : numpy.ndarray, shape (steps, games)
        Of each step: reward, whether the episode ended, its level, and the number of the step in its episode.
    printed_in
        The first step, or what came before it, in which lines were written to the standard output while it is caught.
    """

    views: dict[int, dict[str, np.ndarray]]
    rewards: np.ndarray
    ended: np.ndarray
    levels: np.ndarray
    steps: np.ndarray
    returns: list[float]
    lengths: list[int]
    steps_per_second: float
    growth_mb: float
    printed_in: str | None = None


def _resident_mb() -> float:
    """Memory that the process has, in MB; where the system does not tell the most that it has had, 0 on Windows."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


@stirred()
def play(options: GameOptions, view: str, steps: int, seconds: float) -> Played:
    """Play `NUM_ENVS` games at random, always with the same seeds and actions.

    Parameters
    ----------
    options
        The game.
    view
        The view that is shown, or both.
    steps, seconds
        Steps of each game, fewer where they take longer than so many seconds.
    """
    silent = _written()
    env, rng = make_vec_env(options, NUM_ENVS, view, seed=0), np.random.default_rng(0)
    printed_in = None if _written() == silent else "its construction"
    views, returns, lengths, resident = {}, [], [], []
    rewards: list[np.ndarray] = []
    ends, levels, numbers = [], [], []
    running, since = np.zeros(NUM_ENVS), np.zeros(NUM_ENVS, np.int64)
    try:
        views[0] = _by_view(env.reset(), view)
        if printed_in is None and _written() != silent:
            printed_in = "its first reset"
        began = time.perf_counter()
        while len(rewards) < steps and time.perf_counter() - began < seconds:
            observed, paid, ended, infos = env.step(random_actions(options, rng, NUM_ENVS))
            running += paid
            since += 1
            rewards.append(paid)
            ends.append(ended)
            levels.append([info.get("prev_level_seed", -1) for info in infos])
            numbers.append(since.copy())
            if printed_in is None and _written() != silent:
                printed_in = f"step {since[0]} of level {levels[-1][0]}, or in the same step of the games beside it"
            for index in np.flatnonzero(ended).tolist():
                returns.append(float(running[index]))
                lengths.append(int(since[index]))
            running[ended], since[ended] = 0.0, 0
            if len(rewards) % SHOWN_EVERY == 1:
                views[len(rewards)] = _by_view(observed, view)
            resident.append(_resident_mb())
        rate = len(rewards) * NUM_ENVS / (time.perf_counter() - began)
    finally:
        env.close()
    growth = resident[-1] - resident[len(resident) // GROWS_AFTER]
    rewarded, ended_at, played, numbered = (np.array(each) for each in (rewards, ends, levels, numbers))
    return Played(views, rewarded, ended_at, played, numbered, returns, lengths, rate, growth, printed_in)


def _written() -> int:
    """Bytes that are written to the standard output, where it is a file."""
    return os.fstat(1).st_size


def _by_view(observed: Any, view: str) -> dict[str, np.ndarray]:
    return {name: np.array(each) for name, each in observed.items()} if isinstance(observed, dict) else {view: observed}


def first_difference(one: Played, other: Played) -> str | None:
    """The first thing that differs in two plays of the same seeds and actions, None if nothing does."""
    columns = {"rewards": "rewards", "ended": "ends of episodes", "levels": "levels", "steps": "numbers of steps"}
    differing = np.stack([getattr(one, name) != getattr(other, name) for name in columns], axis=-1)
    places = np.argwhere(differing)  # the earliest step first
    if len(places):
        step, game, column = places[0].tolist()
        name = list(columns)[column]
        first, second = (getattr(each, name)[step, game] for each in (one, other))
        return (
            f"other {columns[name]}, first in step {one.steps[step, game]} of level {one.levels[step, game]} "
            f"({first} and {second})"
        )
    for after, shown in one.views.items():
        for view in (each for each in shown if each in other.views[after]):
            if not np.array_equal(shown[view], other.views[after][view]):
                what = "frames" if view == PIXELS.name else "privileged views"
                return f"other {what}, first seen after {after} steps"
    return None


@contextlib.contextmanager
def stdout_of_games() -> Iterator[Callable[[], str]]:
    """Catch what is written to the standard output, by C code too."""
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        text: list[str] = []
        try:
            with os.fdopen(os.dup(1), "w", buffering=1) as stream, contextlib.redirect_stdout(stream):
                yield lambda: "".join(text)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            text.append(file.read(10_000).decode(errors="replace").strip())
