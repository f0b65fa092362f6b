"""What uniformly random actions return in each game of Procgen, beside the published constant for a random policy.

    python scripts/random_returns.py --output docs/random_returns.csv

One row a game and mode: mean return of the first episode of each of 256 games on all levels with its standard error,
the published range, and the score that the mean return is in that range.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lcd.envs import GAMES, ProcgenOptions, make_vec_env
from lcd.envs.family import random_actions
from lcd.io.files import check_output, replacing


def first_returns(options: ProcgenOptions, episodes: int, seed: int) -> NDArray[np.float64]:
    """Return of the first episode of each of so many games, shape (episodes,)."""
    returns, running = np.zeros(episodes), np.ones(episodes, bool)
    random = np.random.default_rng(seed)
    with closing(make_vec_env(options, episodes, "pixels", seed)) as env:
        env.reset()
        while running.any():
            _, rewards, ended, _ = env.step(random_actions(options, random, episodes))
            returns += np.where(running, rewards, 0.0)
            running &= ~ended
    return returns


def main() -> None:
    """Play, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=list(GAMES), help="by default all")
    parser.add_argument("--modes", nargs="+", default=["easy", "hard"])
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.output is not None:
        check_output(options.output, ".csv")
    rows = []
    for mode in options.modes:
        for game in options.games:
            returns = first_returns(ProcgenOptions(game, mode), options.episodes, options.seed)
            mean, error = returns.mean(), returns.std(ddof=1) / np.sqrt(len(returns))
            row = {"game": game, "mode": mode, "episodes": len(returns), "return": mean, "error": error}
            constants = GAMES[game].normalisation(mode)
            assert constants is not None
            lowest, best = constants
            rows.append(row | {"random": lowest, "best": best, "score": (mean - lowest) / (best - lowest)})
            print(f"{game}, {mode}: {mean:.2f} ± {error:.2f}, published {lowest:g}, score {rows[-1]['score']:.3f}")
    if options.output is not None:
        with replacing(options.output) as partial:
            pd.DataFrame(rows).round(4).to_csv(partial, index=False)


if __name__ == "__main__":
    main()
