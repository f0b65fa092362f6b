"""Whether the demands of real games move as they should: drawn plainly, and on harder levels.

    lcd survey procgen-easy --games coinrun,ninja,caveflyer,climber
    lcd survey procgen-plain
    lcd survey procgen-hard
    python scripts/procgen_checks.py surveys --output docs/procgen_checks.csv

One row a (game, change, demand): the demand before and after, the difference with its 95 % limits, which way it was
predicted to go, and whether the interval bears that out, refutes it or leaves it open.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from lcd.demands import CONTRASTS
from lcd.intervals import cell_samples, degrees_of_freedom
from lcd.scores import PRIMARY
from lcd.survey.tables import SurveyTables
from lcd.verdict import NEGLIGIBLE

PREDICTIONS = {
    ("plain", "perceptual"): "falls",
    ("plain", "policy"): "stays",
    ("hard", "policy"): "rises",
}


def changes(before: pd.DataFrame, after: pd.DataFrame, change: str) -> pd.DataFrame:
    """Compare the demands of the games that two tables of scores share.

    Label maps are the same however a game is drawn, and so runs that see no frame may be shared between the two: the
    difference is taken cell by cell, and a cell that is the same on both sides adds no error.
    """
    rows = []
    for game in [name for name in before["game"].unique() if name in set(after["game"])]:
        sides = [cell_samples(scores[scores["game"] == game], *PRIMARY)[0] for scores in (before, after)]
        for demand in ("perceptual", "policy"):
            weights = np.array(CONTRASTS[demand].weights)
            means = [float(weights @ [cell.mean() for cell in side]) for side in sides]
            parts, counts = [], []
            for weight, one, other in zip(weights, *sides, strict=True):
                if weight and not np.allclose(one, other, rtol=0, atol=1e-6):  # tables are rounded
                    for cell in (one, other):
                        parts.append(weight**2 * cell.var(ddof=1) / len(cell))
                        counts.append(len(cell))
            variance = sum(parts)
            half = float(stats.t.ppf(0.975, degrees_of_freedom(np.array(parts), counts)) * np.sqrt(variance))
            difference = means[1] - means[0]
            predicted = PREDICTIONS.get((change, demand), "")
            found = _borne_out(predicted, difference - half, difference + half)
            rows.append(
                (game, change, demand, *means, difference, difference - half, difference + half, predicted, found)
            )
    columns = ["game", "change", "demand", "before", "after", "difference", "low", "high", "predicted", "found"]
    return pd.DataFrame(rows, columns=columns)


def _borne_out(predicted: str, low: float, high: float) -> str:
    holds = {"falls": high < 0, "rises": low > 0, "stays": low > -NEGLIGIBLE and high < NEGLIGIBLE}
    fails = {"falls": low > 0, "rises": high < 0, "stays": low > NEGLIGIBLE or high < -NEGLIGIBLE}
    return "" if not predicted else "yes" if holds[predicted] else "no" if fails[predicted] else "open"


def main() -> None:
    """Compare the surveys and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("surveys", type=Path, help="folder of the surveys procgen-easy, -plain and -hard")
    parser.add_argument("--output", type=Path, help="CSV file to write")
    options = parser.parse_args()
    names = ("easy", "plain", "hard")
    base, plain, hard = (SurveyTables.read(options.surveys / f"procgen-{name}").scores for name in names)
    table = pd.concat([changes(base, plain, "plain"), changes(base, hard, "hard")], ignore_index=True)
    print(table.round(3).to_string(index=False))
    if options.output:
        table.round(6).to_csv(options.output, index=False)


if __name__ == "__main__":
    main()
