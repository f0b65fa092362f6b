"""Tables to which several calls of a script add their rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lcd.io.files import replacing


def enter(rows: pd.DataFrame, file: Path, by: Sequence[str]) -> pd.DataFrame:
    """Put rows in the place of those that a table has of the same runs, and return the whole table.

    Parameters
    ----------
    rows
        The rows.
    file
        The table, a CSV file; made if there is none.
    by
        Columns that tell the runs apart.
    """
    together = rows
    if file.exists():
        kept = pd.read_csv(file)
        again = pd.MultiIndex.from_frame(kept[list(by)]).isin(pd.MultiIndex.from_frame(rows[list(by)]))
        together = pd.concat([part for part in (kept[~again], rows) if len(part)], ignore_index=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as unfinished:
        together.to_csv(unfinished, index=False)
    return together
