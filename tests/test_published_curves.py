"""The table of published curves: its steps are those of all workers, of easy runs one and of hard ones four."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import published_curves
import pytest
from running import run_script

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "published_curves.csv"
WORKERS = {"easy": 1, "hard": 4}


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The script's table of two runs whose return is the number of steps, in thousands, that all workers made."""
    folder = tmp_path_factory.mktemp("clone")
    of_one = 256 * 64 * np.arange(1, 3052)
    for mode, workers in WORKERS.items():
        file = folder / "train_procgen" / "results" / f"{mode}-all-run0" / "progress-maze.csv"
        file.parent.mkdir(parents=True)
        log = pd.DataFrame({"misc/total_timesteps": of_one, "eprewmean": of_one * workers / 1000})
        log.to_csv(file, index=False)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "logs")
    assert run_script(published_curves, folder, "--output", folder / "table.csv") == 0
    return pd.read_csv(folder / "table.csv")


def test_steps_are_those_of_all_workers(made):
    assert made["mean_return"].notna().all()
    assert (made["mean_return"] * 1000 / made["steps"]).between(0.97, 1.03).all()
    longest = made.groupby("mode")["steps"].max()
    assert longest.to_dict() == {"easy": 49_000_000, "hard": 196_000_000}


def test_the_committed_table_counts_four_workers_of_hard_runs():
    """What the logs of hard bigfish call 25M steps, a mean return of 5.560 over three runs, are 100M."""
    table = pd.read_csv(TABLE)
    assert table.groupby("mode")["steps"].max().to_dict() == {"easy": 49_000_000, "hard": 196_000_000}
    hard = table.query("mode == 'hard' and num_levels == '500' and levels == 'training' and game == 'bigfish'")
    returns = hard.set_index("steps")["mean_return"]
    assert returns[100_000_000] == 5.56
    assert returns[25_000_000] < 2
    assert returns.is_monotonic_increasing
