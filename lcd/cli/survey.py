"""The command ``lcd survey``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from lcd.cli.arguments import Device, DryRun, StoreFolder, Threads, Workers, names
from lcd.cli.console import plain_console
from lcd.cli.errors import FAILURE
from lcd.io.files import DEFAULT_STORE


def command(
    plan: Annotated[str, typer.Argument(help="A survey's file, or the name of one that comes with the package.")],
    games: Annotated[str, typer.Option(metavar="NAMES", help="Only these of its games, such as maze,heist.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder of the diagnoses; by default surveys/NAME.")] = None,
    tables: Annotated[
        Path | None, typer.Option(help="Folder of tables that a repository keeps, to which each game is added.")
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    workers: Workers = None,
    threads: Threads = None,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> None:
    """Diagnose many games by one plan.

    The plan is a file in TOML: games = [...], and the numbers of a preset to replace. Each game's diagnosis is written
    as soon as its runs are finished. Finished runs are kept, and the same command resumes from them.
    """
    from lcd.cli.display import PlanDisplay, estimate_table, verdict_text
    from lcd.experiments.execution import chosen_workers, resolve_device
    from lcd.experiments.store import Store
    from lcd.studies.diagnosis import Diagnosis
    from lcd.studies.figures import check_registered
    from lcd.studies.survey.plan import Survey
    from lcd.studies.survey.survey import carry_out, folders
    from lcd.studies.survey.tables import SurveyTables

    device = resolve_device(device)
    survey = Survey.read(plan)
    if games:
        survey = survey.only(names(games))
    out = out or Path("surveys") / Path(plan).stem
    console = plain_console()
    folders(survey, out)
    Store(store).check(survey.plan.runs)
    if tables:
        SurveyTables.check_room(tables, survey.plan)
    if dry_run:
        runs = Store(store)
        shared = chosen_workers(device, [run for run in survey.plan.runs if not runs.has(run)], workers, threads)
        console.print(*estimate_table(survey.plan, runs, *shared, device), sep="\n")
        return

    check_registered("diagnosis")
    left_out: list[str] = []

    def done(diagnosis: Diagnosis) -> None:
        console.print(Text.assemble(f"{diagnosis.game}: ", verdict_text(diagnosis.verdict)))
        if tables:
            try:
                SurveyTables.of([diagnosis]).enter(tables)
            except (OSError, ValueError) as error:
                left_out.append(diagnosis.game)
                console.print(
                    f"{diagnosis.game} is not added to {tables}: {error} The survey goes on.",
                    style="yellow",
                    highlight=False,
                    soft_wrap=True,
                )

    with PlanDisplay(survey.plan) as display:
        carry_out(survey, out, store, workers=workers, threads=threads, device=device, listener=display, done=done)
    console.print(f"The diagnoses are in {out}; lcd taxonomy {out} sorts them.", highlight=False, soft_wrap=True)
    if left_out:
        console.print(
            f"Not in {tables}: {', '.join(left_out)}. Correct the errors above, and the same command adds them.",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(FAILURE)
