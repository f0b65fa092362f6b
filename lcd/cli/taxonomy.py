"""The commands ``lcd taxonomy`` and ``lcd report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from lcd.io.console import plain_console

if TYPE_CHECKING:
    from lcd.studies.taxonomy.taxonomy import Placement, Taxonomy

FORMAT = "lcd.taxonomy/1"

RUNS = Annotated[
    str, typer.Argument(help="A folder of diagnoses, as lcd survey writes it, or a survey that comes with the package.")
]


_PLAN: dict[str, Any] = {"format": FORMAT}
"""What is known of a folder that holds a taxonomy: its games may change, as surveys grow."""


def taxonomy(
    runs: RUNS,
    out: Annotated[Path, typer.Option(help="Folder for figures and tables.")] = Path("taxonomy"),
    place: Annotated[
        Path | None,
        typer.Option(help="Folder of a diagnosis: place its game in the taxonomy, and write nothing but --figure."),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="With --place: draw the map with that game into this file.")
    ] = None,
) -> None:
    """Build a taxonomy of games by their demands.

    Turns the diagnoses of a survey into a map of the games, as many classes as the data support, and measures of their
    reliability.
    """
    from lcd.io.files import check_output
    from lcd.studies.figures import check_registered
    from lcd.studies.output import OutputFolder, save_figure
    from lcd.studies.survey.tables import SurveyTables
    from lcd.studies.taxonomy.taxonomy import FIGURES, Taxonomy

    console = plain_console()
    folder = OutputFolder(out)
    if figure is not None:
        if place is None:
            raise ValueError(f"--figure {figure} is for a game that is placed: name its diagnosis with --place.")
        check_output(figure, ".png", ".pdf", ".svg")
        check_registered(FIGURES[0])
    if place is None:
        check_registered(*FIGURES)
        folder.check(_PLAN)
    found = Taxonomy.read(runs)
    if place is not None:
        placement = found.place(SurveyTables.read(place))
        for table in _placement_tables(placement):
            console.print(table)
        if figure is not None:
            save_figure(found.plot(placed=[placement]), figure)
            console.print(f"The map is {figure}.", highlight=False, soft_wrap=True)
        return
    tables = {name: table.round(6) for name, table in found.as_tables().items()}
    drawn = {name: found.plot(name) for name in FIGURES}
    folder.claim(_PLAN)
    folder.write_results(
        tables, {f"{name}{ending}": figure for name, figure in drawn.items() for ending in (".png", ".pdf")}
    )
    console.print(_summary(found))
    console.print(f"Figures and tables are in {out}.", highlight=False, soft_wrap=True)


def report(
    runs: RUNS,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("report.html"),
    title: Annotated[str, typer.Option(help="Of the page.")] = "What makes these games hard",
    pdf: Annotated[bool, typer.Option("--pdf", help="Write the map as PDF, too, with its fonts embedded.")] = False,
) -> None:
    """Write the report of a taxonomy as one self-contained HTML page."""
    from lcd.io.files import check_output
    from lcd.studies.figures import check_registered, registered
    from lcd.studies.output import save_figure
    from lcd.studies.taxonomy.taxonomy import Taxonomy

    check_output(out, ".html", ".htm")
    if pdf:
        check_output(out.with_suffix(".pdf"))
    check_registered("report", *["taxonomy"] * pdf)
    found = Taxonomy.read(runs)
    registered("report")(found, out, title)
    console = plain_console()
    console.print(f"The report is {out}.", highlight=False, soft_wrap=True)
    if pdf:
        save_figure(found.plot(), out.with_suffix(".pdf"))
        console.print(f"The map is {out.with_suffix('.pdf')}.", highlight=False, soft_wrap=True)


def _summary(found: Taxonomy) -> Table:
    table = Table("game", "class", "P", "L", "J", "verdict", title="Taxonomy")
    for row in found.positions.sort_values(["class", "gap"], ascending=[True, False]).to_dict("records"):
        demands = (f"{row[name]:.2f}" for name in ("perceptual", "policy", "joint"))
        table.add_row(row["game"], row["class"], *demands, row["verdict"])
    return table


def _placement_tables(placement: Placement) -> tuple[Table, Table]:
    nearest = Table("game", "distance", "in standard errors", title=f"Nearest to {placement.game}")
    for row in placement.nearest.head(5).to_dict("records"):
        nearest.add_row(row["game"], f"{row['distance']:.3f}", f"{row['deviations']:.1f}")
    classes = Table("class", "probability", title=f"Classes of {placement.game}")
    for row in placement.classes.to_dict("records"):
        classes.add_row(row["class"], f"{row['probability']:.2f}")
    return nearest, classes
