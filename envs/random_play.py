"""What a random policy returns in a game."""

from __future__ import annotations

from functools import cache

import numpy as np

from lcd.envs.external.game import GameFault
from lcd.envs.family import GameOptions, make_vec_env, random_actions
from lcd.io.watching import WATCH

NUM_ENVS, EPISODES_PER_ENV, MOST_STEPS = 16, 4, 27_000
PROCESSES = 2
EPISODES = NUM_ENVS * EPISODES_PER_ENV
"""Number of episodes that a random policy plays."""


@cache
def random_return(options: GameOptions) -> float:
    """Mean return of a uniformly random policy over 64 episodes, which the options alone decide.

    Raises
    ------
    ValueError
        If an episode does not end within 27,000 steps.
    lcd.envs.external.game.GameFault
        If the game fails, hangs or ends its process.
    """
    with WATCH.raising(GameFault):
        return _played(options)


def _played(options: GameOptions) -> float:
    """The same, in processes of their own for games of other packages."""
    env, rng = make_vec_env(options, NUM_ENVS, "pixels", num_threads=PROCESSES), np.random.default_rng(0)
    running, steps = np.zeros(NUM_ENVS), np.zeros(NUM_ENVS, np.int64)
    finished: list[list[float]] = [[] for _ in range(NUM_ENVS)]
    try:
        env.reset()
        while min(map(len, finished)) < EPISODES_PER_ENV:
            _, rewards, ended, _ = env.step(random_actions(options, rng, NUM_ENVS))
            running += rewards
            steps += 1
            if steps.max() > MOST_STEPS:
                raise ValueError(
                    f"An episode of {options.game} under random actions does not end within {MOST_STEPS:,} steps: "
                    "limit it with max_episode_steps."
                )
            for index in np.flatnonzero(ended).tolist():
                finished[index].append(float(running[index]))
            running[ended], steps[ended] = 0.0, 0
    finally:
        env.close()
    return float(np.mean([returns[:EPISODES_PER_ENV] for returns in finished]))
