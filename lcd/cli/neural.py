"""The command ``lcd neural``: how well a network's layers predict recorded responses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lcd.cli.arguments import Device, Trust, names, number
from lcd.io.console import counting, plain_console
from lcd.io.limits import LARGEST_SEED


def command(
    model: Annotated[
        str,
        typer.Argument(
            help="Folder of a run, file of a policy, an encoder such as efficientnet_lite0 or nature@FILE, or "
            "module:Name, a torch module."
        ),
    ],
    responses: Annotated[Path, typer.Argument(help="Recorded responses: a file .npz or .nc.")],
    images: Annotated[
        Path | None, typer.Option(help="Folder of their images, where the file of responses holds none.")
    ] = None,
    stimuli: Annotated[Path | None, typer.Option(help="Of a .nc: CSV table that names the images' files.")] = None,
    region: Annotated[str | None, typer.Option(help="Of a .nc: region whose sites are taken, such as IT.")] = None,
    time: Annotated[
        str | None, typer.Option(metavar="MS,MS", help="Of a .nc: time bins that are averaged, such as 70,170.")
    ] = None,
    layers: Annotated[str, typer.Option(metavar="NAMES", help="Modules of the network; by default its layers.")] = "",
    method: Annotated[str, typer.Option(help="Regression: pls or ridge.")] = "pls",
    components: Annotated[
        str,
        typer.Option(
            metavar="NUMBERS", help="Components of pls, by default 25; of several one is chosen in the training folds."
        ),
    ] = "",
    folds: Annotated[int, number(2, 100, "Folds over images, or over clusters of dependent images.")] = 10,
    shared_weights: Annotated[
        bool, typer.Option("--shared-weights", help="Of maps: one regression for all places, instead of one for each.")
    ] = False,
    over: Annotated[str, typer.Option(help="What intervals resample: images, sites or both.")] = "both",
    seed: Annotated[int, number(0, LARGEST_SEED, "Seed of folds, resamples and random weights.")] = 0,
    out: Annotated[Path, typer.Option(help="Output file of the table.")] = Path("neural.csv"),
    device: Device = "auto",
    trust: Trust = False,
) -> None:
    """Measure how well each layer of a network predicts recorded responses to images.

    Responses of sites held out from the regression, fold by fold, are correlated with its predictions; the score is the
    median over sites. Repetitions give its ceiling, by which the noise-corrected score is divided.
    """
    from lcd.cli.display import limits_text
    from lcd.studies.neural import predict_responses

    with counting() as report:
        found = predict_responses(
            model,
            responses,
            images,
            stimuli=stimuli,
            region=region,
            time=time,
            layers=names(layers),
            method=method,
            components=_numbers(components),
            folds=folds,
            shared_weights=shared_weights,
            over=over,
            seed=seed,
            out=out,
            trust=trust,
            device=device,
            report=report,
        )
    table = found.table
    first = table.iloc[0]
    what = {"both": "images and sites", "images": "images", "sites": "sites"}[first["over"]]
    shown = Table("layer", "shape", "score", "noise-corrected", title=f"{first['method']}, 95 % over {what}")
    for row in table.to_dict("records"):
        estimates = (
            ""
            if row[name] != row[name]
            else f"{row[name]:.3f} {limits_text(row[f'{name}_low'], row[f'{name}_high'], '.3f')}"
            for name in ("score", "corrected")
        )
        shown.add_row(row["layer"], row["shape"], *estimates)
    console = plain_console()
    console.print(shown)
    ceiling = (
        f"ceiling {first['ceiling']:.3f} {limits_text(first['ceiling_low'], first['ceiling_high'], '.3f')}, "
        f"{first['unreliable']} of {first['sites']} sites unreliable"
        if first["ceiling"] == first["ceiling"]
        else f"{first['sites']} sites, no ceiling: it takes repetitions"
    )
    console.print(f"{first['images']} images, {ceiling}. Highest: {found.best}.", highlight=False, soft_wrap=True)
    console.print(f"The table is in {out}.", highlight=False, soft_wrap=True)


def _numbers(text: str) -> tuple[int, ...]:
    """Split numbers at commas.

    Raises
    ------
    typer.BadParameter
        If one is none.
    """
    parts = names(text)
    if wrong := [part for part in parts if not (part.isascii() and part.isdigit() and len(part) < 10)]:
        raise typer.BadParameter(f"{wrong[0][:100]!r} is no number of components: write one or several, as in 5,10,25.")
    return tuple(map(int, parts))
