"""The command ``lcd tracking``: whether memory and phase synchrony help agents to track objects that change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from lcd.cli.arguments import count, number
from lcd.io.console import counting, plain_console
from lcd.io.limits import MOST_SEEDS


def command(
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            help="Networks: none=ENCODER, stacked=ENCODER, lstm=ENCODER, convolutional, phase, phase+convolutional, or "
            "the last three without memory, such as forgetful=phase; by default eight of them.",
            show_default=False,
        ),
    ] = None,
    learner: Annotated[list[str] | None, typer.Option(help="reward or imitation; may be repeated.")] = None,
    view: Annotated[list[str] | None, typer.Option(help="pixels or semantic; may be repeated.")] = None,
    distractors: Annotated[list[int] | None, typer.Option(help="Objects beside the target; may be repeated.")] = None,
    change: Annotated[
        list[float] | None, typer.Option(help="How fast colours and shapes change, 0 to 1; may be repeated.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(parser=count, metavar="N", help="Environment steps of each agent, by default 500k.")
    ] = None,
    seeds: Annotated[int, number(1, MOST_SEEDS, "Agents of each kind.")] = 3,
    evaluations: Annotated[int, number(1, 100, "Evaluations along the training.")] = 4,
    out: Annotated[Path, typer.Option(help="Folder of the tables; what is finished there is kept.")] = Path("tracking"),
    figure: Annotated[Path | None, typer.Option(help="Output file of the figure: .png, .pdf or .svg.")] = None,
    workers: Annotated[int | None, typer.Option(help="Agents that are trained at once, each with one thread.")] = None,
) -> None:
    """Train agents with and without memory to follow one of several changing objects, and compare them.

    The games are lcd/Tracker-v0: an agent is paid for each step that its cursor is on the target, which starts under
    it, and which no single frame tells from the others. Agents are tested on unseen levels and with colours, shapes and
    textures that they have not seen. The table says what memory, and phases that synchronise, add.
    """
    from lcd.cli.display import limits_text
    from lcd.studies.tracking.analysis import final
    from lcd.studies.tracking.tracking import NETWORKS, tracking

    with counting() as report:
        result = tracking(
            networks or NETWORKS,
            learners=learner or ("imitation",),
            views=view or ("pixels",),
            distractors=distractors or (5, 15),
            changes=change or (1.0,),
            steps=steps or 500_000,
            seeds=seeds,
            evaluations=evaluations,
            out=out,
            figure=figure,
            workers=workers,
            report=report,
        )
    console = plain_console()
    by_test = final(result.measurements).pivot_table(
        index=["network", "learner", "view", "change", "distractors"], columns="test", values="value", sort=False
    )
    several = [name for name in ("view", "change") if result.measurements[name].nunique() > 1]
    reached = Table(Column("network", no_wrap=True), "learner", *several, "objects", "seen", "held out")
    for row in by_test.reset_index().to_dict("records"):
        names = (str(row[name]) for name in ("network", "learner", *several))
        shares = (f"{row[test]:.2f}" for test in ("seen", "all"))
        reached.add_row(*names, f"{row['distractors'] + 1}", *shares)
    reached.caption = "Share of steps on the target in unseen levels: with looks as in training, and all held out."
    console.print(reached)
    shown = Table(Column("network", no_wrap=True), "less", "learner", *several, "objects", "test", "difference")
    for row in result.differences.to_dict("records"):
        names = (str(row[name]) for name in ("compared", "with", "learner", *several))
        difference = f"{row['difference']:+.2f} {limits_text(row['low'], row['high'], '.2f')}"
        shown.add_row(*names, f"{row['distractors'] + 1}", row["test"], difference)
    if len(result.differences):
        console.print(shown)
    rules = result.rules.pivot_table(index="distractors", columns="rule", values="value").reset_index()
    for row in rules.to_dict("records"):
        console.print(
            f"Without learning, from the true places of {row['distractors'] + 1} objects: the rule to follow that "
            f"nearest to the cursor is on the target in {row['nearest']:.2f} of the steps, random moves in "
            f"{row['random']:.2f}.",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"The tables are in {out}.", highlight=False, soft_wrap=True)
    if figure is not None:
        console.print(f"The figure is in {figure}.", highlight=False, soft_wrap=True)
