"""Simulate how often an audit finds losses that are there, and losses that are not.

Tables of twelve methods and a baseline in sixteen games of four classes are drawn, with a known gain of every method in
every game and normal noise over seeds. An audit finds hidden losses in them at a false-discovery rate of 5 %. The tidy
result, one row a setting and grouping, is the evidence for the test in `lcd.measurement.hidden_losses`:

    python scripts/audit_error_rates.py --output docs/audit/error_rates.csv

``false_discovery_percent`` is the mean share of the losses found in a table that are none (0 where nothing is found),
to be at most 5; ``found_percent`` is the share of the true losses that are found, among methods whose mean gain in the
table is positive.

Truths: in ``none`` no method gains or loses anything; in ``gains`` all gain 0.2 everywhere; in ``losses`` three of the
twelve lose 0.2 in one class and gain 0.2 elsewhere, and the others gain nothing anywhere. Seeds: those of every method;
``1`` is a single seed of the twelve methods and three of the baseline and of four more methods, whose variance is taken
for theirs. Spread over seeds: 0.1 everywhere, or from 0.03 to 0.3 by game and by method.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from lcd.io.files import replacing
from lcd.measurement.hidden_losses import gain_table
from lcd.measurement.method_scores import SINGLE_GAMES, MethodScores, with_pooled_errors

METHODS, GAMES, CLASSES = 12, 16, 4
TRUTHS, SEEDS, SPREADS = ("none", "gains", "losses"), (1, 2, 3, 5), ("equal", "unequal")
GAIN, LOSS, LOSING = 0.2, -0.2, 3
SPREAD = 0.1
OTHERS = 4
"""Methods with three seeds that lend their variance to those with one."""

NAMES = tuple(f"game {number}" for number in range(GAMES))
GROUPS = {"class": {f"class {number}": list(NAMES[number::CLASSES]) for number in range(CLASSES)}}


def true_gains(truth: str) -> np.ndarray:
    """Gain of each method in each game, shape (METHODS, GAMES)."""
    gains = np.full((METHODS, GAMES), GAIN if truth == "gains" else 0.0)
    if truth == "losses":
        gains[:LOSING] = GAIN
        gains[:LOSING, 0::CLASSES] = LOSS
    return gains


def drawn_table(truth: str, seeds: int, spread: str, random: np.random.Generator) -> MethodScores:
    """Measured scores: the methods, the baseline, and with one seed the others."""
    others = OTHERS if seeds == 1 else 0
    means = np.concatenate([true_gains(truth), np.zeros((1 + others, GAMES))])
    counts = np.full(len(means), seeds)
    if seeds == 1:
        counts[METHODS:] = 3
    deviations = np.full(means.shape, SPREAD)
    if spread == "unequal":
        deviations = np.exp(random.uniform(np.log(0.03), np.log(0.3), GAMES))[None].repeat(len(means), axis=0)
        if seeds > 1:  # a single run's variance can only be that of the others
            deviations = np.exp(random.uniform(np.log(0.03), np.log(0.3), means.shape))
    errors = np.full(means.shape, np.nan)
    for row, count in enumerate(counts):
        runs = means[row] + deviations[row] * random.standard_normal((count, GAMES))
        means[row] = runs.mean(axis=0)
        if count > 1:
            errors[row] = runs.var(axis=0, ddof=1) / count
    freedom = np.where(np.isfinite(errors), counts[:, None] - 1.0, np.nan)
    names = tuple(f"method {number}" for number in range(len(means)))
    scores = MethodScores(names, NAMES, means, errors, freedom)
    return with_pooled_errors(scores, np.broadcast_to(counts[:, None], means.shape).astype(np.float64))


def simulated(truth: str, seeds: int, spread: str, tables: int, seed: int) -> list[dict[str, object]]:
    """Error rates of a setting, a row a grouping."""
    random = np.random.default_rng(seed)
    gains = true_gains(truth)
    pairs = [(method, METHODS) for method in range(METHODS)]
    groups = GROUPS | {SINGLE_GAMES: {name: [name] for name in NAMES}}
    false, found, there = (dict.fromkeys(groups, 0.0) for _ in range(3))
    for _ in range(tables):
        table = gain_table(drawn_table(truth, seeds, spread, random), pairs, GROUPS)
        for grouping, members in groups.items():
            rows = table[table["grouping"] == grouping]
            numbers = [[NAMES.index(game) for game in members[group]] for group in rows["group"]]
            methods = rows["improvement"].str.removeprefix("method ").astype(int)
            truths = np.array([gains[one, many].mean() for one, many in zip(methods, numbers, strict=True)])
            losses = rows["hidden_loss"].to_numpy(bool)
            false[grouping] += (losses & (truths >= 0)).sum() / max(losses.sum(), 1)
            found[grouping] += (losses & (truths < 0)).sum()
            there[grouping] += ((truths < 0) & (rows["mean_gain"] > 0).to_numpy()).sum()
    return [
        {
            "truth": truth,
            "seeds": seeds,
            "spread": spread,
            "grouping": grouping,
            "false_discovery_percent": round(100 * false[grouping] / tables, 2),
            "found_percent": round(100 * found[grouping] / there[grouping], 1) if there[grouping] else np.nan,
            "tables": tables,
        }
        for grouping in groups
    ]


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=400, help="tables drawn in each setting")
    parser.add_argument("--output", type=Path, default=Path("docs/audit/error_rates.csv"))
    options = parser.parse_args()
    rows = []
    for number, setting in enumerate(itertools.product(TRUTHS, SEEDS, SPREADS)):
        rows += simulated(*setting, options.tables, number)
    with replacing(options.output) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False)


if __name__ == "__main__":
    main()
