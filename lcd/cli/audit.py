"""The command ``lcd audit``: what the mean over the games of a benchmark hides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lcd.cli.arguments import number
from lcd.io.console import plain_console
from lcd.io.limits import LARGEST_SEED, MOST_SEEDS


def command(
    scores: Annotated[Path, typer.Argument(help="CSV file: a row a score (method, game, score), or a row a method.")],
    taxonomy: Annotated[
        str | None,
        typer.Option(help="Groups of games: a CSV file with the column game, or what lcd taxonomy reads or wrote."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Method that the others are to improve; by default all pairs are compared.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Only rows with this value, or, by !=, without it; may be repeated."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="train or test; by default the one with more methods.")] = None,
    constants: Annotated[
        Path | None, typer.Option(help="CSV file with game, random and best: returns that count as 0 and 1.")
    ] = None,
    seeds: Annotated[int | None, number(1, MOST_SEEDS, "Seeds behind each mean, if the table does not say.")] = None,
    error_rate: Annotated[float, typer.Option(help="False-discovery rate of losses and leads.")] = 0.05,
    agreement: Annotated[
        float, typer.Option(help="Rank correlation that a smaller set of games must reach on methods left out.")
    ] = 0.9,
    seed: Annotated[int, number(0, LARGEST_SEED, "Seed of divisions and draws.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for tables, figure and page.")] = Path("audit"),
) -> None:
    """Audit a benchmark: what the mean over its games hides.

    Finds losses in classes of games behind a positive mean gain, games that decide a ranking, the choices that change
    it, the smallest set of games that ranks methods as all do, and how much of the gains is noise between publications.
    """
    from lcd.studies.audit.audit import audit

    found = audit(
        scores,
        taxonomy,
        baseline=baseline,
        where=where,
        split=split,
        constants=constants,
        seeds=seeds,
        error_rate=error_rate,
        agreement=agreement,
        seed=seed,
        out=out,
    )
    console, topic = plain_console(), ""
    for claim in found.claims:
        if claim.topic != topic:
            topic = claim.topic
            console.print(f"\n{topic}", style="bold", highlight=False)
        console.print(f"- {claim.text} ({claim.table}.csv)", highlight=False, soft_wrap=True)
    console.print(f"\nTables, figure and report.html are in {out}.", highlight=False, soft_wrap=True)
