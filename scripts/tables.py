"""Tables to which several calls of a script add their rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lcd.io.files import replacing


def check_joins(file: Path, column: str, end: float) -> None:
    """Check that the runs of a table end where those that are to join them do.

    Parameters
    ----------
    file
        The table; it need not be there yet.
    column
        Its steps or seconds, the largest of which is the end.
    end
        Where the new runs end.

    Raises
    ------
    SystemExit
        If they do not, to within a tenth.
    """
    if file.exists() and abs((known := float(pd.read_csv(file)[column].max())) - end) > 0.1 * end:
        raise SystemExit(f"{file} has runs of {known:,.0f} {column}, not of {end:,.0f}: name another with --output.")


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
