"""The command ``lcd scaling``: how gaps and demands change with steps, levels, width or frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lcd.cli.arguments import parts
from lcd.io.console import plain_console


def command(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder of diagnoses, as lcd survey writes it, a survey that comes with the package, or with --size "
            "a CSV file."
        ),
    ],
    levels: Annotated[
        str | None, typer.Option(help="Levels of a survey's curves: unseen, the default, or training.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Column of a file with the sizes, such as num_levels.")] = None,
    value: Annotated[str | None, typer.Option(help="Column of a file with the quantity; by default score.")] = None,
    by: Annotated[str, typer.Option(help="Columns of a file whose values are scaled apart, such as game,cell.")] = "",
    out: Annotated[Path | None, typer.Option(help="Output file of the laws: .csv.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Output file of the figure: .png, .pdf or .svg.")] = None,
) -> None:
    """Fit scaling laws, and say how much more would close a gap.

    For a survey, laws describe the gap between each cell and the best return, and the demands, by environment steps.
    The table has the gap at the largest size, at twice and at ten times that by the law, and the multiple at which the
    gap is 0.1 (solved), or for cell a that of the best other cell (helped), with 95 % limits. Each law is also fitted
    to smaller sizes alone and judged by what it predicts at the largest: where it predicts no better than that nothing
    changes, do not trust what it says beyond.
    """
    from lcd.studies.scaling import DEMANDS, extrapolation_summary, judgements, scaling

    found = scaling(source, levels=levels, size=size, value=value, by=parts(by), out=out, figure=figure)
    laws = Table("game", "gap")
    for name in ("form", "last", "twice", "tenfold"):
        laws.add_column(name, no_wrap=True)
    for name in ("solved at", "helped at"):  # the estimate above its limits, where both do not fit into a line
        laws.add_column(name, min_width=len(">1,000]"))
    gaps = found.laws[~found.laws["quantity"].isin(list(DEMANDS))] if size is None else found.laws
    for row in gaps.to_dict("records"):
        numbers = (f"{row[name]:.2f}" for name in ("last", "twice", "tenfold"))
        multiples = (_multiple(row, name) for name in ("solved", "helped"))
        laws.add_row(row["game"], row["quantity"].removeprefix("gap of cell "), row["form"], *numbers, *multiples)
    console = plain_console()
    console.print(laws)
    for sentence in judgements(extrapolation_summary(found.extrapolation)):
        console.print(sentence, highlight=False, soft_wrap=True)
    for what, file in (("laws", out), ("figure", figure)):
        if file is not None:
            console.print(f"The {what} are in {file}.".replace("figure are", "figure is"), highlight=False)


def _multiple(row: Mapping[Any, Any], name: str) -> str:
    """A multiple of the largest size with its limits, such as ``3.0 [1.5, >1,000]``; empty where there is none."""
    from lcd.measurement.scaling import shown_multiple

    if row.get(name, float("nan")) != row.get(name, float("nan")):
        return ""
    shown = [shown_multiple(row[f"{name}{end}"]) for end in ("", "_low", "_high")]
    return shown[0] if len(set(shown)) == 1 else f"{shown[0]} [{shown[1]}, {shown[2]}]"
