"""The command ``lcd compare``: what changed from one diagnosis of a game to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lcd.io.console import plain_console

CHECKSUM = 12
"""Characters of a checksum that are printed."""


def command(
    before: Annotated[Path, typer.Argument(help="Folder of a diagnosis.")],
    after: Annotated[Path, typer.Argument(help="Folder of another one of the same game.")],
    out: Annotated[Path | None, typer.Option(help="Output file of the changes by every score: .csv.")] = None,
) -> None:
    """Compare two diagnoses of a game, such as those of two encoders: which demands changed, and by how much.

    Each change has a 95 % interval over seeds. Cells whose runs are the same in both cancel.
    """
    from lcd.measurement.intervals import two_places
    from lcd.studies.comparison import TITLES, compare

    found, console = compare(before, after, out=out), plain_console()
    console.print(f"{found.before.game}, {found.before.budget:,} steps a cell", style="bold", highlight=False)
    console.print(found.scale, highlight=False, markup=False, soft_wrap=True)
    for name, (old, new) in found.differing.items():
        if name == "teacher_checksum":
            old, new = (str(each)[:CHECKSUM] for each in (old, new))
        console.print(f"{name.replace('_', ' ')}: {old} -> {new}", highlight=False, markup=False, soft_wrap=True)
    if found.shared:
        console.print(f"The cells {', '.join(found.shared)} are the same runs.", highlight=False)
    table = Table("quantity", "before", "after", "change [95 % interval]")
    for quantity, title in TITLES.items():
        old, new = (two_places(found.row(quantity)[column]) for column in ("before", "after"))
        table.add_row(title, old, new, str(found.change(quantity)))
    console.print(table, markup=False)
    for sentence in found.claims:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    console.print(f"Verdict: {found.before.verdict.name} -> {found.after.verdict.name}", highlight=False)
    if out is not None:
        console.print(f"The changes are in {out}.", highlight=False, soft_wrap=True)
