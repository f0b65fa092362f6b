"""The command ``lcd harmonize``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lcd.cli.arguments import Device, Seeds, Steps, Teacher, Workers, number
from lcd.cli.console import plain_console
from lcd.io.files import DEFAULT_STORE
from lcd.io.limits import MOST_EPOCHS

if TYPE_CHECKING:
    from lcd.alignment.classifiers import Harmonization


def command(
    what: Annotated[str, typer.Argument(help="A Procgen game, or a folder of ClickMe's files.")],
    weight: Annotated[float, typer.Option(help="Weight of the harmonization loss.")] = 1.0,
    preset: Annotated[
        str | None, typer.Option(help="How much to spend on a game, see lcd diagnose; by default standard.")
    ] = None,
    steps: Steps = None,
    seeds: Seeds = None,
    encoder: Annotated[
        str | None, typer.Option(help="Visual encoder of a game's learners, or the classifier: efficientnet_lite0.")
    ] = None,
    teacher: Teacher = None,
    epochs: Annotated[
        int | None,
        number(1, MOST_EPOCHS, "Epochs over the images of a folder; by default 5."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="The classifier's weights, by default harmonized.safetensors; use it as efficientnet_lite0@FILE."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Output file of the table.")] = Path("harmonization.csv"),
    store: Annotated[
        Path | None, typer.Option(help=f"Folder of a game's runs, which diagnoses share; by default {DEFAULT_STORE}.")
    ] = None,
    workers: Workers = None,
    device: Device = "cpu",
) -> None:
    """Train with the neural harmonizer, and measure its effect.

    For a game: PPO and imitation on pixels, each with and without the harmonizer on privileged maps; the agreement of
    their importance maps with these, and their returns. For a folder of ClickMe: a classifier, harmonized on a training
    split of the images and evaluated on the others.
    """
    from lcd.experiments.execution import resolve_device
    from lcd.io.files import check_output, replacing

    check_output(out)
    device = resolve_device(device)
    if Path(what).is_dir():
        of_game = {"--preset": preset, "--steps": steps, "--seeds": seeds, "--teacher": teacher}
        if given := _given(of_game | {"--store": store, "--workers": workers}):
            raise ValueError(f"{given[0]} is for a game, and {what} is a folder of images: leave it out.")
        weights = check_output(weights or Path("harmonized.safetensors"), ".safetensors")
        if weights == out:
            raise ValueError(f"{out} cannot hold both the table and the weights: name another file with --out.")
        from lcd.alignment.classifiers import Harmonization

        settings = Harmonization(weight, epochs or Harmonization.epochs)
        _classifier(Path(what), settings, encoder or "efficientnet_lite0", out, weights, device)
        return
    if given := _given({"--epochs": epochs, "--weights": weights}):
        raise ValueError(f"{given[0]} is for a folder of images, which {what} is not: leave it out, or check the path.")
    from lcd.cli.display import PlanDisplay, limits_text
    from lcd.experiments.store import Store
    from lcd.studies.harmonization import effect_table, harmonized_plan, measure_harmonization
    from lcd.studies.pipeline import adjusted_preset, plan_diagnosis

    chosen = adjusted_preset(preset or "standard", steps=steps, seeds=seeds, encoder=encoder)
    plan = harmonized_plan(plan_diagnosis(what, chosen, teacher=teacher), weight)
    learners = Store(store or DEFAULT_STORE)
    learners.check(plan.runs)
    with PlanDisplay(plan) as display:
        runs = measure_harmonization(
            plan,
            learners,
            workers=workers,
            threads=1 if device == "cpu" else None,
            device=device,
            listener=display,
        )
    with replacing(out) as partial:
        runs.round(6).to_csv(partial, index=False)
    title = f"{plan.games[0].game}, with and without the harmonizer"
    table = Table("learning", "measure", "without", "with", "change", "95 % interval", title=title)
    for row in effect_table(runs).to_dict("records"):
        numbers = (f"{row[name]:.3f}" for name in ("without", "with", "change"))
        limits = limits_text(row["low"], row["high"], ".3f")
        table.add_row(row["learning"], row["measure"], *numbers, limits)
    console = plain_console()
    console.print(table)
    console.print(f"The table of runs is in {out}.", highlight=False, soft_wrap=True)


def _given(options: Mapping[str, object]) -> list[str]:
    """Names of the options that are given."""
    return [name for name, value in options.items() if value is not None]


def _classifier(folder: Path, settings: Harmonization, encoder: str, out: Path, weights: Path, device: str) -> None:
    from lcd.agents.encoders.weights import load_classifier, save_classifier
    from lcd.alignment.classifiers import harmonize_classifier
    from lcd.alignment.clickme import read_folder
    from lcd.io.files import replacing

    console = plain_console()
    classifier, references = load_classifier(encoder), read_folder(folder)
    table = harmonize_classifier(
        classifier, references, settings, device=device, report=lambda line: console.print(line, highlight=False)
    )
    card = {"images": len(references), "source": references.source} | asdict(settings)
    with replacing(weights) as partial:
        save_classifier(classifier, partial, card)
    with replacing(out) as partial:
        table.round(6).to_csv(partial, index=False)
    console.print(
        f"The table is in {out}. The encoder is in {weights}; use it as {classifier.name}@{weights}.",
        highlight=False,
        soft_wrap=True,
    )
