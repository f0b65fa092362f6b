"""Count the unseen levels that occur among the training levels of each game of Procgen, but for how they look.

    python scripts/shared_levels.py --output docs/shared_levels.csv

Two levels are the same where grid, and types and places of all objects, are equal at their beginning
(`lcd.envs.procgen.levels`). A table of training and unseen levels by seed counts such a level as unseen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from lcd.envs import GAMES, ProcgenOptions
from lcd.envs.procgen.levels import shared_levels
from lcd.io.files import check_output, replacing


def main() -> None:
    """Count, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=list(GAMES), help="by default all")
    parser.add_argument("--modes", nargs="+", default=["easy", "hard"])
    parser.add_argument("--levels", type=int, nargs="+", default=[200, 500], help="training levels, for each mode")
    parser.add_argument("--unseen", type=int, default=1000, help="unseen levels to draw")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.output is not None:
        check_output(options.output, ".csv")
    rows = []
    for mode, levels in zip(options.modes, options.levels, strict=True):
        for game in options.games:
            found = shared_levels(ProcgenOptions(game, mode, num_levels=levels), options.unseen)
            rows.append({"game": game, "mode": mode, **found._asdict(), "share": found.shared / found.drawn})
            print(
                f"{game}, {mode}: {found.shared} of {found.drawn}, {found.layouts} layouts of {found.training} levels"
            )
    if options.output is not None:
        with replacing(options.output) as partial:
            pd.DataFrame(rows).to_csv(partial, index=False)


if __name__ == "__main__":
    main()
