"""The command ``lcd calibrate``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.table import Table

from lcd.cli.arguments import Device, DryRun, Executor, Seeds, Steps, StoreFolder, Workers, names
from lcd.io.console import plain_console
from lcd.io.files import DEFAULT_STORE


def command(
    dials: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Difficulty factors to vary, such as noise,delay; by default all ten."),
    ] = None,
    values: Annotated[str, typer.Option(metavar="NUMBERS", help="Settings of each factor.")] = "0,0.25,0.5,0.75,1",
    steps: Steps = None,
    seeds: Seeds = None,
    encoder: Annotated[str | None, typer.Option(help="Visual encoder, such as small or nature.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for figure and tables.")] = Path("calibration"),
    store: StoreFolder = DEFAULT_STORE,
    workers: Workers = None,
    device: Device = "auto",
    executor: Executor = "local",
    dry_run: DryRun = False,
) -> None:
    """Validate the demands on a game of known difficulty.

    Varies the difficulty factors of the calibration game one at a time and reports the responses of the demands: a
    perceptual factor should change the perceptual demand and not the other, a policy factor the reverse. Finished runs
    are kept, and the same command resumes from them.
    """
    from lcd.cli.display import estimate_table
    from lcd.experiments.display import PlanDisplay
    from lcd.studies.calibration.calibration import prepare_calibration
    from lcd.studies.calibration.sweep import PRESET, Sweep

    changes: dict[str, Any] = {"steps": steps, "seeds": seeds, "encoder": encoder}
    preset = replace(PRESET, **{name: value for name, value in changes.items() if value is not None})
    sweep = Sweep(Sweep.factors if dials is None else names(dials), _numbers(values), preset=preset)
    prepared = prepare_calibration(sweep, out=out, store=store, workers=workers, device=device, executor=executor)
    console = plain_console()
    if dry_run:
        console.print(*estimate_table(sweep.plan(), prepared.store, prepared.resources), sep="\n")
        return
    found = prepared.run(PlanDisplay)
    console.print(_summary(found.dissociation()))
    console.print(f"Figure and tables are in {out}.", highlight=False, soft_wrap=True)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"Settings of a factor are numbers from 0 to 1, such as 0,0.5,1, not {text!r}.") from None


def _summary(found: pd.DataFrame) -> Table:
    from lcd.cli.display import limits_text

    table = Table("factor", "demand", "Spearman", "moves by", "the other by", "leak", "passes", title="Dissociation")
    for row in found.to_dict("records"):
        numbers = (f"{row[name]:.2f}" for name in ("spearman", "movement", "other_movement"))
        limits = limits_text(row["leak_low"], row["leak_high"], ".0%")
        leak = f"{row['leak']:.0%}" + f" [{limits}]" * bool(limits)
        table.add_row(row["dial"], row["own"], *numbers, leak, "yes" if row["passes"] else "no")
    return table
