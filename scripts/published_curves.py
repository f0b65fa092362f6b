"""Returns of PPO on Procgen as its authors published them, at some points of their curves, as one small table.

    git clone https://github.com/openai/train-procgen
    python scripts/published_curves.py train-procgen --output docs/published_curves.csv

The repository (MIT licence) holds the logs behind the figures of Cobbe et al., 2020 (arXiv:1912.01588): three runs for
each game, mode and set of levels. After every rollout a log has the mean return of the last 100 episodes of each worker
and, as ``misc/total_timesteps``, the steps of one worker. One worker trained on easy levels and four on hard ones (the
repository's ``README.md``, and the scale of its ``graph.py``), 50 M steps each, so that hard runs are 200 M steps long.
``steps`` are those of all workers. A point of the table is the mean of the logs within 2 % of its steps or within one
rollout of them, averaged over the runs, with the lowest and the highest run.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from io import StringIO
from pathlib import Path

import pandas as pd

WORKERS = {"easy": 1, "hard": 4}
"""Training workers of a run; its logs count the steps of one."""

ROLLOUT = 256 * 64
"""Steps of one worker from a log to the next: 256 in each of 64 games."""

STEPS = (1_000_000, 2_000_000, 5_000_000, 10_000_000, 25_000_000, 49_000_000, 100_000_000, 196_000_000)
LENGTH = 50_000_000
"""Steps that each worker made."""

LOG = re.compile(r"train_procgen/results/(easy|hard)-(200|500|all)-run(\d)/progress-([a-z]+?)(-test|-train)?\.csv")
LEVELS = {"-test": "unseen", "-train": "training", None: "training"}


def git(clone: Path, *arguments: str) -> str:
    """What a git command prints; the clone may be bare."""
    done = subprocess.run(["git", "-C", str(clone), *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def logged(clone: Path) -> pd.DataFrame:
    """One row for each log and point."""
    rows = []
    for path in git(clone, "ls-tree", "-r", "--name-only", "HEAD").split():
        if match := LOG.fullmatch(path):
            mode, num_levels, run, game, kind = match.groups()
            log = pd.read_csv(StringIO(git(clone, "show", f"HEAD:{path}")))
            workers = WORKERS[mode]
            made = log["misc/total_timesteps"] * workers
            for steps in (point for point in STEPS if point < LENGTH * workers):
                near = (made - steps).abs() <= max(0.02 * steps, ROLLOUT * workers)
                mean = log.loc[near, "eprewmean"].mean()
                rows.append((mode, num_levels, LEVELS[kind], game, steps, int(run), mean))
    columns = ["mode", "num_levels", "levels", "game", "steps", "run", "mean_return"]
    return pd.DataFrame(rows, columns=columns)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path, help="a clone of openai/train-procgen")
    parser.add_argument("--output", type=Path, default=Path("docs/published_curves.csv"))
    options = parser.parse_args()
    by_run = logged(options.clone)
    table = by_run.groupby(["mode", "num_levels", "levels", "game", "steps"])["mean_return"]
    summary = table.agg(mean_return="mean", lowest="min", highest="max", runs="count").reset_index()
    summary.round(3).to_csv(options.output, index=False)


if __name__ == "__main__":
    main()
