"""Measure the speed of the calibration games, in steps a second on one core, 64 games at a time.

    OMP_NUM_THREADS=1 python scripts/calibration_speed.py --output docs/calibration_speed.csv

One row a game and view. Every perceptual factor is also tried at 1 alone, and all ten together.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lcd.envs.calibration.batch import ACTIONS, CalibrationBatch, CalibrationOptions
from lcd.envs.calibration.difficulty import PERCEPTUAL, POLICY, DifficultyFactors
from lcd.envs.calibration.options import CourierOptions, TrackerOptions

NUM_ENVS, STEPS, REPEATS = 64, 200, 5
GAMES: dict[str, CalibrationOptions] = {
    "Courier": CourierOptions(),
    **{f"Courier, {factor} 1": CourierOptions(DifficultyFactors(**{factor: 1.0})) for factor in PERCEPTUAL},
    "Courier, all dials 1": CourierOptions(DifficultyFactors(**dict.fromkeys(PERCEPTUAL + POLICY, 1.0))),
    "Tracker": TrackerOptions(),
    "Tracker, 15 distractors": TrackerOptions(distractors=15),
}


VIEWS = ("pixels", "semantic", "both")


def steps_per_second(options: CalibrationOptions, view: Any, steps: int, repeats: int) -> float:
    """The median of some repeats."""
    batch = CalibrationBatch(options, NUM_ENVS, view)
    actions = np.random.default_rng(0).integers(len(ACTIONS), size=(repeats, steps, NUM_ENVS))
    speeds = []
    for repeat in actions:
        started = time.process_time()
        for step in repeat:
            batch.step(step)
        speeds.append(repeat.size / (time.process_time() - started))
    return float(np.median(speeds))


def main() -> None:
    """Measure all games and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="of each game in a repeat")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--output", type=Path, help="CSV file to write")
    options = parser.parse_args()
    rows = [
        {"game": name} | {view: steps_per_second(game, view, options.steps, options.repeats) for view in VIEWS}
        for name, game in GAMES.items()
    ]
    table = pd.DataFrame(rows).round(-2)
    print(table.to_string(index=False))
    if options.output:
        table.to_csv(options.output, index=False, float_format="%.0f")


if __name__ == "__main__":
    main()
