"""The table of a soak test, and lines that tell how far it has come."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from lcd.io.files import replacing

PARTS = ("kills", "resume", "flips", "learn", "files")
COLUMNS = ["part", "what", "tried", "detected", "unchanged", "lost", "growth_mb"]

console = Console()


@dataclass
class Row:
    """A line of the table, see the module's description."""

    part: str
    what: str
    tried: int = 0
    detected: int = 0
    unchanged: int = 0
    lost: int = 0
    growth_mb: float = float("nan")


def say(text: str) -> None:
    """Tell how far a part has come."""
    console.print(text, highlight=False, soft_wrap=True)


def enter(rows: list[Row], output: Path) -> pd.DataFrame:
    """Put the rows of a part in the place of those that the table has of it."""
    new = pd.DataFrame([asdict(row) for row in rows if row.tried], columns=COLUMNS)
    kept = pd.read_csv(output) if output.exists() else new.iloc[:0]
    together = pd.concat([part for part in (kept[~kept["part"].isin({row.part for row in rows})], new) if len(part)])
    together = together.sort_values("part", key=lambda parts: parts.map(PARTS.index), kind="stable").round(1)
    with replacing(output) as partial:
        together.to_csv(partial, index=False)
    return together


def show(table: pd.DataFrame) -> None:
    """Print the table."""
    printed = Table(*COLUMNS, title="Reliability")
    for row in table.to_dict("records"):
        printed.add_row(*("" if row[name] != row[name] else f"{row[name]}" for name in COLUMNS))
    console.print(printed)
