"""The command ``lcd survey``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from lcd.cli.arguments import (
    Baselines,
    Device,
    DryRun,
    Executor,
    Ladder,
    Seeds,
    StepLimit,
    Steps,
    StoreFolder,
    Threads,
    TrustPlan,
    Workers,
    names,
    number,
)
from lcd.cli.errors import FAILURE
from lcd.io.console import plain_console
from lcd.io.files import DEFAULT_STORE
from lcd.io.limits import LARGEST_SEED, MOST_SEEDS, STEP_LIMIT


def command(
    plan: Annotated[str, typer.Argument(help="A survey's file, or the name of one that comes with the package.")],
    games: Annotated[str, typer.Option(metavar="NAMES", help="Only these of its games, such as maze,heist.")] = "",
    steps: Steps = None,
    seeds: Seeds = None,
    first_seed: Annotated[
        int | None,
        number(
            0,
            LARGEST_SEED - MOST_SEEDS,
            "The first seed of each cell, 0 by default: seeds that --tables lacks are pooled with its own.",
        ),
    ] = None,
    ladder: Ladder = False,
    baselines: Baselines = False,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT",
            help="What may be spent, such as '8 gpu-hours', '40 core-hours' or '12 hours': print the steps and seeds "
            "that decide most games for it, and leave.",
        ),
    ] = None,
    trust: TrustPlan = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the diagnoses; by default surveys/NAME.")] = None,
    tables: Annotated[
        Path | None,
        typer.Option(
            help="Folder of tables that a repository keeps, to which each game is added; what they hold is not "
            "trained again."
        ),
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    workers: Workers = None,
    threads: Threads = None,
    device: Device = "auto",
    executor: Executor = "local",
    step_limit: StepLimit = STEP_LIMIT,
    dry_run: DryRun = False,
) -> None:
    """Diagnose many games by one plan.

    The plan is a file in TOML: games = [...], and the numbers of a preset to replace. Each game's diagnosis is written
    as soon as its runs are finished. Finished runs are kept, and the same command resumes from them.
    """
    from lcd.cli.display import budget_lines, estimate_table, measuring, next_step, verdict_text
    from lcd.experiments.display import PlanDisplay
    from lcd.studies.diagnosis import Diagnosis
    from lcd.studies.survey.budget import Budget, choose
    from lcd.studies.survey.survey import prepare_survey

    allowed = None if budget is None else Budget.parse(budget)
    prepared = prepare_survey(
        plan,
        games=names(games),
        steps=steps,
        seeds=seeds,
        first_seed=first_seed,
        ladder=ladder,
        baselines=baselines,
        trust=trust,
        out=out,
        tables=tables,
        store=store,
        workers=workers,
        threads=threads,
        device=device,
        executor=executor,
        step_limit=step_limit,
    )
    console, runs, whole = plain_console(), prepared.store, prepared.plan

    def warn(sentence: str) -> None:
        console.print(sentence, style="yellow", highlight=False, soft_wrap=True)

    if allowed is not None:
        with measuring() as begun:
            choice = choose(prepared.survey, allowed, runs, prepared.resources, begun)
        console.print(*budget_lines(choice), sep="\n", soft_wrap=True)
        return
    if prepared.held:
        console.print(f"{tables} holds the runs of {', '.join(prepared.held)}.", highlight=False, soft_wrap=True)
        if prepared.survey.ladder or prepared.survey.baselines:
            warn("Their ladders and baselines are left out: they need the runs themselves, in --store.")
    if dry_run:
        if whole.games:
            further = prepared.further_runs()
            console.print(*estimate_table(whole, runs, prepared.resources, further), sep="\n")
        return

    def done(diagnosis: Diagnosis, error: str | None) -> None:
        console.print(Text.assemble(f"{diagnosis.game}: ", verdict_text(diagnosis.verdict)))
        if error is not None:
            warn(f"{diagnosis.game} is not added to {tables}: {error} The survey goes on.")

    found = prepared.run(PlanDisplay, done, lambda game, reason: warn(f"{game} has no diagnosis: {reason}"))
    sorted_from = tables if tables is not None and (prepared.held or not whole.games) else prepared.out
    if whole.games:
        console.print(f"The diagnoses are in {prepared.out}.", highlight=False, soft_wrap=True)
    console.print(next_step(sorted_from), highlight=False, soft_wrap=True)
    if found.left_out:
        warn(f"Not in {tables}: {', '.join(found.left_out)}. Correct the errors above, and the same command adds them.")
    if found.left_out or found.undiagnosed:
        raise typer.Exit(FAILURE)
