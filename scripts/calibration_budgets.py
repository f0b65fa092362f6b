"""How many difficulty factors a calibration with fewer steps and seeds would have separated.

    python scripts/calibration_budgets.py --output docs/calibration/budgets.csv

Takes the runs of `lcd calibrate` from the store and scores them again: their curves up to each evaluation, and every
choice of fewer seeds. One row a (budget, seeds): the mean number of factors that pass over the choices, of how many,
and the medians over factors and choices of the rank correlation, of the leak and of the relative error of the movement.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pandas as pd

from lcd.experiments.plan import evaluated_steps
from lcd.experiments.store import Store
from lcd.measurement.scores import PRIMARY
from lcd.studies.calibration.calibration import PRIMARY_SPLIT
from lcd.studies.calibration.response import dissociation
from lcd.studies.calibration.sweep import Sweep, sweep_scores

FEWEST_STEPS = 8_000


def smaller_calibrations(sweep: Sweep, store: Store) -> pd.DataFrame:
    """Score a sweep with each smaller budget and number of seeds."""
    rows = []
    for budget in evaluated_steps(sweep.preset):
        if budget < FEWEST_STEPS:
            continue
        scores = sweep_scores(sweep, store, budget)
        for count in range(1, sweep.preset.seeds + 1):
            found = [
                dissociation(scores[scores["seed"].isin(seeds)], *PRIMARY, PRIMARY_SPLIT).assign(choice=number)
                for number, seeds in enumerate(combinations(range(sweep.preset.seeds), count))
            ]
            table = pd.concat(found)
            error = (table["movement_high"] - table["movement"]) / table["movement"].abs()
            rows.append(
                {
                    "budget": budget,
                    "seeds": count,
                    "passing": table.groupby("choice")["passes"].sum().mean(),
                    "dials": len(sweep.factors),
                    "spearman": table["spearman"].median(),
                    "leak": table["leak"].median(),
                    "relative_error": error.median(),
                }
            )
    return pd.DataFrame(rows)


def sweep_of(dials: str, values: str, steps: int, seeds: int) -> Sweep:
    """The sweep of `lcd calibrate` with these options."""
    preset = replace(Sweep.preset, steps=steps, seeds=seeds)
    return Sweep(tuple(dials.split(",")), tuple(float(value) for value in values.split(",")), preset=preset)


def main() -> None:
    """Score all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("lcd-runs"), help="folder of the runs")
    parser.add_argument("--dials", default=",".join(Sweep.factors), help="as of lcd calibrate, as are the next three")
    parser.add_argument("--values", default=",".join(f"{value:g}" for value in Sweep.values))
    parser.add_argument("--steps", type=int, default=Sweep.preset.steps)
    parser.add_argument("--seeds", type=int, default=Sweep.preset.seeds)
    parser.add_argument("--output", type=Path, help="CSV file to write")
    options = parser.parse_args()
    table = smaller_calibrations(
        sweep_of(options.dials, options.values, options.steps, options.seeds), Store(options.store)
    ).round(3)
    print(table.to_string(index=False))
    if options.output:
        table.to_csv(options.output, index=False)


if __name__ == "__main__":
    main()
