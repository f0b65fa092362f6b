"""The command ``lcd align``: alignment of a network's importance maps with a reference, and its robustness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lcd.cli.arguments import Device, Trust, names, number
from lcd.io.console import counting, plain_console
from lcd.io.limits import LARGEST_SEED, MOST_IMAGES

PRIVILEGED = "privileged"


def command(
    model: Annotated[
        str,
        typer.Argument(
            help="Folder of a run, file of a policy on frames, efficientnet_lite0, or efficientnet_lite0@FILE."
        ),
    ],
    maps: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="privileged: frames of the policy's game; IMAGES,MAPS: two folders; or a folder of ClickMe's files.",
        ),
    ] = PRIVILEGED,
    source: Annotated[str | None, typer.Option(help="Origin of the maps of two folders: human or privileged.")] = None,
    count: Annotated[int, number(2, MOST_IMAGES, "Largest number of images.")] = 128,
    methods: Annotated[str, typer.Option(metavar="NAMES", help="Attribution methods; by default all.")] = "",
    seed: Annotated[int, number(0, LARGEST_SEED, "Seed of the frames.")] = 0,
    out: Annotated[Path, typer.Option(help="Output file of the table.")] = Path("alignment.csv"),
    device: Device = "auto",
    trust: Trust = False,
) -> None:
    """Measure a network's alignment with reference importance maps, and its robustness.

    A policy is measured on unseen levels of its game, against privileged maps from the game's own state, never human
    ones. For a policy trained by reinforcement learning the value's maps are measured as well; for every policy the
    invariance of its features to the game's appearance.
    """
    from lcd.cli.display import limits_text
    from lcd.studies.aligning import align_network

    with counting() as report:
        found = align_network(
            model,
            maps,
            source=source,
            count=count,
            methods=names(methods),
            seed=seed,
            out=out,
            trust=trust,
            device=device,
            report=report,
        )
    table = found.table
    shown = Table("aspect", "method", "measure", "mean", "95 % interval", title=f"{found.source} maps")
    shares = bool(table["share"].notna().any())
    for heading in (*["of ceiling"] * shares, "undefined"):
        shown.add_column(heading)
    for row in table.to_dict("records"):
        mean, share = ("" if row[name] != row[name] else f"{row[name]:.3f}" for name in ("mean", "share"))
        limits = limits_text(row["low"], row["high"], ".3f")
        counted = f"{row['undefined']} of {row['images']}"
        shown.add_row(row["aspect"], row["method"], row["measure"], mean, limits, *[share] * shares, counted)
    console = plain_console()
    console.print(shown)
    if found.value_left_out:
        console.print("Imitation trains no value: the value's maps are left out.", highlight=False)
    console.print(f"The table is in {out}.", highlight=False, soft_wrap=True)
