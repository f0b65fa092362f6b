"""The command ``lcd calibrate``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from lcd.arguments import count, names

PRIMARY_SPLIT = "shapley"


def calibrate(
    dials: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Dials to turn, such as noise,delay; by default all ten.")
    ] = None,
    values: Annotated[str, typer.Option(metavar="NUMBERS", help="Settings of each dial.")] = "0,0.25,0.5,0.75,1",
    steps: Annotated[
        int | None, typer.Option(parser=count, metavar="N", help="Environment steps of each cell, such as 100k.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of each cell.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Visual encoder, such as small or nature.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for figure and tables.")] = Path("calibration"),
    store: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("lcd-runs"),
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; by default what is fastest.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its time here, and leave.")] = False,
) -> None:
    """Hold the instrument against a game whose difficulty is known.

    Turns the dials of the calibration game one at a time and reports how the demands answer: a perceptual dial should
    move the perceptual demand and not the other, a policy dial the reverse. Runs are kept: the same command goes on
    where it stopped.
    """
    from lcd.calibration.response import SPLITS, dissociation, response_table
    from lcd.calibration.sweep import PRESET, Sweep, sweep_scores
    from lcd.display import PlanDisplay, duration, plan_table, steps_text
    from lcd.execution import default_workers, execute
    from lcd.figures import registered
    from lcd.files import replacing
    from lcd.scores import LEVELS, PRIMARY, SCORES
    from lcd.store import Store

    changes: dict[str, Any] = {"steps": steps, "seeds": seeds, "encoder": encoder}
    preset = replace(PRESET, **{name: value for name, value in changes.items() if value is not None})
    turned = Sweep.dials if dials is None else names(dials)
    sweep = Sweep(turned, _numbers(values), preset=preset)
    plan = sweep.plan()
    workers = workers or default_workers("cpu")[0]
    console = Console()
    if dry_run:
        from lcd.timing import expected_seconds, measured_rates

        rates = measured_rates(plan)
        console.print(plan_table(plan, rates))
        seconds = expected_seconds(plan, rates, workers)
        console.print(
            f"{len(plan.runs)} runs, {steps_text(plan.steps)} steps, about {duration(seconds)} in {workers} workers, "
            "besides evaluations."
        )
        return
    claim = out / "sweep.json"
    text = json.dumps(sweep.as_dict(), indent=1) + "\n"
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not claim.is_file())):
        raise ValueError(f"{out} holds something that is no calibration: choose another folder with --out.")
    if claim.is_file() and claim.read_text() != text:
        raise ValueError(f"The folder {out} belongs to another sweep: choose another with --out, or remove it.")
    out.mkdir(parents=True, exist_ok=True)
    with replacing(claim) as path:
        path.write_text(text)
    runs = Store(store)
    with PlanDisplay(plan) as display:
        execute(plan, runs, workers=workers, threads=1, listener=display)

    scores = sweep_scores(sweep, runs)
    families = [(levels, score, split) for levels in LEVELS for score in SCORES for split in SPLITS]
    tables = {
        "scores": scores,
        "responses": _stacked([response_table(scores, *family) for family in families], families),
        "dissociation": _stacked([dissociation(scores, *family) for family in families], families),
    }
    for name, table in tables.items():
        with replacing(out / f"{name}.csv") as path:
            table.round(6).to_csv(path, index=False)
    primary = (*PRIMARY, PRIMARY_SPLIT)
    found = dissociation(scores, *primary)
    figure = registered("calibration")(response_table(scores, *primary), found)
    with replacing(out / "calibration.png") as path:
        figure.savefig(path, dpi=150)
    console.print(_summary(found))
    console.print(f"Figure and tables are in {out}.", highlight=False, soft_wrap=True)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"Settings of a dial are numbers from 0 to 1, such as 0,0.5,1, not {text!r}.") from None


def _stacked(tables: list[pd.DataFrame], families: list[tuple[str, str, str]]) -> pd.DataFrame:
    keys = ("levels", "score", "split")
    pairs = zip(tables, families, strict=True)
    return pd.concat(
        [table.assign(**dict(zip(keys, family, strict=True))) for table, family in pairs], ignore_index=True
    )


def _summary(found: pd.DataFrame) -> Table:
    table = Table("dial", "should move", "Spearman", "moves it by", "moves the other by", "leak", title="Dissociation")
    for row in found.to_dict("records"):
        interval = f"{row['leak']:.0%} [{row['leak_low']:.0%}, {row['leak_high']:.0%}]"
        numbers = (f"{row[name]:.2f}" for name in ("spearman", "movement", "other_movement"))
        table.add_row(row["dial"], row["own"], *numbers, interval)
    return table
