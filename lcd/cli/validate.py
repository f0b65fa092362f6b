"""The command ``lcd validate``: whether diagnoses predict what improvements gain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.table import Table

from lcd.cli.arguments import Device, DryRun, Executor, StepLimit, StoreFolder, Threads, TrustPlan, Workers
from lcd.io.console import plain_console
from lcd.io.files import DEFAULT_STORE
from lcd.io.limits import STEP_LIMIT


def command(
    plan: Annotated[Path, typer.Argument(help="The validation's file: a survey's, with improvements and hypotheses.")],
    trust: TrustPlan = False,
    tables: Annotated[
        str | None,
        typer.Option(help="Tables of a survey: diagnoses that they hold are not trained again (lcd survey --tables)."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the tables; by default validations/NAME.")] = None,
    store: StoreFolder = DEFAULT_STORE,
    workers: Workers = None,
    threads: Threads = None,
    device: Device = "auto",
    executor: Executor = "local",
    step_limit: StepLimit = STEP_LIMIT,
    dry_run: DryRun = False,
) -> None:
    """Measure what improvements gain, and whether demands predict it.

    Diagnoses the games of a plan, trains learners with improvements, with seeds that took no part in the diagnoses, and
    correlates over games what was estimated with what was gained. Finished runs are kept, and the same command resumes
    from them.
    """
    from lcd.cli.display import estimate_table, pretraining_sentence
    from lcd.experiments.display import PlanDisplay
    from lcd.studies.validation.validation import prepare_validation

    prepared = prepare_validation(
        plan,
        trust=trust,
        tables=tables,
        out=out,
        store=store,
        workers=workers,
        threads=threads,
        device=device,
        executor=executor,
        step_limit=step_limit,
    )
    console = plain_console()
    if prepared.held:
        console.print(f"{tables} holds the diagnoses of {', '.join(prepared.held)}.", highlight=False, soft_wrap=True)
    if tables is not None and prepared.validation.ladder:
        console.print(
            f"The plan has a ladder, whose runs tables do not hold: {tables} is not used.",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
    if prepared.finished.games:
        finished = ", ".join(prepared.finished.games)
        console.print(f"{prepared.out.path} holds the gains in {finished}.", highlight=False, soft_wrap=True)
    if dry_run:
        console.print(*estimate_table(prepared.plan, prepared.store, prepared.resources), sep="\n")
        console.print(pretraining_sentence(prepared.game_encoders()), soft_wrap=True, end="")
        if unplayed := prepared.unplayed():
            count = f"{len(unplayed)} game{'s' if len(unplayed) > 1 else ''}"
            console.print(f"After that, random play measures the complexity of {count}, some minutes each.")
        return
    found = prepared.run(PlanDisplay, lambda line: console.print(line, highlight=False, soft_wrap=True))
    if not found.hypotheses.empty:
        console.print(hypothesis_rows(found.hypotheses))
    console.print(decision_rows(found.decisions))
    console.print(f"The tables are in {prepared.out.path}.", highlight=False, soft_wrap=True)


def hypothesis_rows(hypotheses: pd.DataFrame) -> Table:
    """The hypotheses with what was found, as a table."""
    table = Table(title="Hypotheses: rank correlation over games, with 95 % limits")
    for name in ("hypothesis", "correlation", "games", "outcome", "with all together"):
        table.add_column(name, justify="right" if name in ("correlation", "games") else "left")
    for row in hypotheses.to_dict("records"):
        limits = "" if row["low"] != row["low"] else f" [{row['low']:.2f}, {row['high']:.2f}]"
        shown = "unknown" if row["estimate"] != row["estimate"] else f"{row['estimate']:.2f}{limits}"
        table.add_row(row["text"], shown, str(row["games"]), row["outcome"], row["joint_outcome"])
    return table


def decision_rows(decisions: pd.DataFrame) -> Table:
    """What each rule's decisions cost, as a table."""
    table = Table(title="What to try first: regret of each rule's decisions, in the normalised score")
    for name in ("rule", "games", "perception first", "right", "regret", "95 % interval"):
        table.add_column(name, justify="left" if name == "rule" else "right")
    for row in decisions.to_dict("records"):
        limits = (
            "" if row["regret_low"] != row["regret_low"] else f"{row['regret_low']:.3f} to {row['regret_high']:.3f}"
        )
        shares = (f"{row[name]:.0%}" for name in ("perception", "right"))
        table.add_row(row["rule"], str(row["games"]), *shares, f"{row['regret']:.3f}", limits)
    return table
