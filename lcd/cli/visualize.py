"""The command ``lcd visualize``: images that excite units, channels, logits or the value of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lcd.cli.arguments import Device, Trust, number, parts
from lcd.io.console import counting, plain_console
from lcd.io.limits import LARGEST_SEED, LARGEST_SIDE, MOST_CROPS, MOST_IMAGES, MOST_STEPS_OF_IMAGE


def command(
    model: Annotated[
        str,
        typer.Argument(
            help="Folder of a run, file of a policy on frames or of a pretrained encoder, efficientnet_lite0, or "
            "efficientnet_lite0@FILE."
        ),
    ],
    target: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Targets: LAYER:CHANNEL, LAYER:CHANNEL@ROWxCOLUMN, LAYER:FILE.npz (a direction), logit:ACTION, value, "
            "or LAYER for all of its channels; by default the logits and the value of a policy.",
        ),
    ] = "",
    magnitude: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="Images whose magnitude spectrum is kept: frames (of the game), a folder, or natural (the 1/f law); "
            "by default frames where a game is known, and else natural.",
        ),
    ] = "",
    space: Annotated[str, typer.Option(help="What is optimised: phase, fourier or pixels.")] = "phase",
    size: Annotated[int | None, number(8, LARGEST_SIDE, "Side of a classifier's images; by default 128.")] = None,
    steps: Annotated[int, number(1, MOST_STEPS_OF_IMAGE, "Steps of gradient ascent.")] = 256,
    crops: Annotated[int, number(1, MOST_CROPS, "Random crops in each step.")] = 8,
    crop: Annotated[float, typer.Option(help="Smallest side of a crop, as a share; 1 leaves the image whole.")] = 0.8,
    noise: Annotated[float, typer.Option(help="Standard deviation of the noise, with images from 0 to 1.")] = 0.08,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate; by default the space's.")] = None,
    count: Annotated[int, number(2, MOST_IMAGES, "Largest number of real images.")] = 512,
    others: Annotated[
        str,
        typer.Option(metavar="MODELS", help="Networks in which the images are evaluated, too, such as other seeds."),
    ] = "",
    seed: Annotated[int, number(0, LARGEST_SEED, "Seed of images and frames.")] = 0,
    out: Annotated[Path, typer.Option(help="Output folder of images, figure and table.")] = Path("visualisations"),
    device: Device = "auto",
    trust: Trust = False,
) -> None:
    """Make images that excite a network's units, channels, logits or value, by optimising their phase (MACO).

    The images keep the magnitude spectrum of real ones. They are compared with real images: how far they excite the
    target, in this network and in others, and how far they are from real images to a classifier.
    """
    from lcd.studies.visualising import visualize

    with counting() as report:
        found = visualize(
            model,
            parts(target),
            magnitude=magnitude,
            space=space,
            size=size,
            steps=steps,
            crops=crops,
            crop=crop,
            noise=noise,
            learning_rate=learning_rate,
            count=count,
            others=parts(others),
            seed=seed,
            out=out,
            trust=trust,
            device=device,
            report=report,
        )
    shown = Table("target", "network", "excitation", "above", "distance", title=f"magnitude of {found.magnitude}")
    for row in found.table.to_dict("records"):
        if row["matched"] != row["matched"] or row["matched"] is None:
            matched = " (none like it)"
        else:
            matched = "" if row["matched"] == row["target"] else f" ({row['matched']})"
        far, above, distance = (
            "" if row[name] != row[name] else format(row[name], form)
            for name, form in (("deviations", "+.1f"), ("exceeds", ".0%"), ("distance", ".2f"))
        )
        shown.add_row(row["target"], row["network"] + matched, far, above, distance)
    console = plain_console()
    console.print(shown)
    console.print(
        "excitation: beyond the mean of real images, in their standard deviations; above: share of real images that "
        "excite the target less; distance: from real images to a classifier, 1 for a real one.",
        highlight=False,
    )
    if found.left_out:
        console.print(found.left_out, highlight=False)
    console.print(f"Images, figure and table are in {out}.", highlight=False, soft_wrap=True)
