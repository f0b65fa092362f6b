"""Measure how long the privileged state takes to read, in microseconds a game.

    python scripts/saved_state_speed.py --output docs/saved_state_speed.csv

Columns: a step of the game (semantic view), saving the state, parsing it (entities, grid, camera), and, where paths are
known, finding the shortest path to the goal and reading its remaining length.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lcd.envs import GAMES, ProcgenBatch, ProcgenOptions
from lcd.envs.procgen.routes import TERRAINS, Route, position
from lcd.envs.procgen.saved_state import SavedState

NUM_ENVS, REPEATS = 64, 9


def timed(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Median time of some repeats in microseconds a game, and what the last one gave."""
    seconds, result = [], None
    for _ in range(repeats):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)) / NUM_ENVS * 1e6, result


def measure(game: str, repeats: int = REPEATS) -> dict[str, Any]:
    """One row of the table."""
    batch = ProcgenBatch(ProcgenOptions(game), NUM_ENVS, "semantic", seed=0)
    random = np.random.default_rng(0)
    step, _ = timed(lambda: batch.step(random.integers(15, size=NUM_ENVS).astype(np.int32)), repeats)
    save, saved = timed(lambda: [batch.saved_state(index) for index in range(NUM_ENVS)], repeats)
    parse, states = timed(lambda: [SavedState(data) for data in saved], repeats)
    row = {"game": game, "step": step, "save": save, "take_apart": parse}
    if game in TERRAINS:
        row["find_way"], routes = timed(lambda: [Route(game, state) for state in states], repeats)
        pairs = list(zip(routes, states, strict=True))
        row["look_up"], _ = timed(lambda: [route.remaining(*position(state)) for route, state in pairs], repeats)
    row["bytes"] = int(np.mean([len(data) for data in saved]))
    row["entities"] = round(float(np.mean([len(state.entities) for state in states])), 1)
    batch.close()
    return row


def main() -> None:
    """Measure all games and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=GAMES, choices=GAMES, metavar="GAME")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--output", type=Path, help="CSV file to write")
    options = parser.parse_args()
    table = pd.DataFrame([measure(game, options.repeats) for game in options.games]).round(1)
    print(table.to_string(index=False))
    if options.output:
        table.to_csv(options.output, index=False)


if __name__ == "__main__":
    main()
