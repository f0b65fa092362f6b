"""The effective horizon: how much looking ahead by random play is enough to play well.

After Laidlaw, Russell and Dragan (2023), *Bridging RL theory and practice with the effective horizon*
(arXiv:2304.09853): greedy over random policy (GORP) tries every action in copies of the state, goes on from each by
``m`` random episodes, and takes the action whose mean return is highest. Their effective horizon is ``1 + log_A m``
with the least ``m`` for which it plays optimally in half of the trials, for ``A`` actions and one step of search. It
needs no training, but copies of a game's state.

Here a game is short levels: the first steps of some training levels, and in place of the optimal return the one that
the game's teacher earns in as many steps. Levels in which that is not above a random policy's are left out. The horizon
is that at which at least half of the levels are played as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lcd.agents import Teacher
from lcd.envs import ProcgenOptions, ProcgenVecEnv
from lcd.envs.procgen.actions import action_classes
from lcd.envs.procgen.engine import Engine
from lcd.envs.procgen.simulator import Outcomes, Simulator

ROLLOUTS = (1, 2, 4, 8, 16)
"""Numbers of random episodes after each action that are tried, in this order."""

LEVELS, STEPS = 6, 128
"""Levels of a game, and steps of each."""

AS_GOOD = 0.9
"""Share of the teacher's return, above a random policy's, from which a level counts as played as well."""


class Copies(Protocol):
    """Copies of a game's state in which plans are tried."""

    actions: int

    def restart(self) -> None:
        """Go back to the game's start."""
        ...

    def returns(self, plans: NDArray[np.integer]) -> NDArray[np.float64]:
        """Sum of the rewards of each plan, shape (n, steps), within the present episode."""
        ...

    def step(self, action: int) -> tuple[float, bool]:
        """Go on by an action: the reward, and whether the episode is over."""
        ...


def greedy_return(copies: Copies, rollouts: int, steps: int, generator: np.random.Generator) -> float:
    """Return of greedy over random policy.

    Parameters
    ----------
    copies
        The game, at its start.
    rollouts
        Random episodes after each action.
    steps
        Steps until the game is broken off.
    generator
        Of random actions; equally good ones are drawn from.
    """
    total = 0.0
    for time in range(steps):
        plans = generator.integers(copies.actions, size=(copies.actions, rollouts, steps - time))
        plans[:, :, 0] = np.arange(copies.actions)[:, None]
        returns = copies.returns(plans.reshape(copies.actions * rollouts, -1))
        means = returns.reshape(copies.actions, rollouts).mean(axis=1)
        best = np.flatnonzero(means >= means.max() - 1e-9)
        reward, over = copies.step(int(generator.choice(best)))
        total += reward
        if over:
            break
    return total


def effective_horizon(
    games: Sequence[tuple[Copies, float]],
    steps: int,
    rollouts: Sequence[int] = ROLLOUTS,
    seed: int = 0,
) -> float:
    """The effective horizon of some games.

    Parameters
    ----------
    games
        Each game's copies, and the return that counts as played well.
    steps
        Steps of each.
    rollouts
        Numbers of random episodes that are tried, in rising order.
    seed
        Of random actions.

    Returns
    -------
    float
        ``1 + log_A m``. Where the largest number is not enough, that of twice as many; NaN without games.
    """
    if not games:
        return float("nan")
    actions = games[0][0].actions
    generator = np.random.default_rng(seed)
    for number in rollouts:
        well = 0
        for copies, wanted in games:
            copies.restart()
            well += greedy_return(copies, number, steps, generator) >= wanted
        if 2 * well >= len(games):
            return float(1 + np.log(number) / np.log(actions))
    return float(1 + np.log(2 * rollouts[-1]) / np.log(actions))


class ProcgenCopies:
    """Copies of one level of Procgen, see `Copies`; actions that do the same in a game are one.

    Parameters
    ----------
    options
        The game, of any levels.
    level
        The level.
    simulator
        Of the same game, with a copy for each plan.
    """

    def __init__(self, options: ProcgenOptions, level: int, simulator: Simulator) -> None:
        self._classes = action_classes(options.game)
        self.actions = len(self._classes)
        self._simulator = simulator
        with closing(Engine(replace(options, num_levels=1, start_level=level), 1, seed=0)) as engine:
            self._start = engine.get_state(0)
        self.restart()

    def restart(self) -> None:
        """Go back to the level's start."""
        self._state = self._start

    def returns(self, plans: NDArray[np.integer]) -> NDArray[np.float64]:
        """See `Copies.returns`."""
        return self._tried(plans).rewards.sum(axis=1, dtype=np.float64)

    def step(self, action: int) -> tuple[float, bool]:
        """See `Copies.step`."""
        outcome = self._tried(np.array([[action]]))
        (self._state,) = self._simulator.states(1)
        return float(outcome.rewards.sum()), bool(outcome.ended[0])

    def _tried(self, plans: NDArray[np.integer]) -> Outcomes:
        first = np.array([members[0] for members in self._classes])
        return self._simulator.try_plans(self._state, first[plans])


def teacher_return(options: ProcgenOptions, level: int, teacher: Teacher, steps: int) -> float:
    """What a teacher earns in the first steps of a level, with its most probable actions."""
    with closing(ProcgenVecEnv(replace(options, num_levels=1, start_level=level), 1, "semantic")) as env:
        observations, total = env.reset(), 0.0
        for _ in range(steps):
            with torch.no_grad():
                action = teacher.log_probabilities(torch.as_tensor(observations)).argmax(dim=1).numpy()
            observations, rewards, dones, _ = env.step(action)
            total += float(rewards[0])
            if dones[0]:
                break
    return total


def procgen_horizon(
    options: ProcgenOptions,
    teacher: Teacher,
    levels: int = LEVELS,
    steps: int = STEPS,
    rollouts: Sequence[int] = ROLLOUTS,
    seed: int = 0,
) -> float:
    """The effective horizon of a game of Procgen.

    Parameters
    ----------
    options
        The game and its training levels.
    teacher
        Acts on label maps.
    levels, steps
        Number of levels, the first ones, and steps of each.
    rollouts, seed
        As in `effective_horizon`.

    Returns
    -------
    float
        NaN where the teacher earns no more than random play in any of the levels.
    """
    actions = len(action_classes(options.game))
    generator = np.random.default_rng(seed)
    games: list[tuple[Copies, float]] = []
    with closing(Simulator(options, actions * max(rollouts))) as simulator:
        for level in range(options.start_level, options.start_level + levels):
            copies = ProcgenCopies(options, level, simulator)
            by_chance = float(copies.returns(generator.integers(actions, size=(simulator.num_copies, steps))).mean())
            best = teacher_return(options, level, teacher, steps)
            if best > by_chance + 1e-6:
                games.append((copies, by_chance + AS_GOOD * (best - by_chance)))
        return effective_horizon(games, steps, rollouts, seed)
