"""Fuzz test of the readers of untrusted files: each damaged file must be refused in one sentence, or still be valid.

``python scripts/damaged_files.py --count 300`` prints a table. Files of every kind are damaged in every way: flipped
bits, cut off, wrong types, nested deeply, huge numbers declared, or no ordinary file at all. The readers run in this
process, with limits on their time and additional memory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from fuzzing.damages import damage
from fuzzing.kinds import kinds
from fuzzing.reading import outcome


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Damage so many files, and tell what became of them.

    Parameters
    ----------
    count
        Damaged files, over all kinds.
    seed
        Of the damages.

    Returns
    -------
    list of dict
        A row a kind: kind, command, tried, refused (one sentence and exit status 2), accepted (read to the end, for the
        damage changes nothing or leaves a valid file), faults (a traceback, another status, no end, or the memory), and
        examples of faults.
    """
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, _quiet(Path(name)):
        folder = Path(name)
        found = kinds(folder)
        table: list[dict[str, Any]] = [
            {"kind": kind.name, "command": kind.command, "tried": 0, "refused": 0, "accepted": 0, "faults": 0}
            | {"examples": []}
            for kind in found
        ]
        for number, kind in enumerate(found):
            work = folder / f"whole-{number}"
            work.mkdir()
            ended, said = outcome(kind, kind.make(work))
            if ended != "accepted":
                raise RuntimeError(f"A whole file of the kind {kind.name!r} is not read: {said}")
            _remove(work)
        for number in range(count):
            place = number % len(found)
            kind, row = found[place], table[place]
            work = folder / f"case-{number}"
            work.mkdir()
            file = kind.make(work)
            how = damage(file, kind.data, draw)
            ended, said = outcome(kind, file)
            row["tried"] += 1
            row[ended] += 1
            if ended == "faults":
                row["examples"].append(f"{how}: {said}")
            _remove(work)
    return table


@contextlib.contextmanager
def _quiet(folder: Path) -> Iterator[None]:
    """Work in a folder, without measuring this machine where a plan is only to be printed."""
    import torch

    from lcd.experiments.timing import kind_of

    before = Path.cwd()
    os.chdir(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rates = mock.patch(
        "lcd.experiments.timing.measured_rates", lambda runs, *others: {kind_of(run): 1e3 for run in runs}
    )
    try:
        with warnings.catch_warnings(), rates:
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(threads)
        os.chdir(before)


def _remove(folder: Path) -> None:
    for path in folder.rglob("*"):
        if not path.is_dir() or path.is_symlink():
            path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Print the table."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="Damaged files, over all kinds.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = pd.DataFrame(rows(options.count, options.seed))
    print(table.drop(columns="examples").to_string(index=False))
    for row in table.to_dict("records"):
        for example in row["examples"]:
            print(f"\n{row['kind']}: {example}")


if __name__ == "__main__":
    main()
