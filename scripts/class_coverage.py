"""Simulate how often the bootstrap finds classes among games of one class, and of two.

Games are drawn from one normal cloud, or from two of the same size, in the plane of the two demands. Each is measured
with a few seeds a cell, whose noise has a given multiple of the cloud's variance. The tidy result, one row a setting,
is the evidence for the test in `lcd.studies.taxonomy.classes`:

    python scripts/class_coverage.py --output docs/class_coverage.csv

Where the truth is one class, the p-value of two should be uniform over 1/20, 2/20, … 1 (of 19 sets of
games drawn for the test): its mean, ``mean_p``, 0.525, at or below 0.05 (``percent_rejected``) in 5 % of surveys, at or
below 0.5 in half of them. Where the truth is two classes, ``percent_rejected`` is the power.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from lcd.measurement.demands import CONTRASTS
from lcd.studies.taxonomy.classes import SIGNIFICANCE, find_classes
from lcd.studies.taxonomy.positions import Cells

SPREAD = 0.06
"""Standard deviation of each demand within a class."""

GAMES, NOISES, DISTANCES = (8, 16), (0.0, 1.0, 2.0), (0.0, 4.0)
"""Games of a survey; variance of a position's error, as a multiple of the spread's; distance of two classes' middles,
in standard deviations of what is seen of one class."""

SEEDS, BEST = 5, 0.9


def drawn_cells(games: int, noise: float, distance: float, random: np.random.Generator) -> Cells:
    """Scores of games whose demands come from one class or, with a distance, from two."""
    places = 0.3 + SPREAD * random.standard_normal((games, 2))
    places[: games // 2, 0] += distance * SPREAD * np.sqrt(1 + noise)
    perceptual, policy = places.T
    means = np.stack([np.zeros(games), BEST - policy, BEST - perceptual, np.full(games, BEST)], axis=1)
    assert np.allclose(means @ np.array(CONTRASTS["perceptual"].weights), perceptual)
    of_seed = SPREAD * np.sqrt(noise * SEEDS / 2)  # each demand is the difference of two cells' means
    scores = means[..., None] + of_seed * random.standard_normal((games, 4, SEEDS))
    return Cells(tuple(f"game {number}" for number in range(games)), tuple(map(tuple, scores)))


def simulated(games: int, noise: float, distance: float, count: int, nulls: int, seed: int) -> dict[str, object]:
    """One row of the table."""
    random = np.random.default_rng([seed, games, round(100 * noise), round(distance)])
    p_values = []
    for survey in range(count):
        cells = drawn_cells(games, noise, distance, random)
        selection = find_classes(cells, draws=2, refits=2, nulls=nulls, seed=survey).selection
        p_values.append(float(selection.loc[selection["classes"] == 2, "p_value"].iloc[0]))
    return {
        "classes": 1 if distance == 0 else 2,
        "games": games,
        "noise": noise,
        "mean_p": np.mean(p_values),
        "percent_rejected": 100 * np.mean(np.array(p_values) <= SIGNIFICANCE),
        "percent_below_half": 100 * np.mean(np.array(p_values) <= 0.5),
        "surveys": count,
    }


def main() -> None:
    """Run the simulation, print its table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="CSV file to write")
    parser.add_argument("--surveys", type=int, default=50, help="surveys a setting")
    parser.add_argument("--nulls", type=int, default=19, help="sets of games drawn for each test")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation")
    options = parser.parse_args()
    settings = itertools.product(GAMES, NOISES, DISTANCES)
    rows = [simulated(*setting, options.surveys, options.nulls, options.seed) for setting in settings]
    table = pd.DataFrame(rows).sort_values(["classes", "games", "noise"], ignore_index=True)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        table.round({"mean_p": 3, "percent_rejected": 2, "percent_below_half": 2}).to_csv(options.output, index=False)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
