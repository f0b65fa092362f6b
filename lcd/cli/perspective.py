"""The command ``lcd perspective``: what encoders hold of depth order and of others' lines of sight."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lcd.cli.arguments import Device, Trust, number
from lcd.io.console import counting, plain_console
from lcd.io.limits import FEWEST_SCENES, LARGEST_SEED, MOST_COPIES, MOST_EPOCHS, MOST_SCENES

_SCENES = (FEWEST_SCENES, MOST_SCENES)


def command(
    models: Annotated[
        list[str],
        typer.Argument(help="Folders of runs, files of policies on frames, or names of encoders, such as nature."),
    ],
    train: Annotated[int, number(*_SCENES, "Training scenes of each kind, a multiple of 4.")] = 4000,
    test: Annotated[int, number(*_SCENES, "Test scenes of each kind, a multiple of 4.")] = 2000,
    layer: Annotated[
        str, typer.Option(help="What is probed: backbone, or features, the output of the linear layer after it.")
    ] = "backbone",
    copies: Annotated[int, number(1, MOST_COPIES, "Copies of each architecture with random weights, the control.")] = 3,
    finetune: Annotated[bool, typer.Option("--finetune", help="Fine-tune all weights as well.")] = False,
    epochs: Annotated[int, number(1, MOST_EPOCHS, "Passes of fine-tuning over the training scenes.")] = 10,
    seed: Annotated[int, number(0, LARGEST_SEED - MOST_COPIES, "Seed of scenes, random weights and fits.")] = 0,
    out: Annotated[Path, typer.Option(help="Output file of the table.")] = Path("perspective.csv"),
    figure: Annotated[Path | None, typer.Option(help="Output file of the figure: .png, .pdf or .svg.")] = None,
    device: Device = "auto",
    trust: Trust = False,
) -> None:
    """Probe encoders for depth order and perspective taking in ray-cast scenes.

    Which of two objects is nearer to the observer? Does an object hide the ball from a camera figure? Classifiers on an
    encoder's features answer these in scenes where shortcuts of the picture help (vpt-basic), and in scenes that look
    alike (vpt-strategy). Controls are copies with random weights, the shortcuts themselves, the truth and chance.
    """
    from lcd.cli.display import limits_text
    from lcd.studies.perspective.perspective import perspective

    with counting() as report:
        table = perspective(
            models,
            train=train,
            test=test,
            layer=layer,
            copies=copies,
            finetune=finetune,
            epochs=epochs,
            seed=seed,
            out=out,
            figure=figure,
            trust=trust,
            device=device,
            report=report,
        )
    shown = Table("model", "weights", "readout", "task", "trained on", "accuracy", "95 % interval", "over random")
    for row in table.to_dict("records"):
        gain = "" if row["gain"] != row["gain"] else f"{row['gain']:+.3f}"
        limits = limits_text(row["low"], row["high"], ".3f")
        names = (row[name] for name in ("model", "weights", "readout", "task", "trained_on"))
        shown.add_row(*names, f"{row['accuracy']:.3f}", limits, gain)
    console = plain_console()
    console.print(shown)
    for file in (out, figure):
        if file is not None:
            console.print(f"The {'table' if file == out else 'figure'} is in {file}.", highlight=False, soft_wrap=True)
