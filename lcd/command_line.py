"""The command ``lcd``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import lcd
from lcd.arguments import count, names
from lcd.calibration.command_line import command as calibrate
from lcd.commands.align import command as align
from lcd.commands.harmonize import command as harmonize
from lcd.commands.pretrain import command as pretrain
from lcd.commands.watch import command as watch
from lcd.survey.command_line import command as survey
from lcd.taxonomy.command_line import report, taxonomy
from lcd.teachers.command_line import teachers

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Tells how much of a game's difficulty for a deep RL agent is perceptual, and how much is policy learning.",
)

app.add_typer(teachers)
app.command("calibrate")(calibrate)
app.command("survey")(survey)
app.command("taxonomy")(taxonomy)
app.command("report")(report)
app.command("watch")(watch)
app.command("pretrain")(pretrain)
app.command("align")(align)
app.command("harmonize")(harmonize)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    """Print the version if asked."""
    if show:
        print(lcd.__version__)
        raise typer.Exit


@app.command()
def games() -> None:
    """List the games that can be diagnosed, with their returns of a random policy and best returns."""
    from envs import GAMES

    table = Table()
    for name in ("game", "Gymnasium", "random, best (easy)", "random, best (hard)"):
        table.add_column(name)
    for game in GAMES.values():
        ranges = [f"{low:g}, {high:g}" for low, high in (game.easy, game.hard)]
        table.add_row(game.name, f"lcd/{game.title}-v0", *ranges)
    Console().print(table)


@app.command()
def diagnose(
    game: Annotated[str, typer.Argument(help="A Procgen game, such as starpilot; `lcd games` lists them.")],
    preset: Annotated[
        str, typer.Option(help="How much to spend: smoke (seconds), quick (minutes), standard (hours), paper (GPU).")
    ] = "standard",
    steps: Annotated[
        int | None, typer.Option(parser=count, metavar="N", help="Environment steps of each cell, such as 500k.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of each cell.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Visual encoder: nature, impala, impoola, or impala:32,64,64 for other depths.")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="File of a teacher to imitate, instead of the reference.")
    ] = None,
    train_teacher: Annotated[
        bool, typer.Option("--train-teacher", help="Train a teacher, even where a reference comes with the package.")
    ] = False,
    teacher_factor: Annotated[
        int | None, typer.Option(min=1, help="Budget of a trained teacher, as a multiple of --steps.")
    ] = None,
    mode: Annotated[str, typer.Option(help="Procgen's distribution mode, easy or hard.")] = "easy",
    appearance: Annotated[
        str, typer.Option(metavar="NAMES", help="Draw plainly: no-backgrounds, restricted-themes, monochrome.")
    ] = "",
    encoders: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Try other eyes, too: random, an objective of lcd pretrain, efficientnet_lite0, nature@FILE.",
        ),
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the diagnosis; by default diagnoses/GAME-PRESET.")
    ] = None,
    store: Annotated[Path, typer.Option(help="Folder of the runs, which diagnoses share.")] = Path("lcd-runs"),
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; by default what is fastest.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of each worker.")] = None,
    device: Annotated[str, typer.Option(help="Where torch computes: cpu, cuda or auto.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its time here, and leave.")] = False,
) -> None:
    """Tell whether a game is hard to see or hard to decide.

    Trains the four cells of the factorial (pixels or labels, reward or a teacher's advice), and a teacher where none
    comes with the package, and decomposes the gap between the unaided and the fully aided learner. Runs are kept: the
    same command goes on where it stopped.
    """
    from lcd.display import PlanDisplay, demand_rows, estimate_table
    from lcd.execution import default_workers, execute, resolve_device
    from lcd.output import OutputFolder
    from lcd.pipeline import adjusted_preset, plan_diagnosis, read_diagnosis
    from lcd.plan import Plan
    from lcd.store import Store
    from lcd.swap import full_names

    device = resolve_device(device)
    changes = {"steps": steps, "seeds": seeds, "encoder": encoder, "teacher_factor": teacher_factor}
    chosen = adjusted_preset(preset, **changes)
    game_plan = plan_diagnosis(
        game,
        chosen,
        distribution_mode=mode,
        teacher=teacher,
        train_teacher=train_teacher,
        appearance=names(appearance),
    )
    plan = Plan((game_plan,))
    full_names(names(encoders), chosen.encoder, Path)  # a wrong name must be known before hours are spent
    folder = OutputFolder(out or Path("diagnoses") / "-".join([game_plan.game, *game_plan.cells[0].appearance, preset]))
    folder.check(plan)
    usual = default_workers(device)
    workers, threads = workers or usual[0], threads or usual[1]

    if dry_run:
        console = Console()
        console.print(*estimate_table(plan, workers), sep="\n")
        console.print(f"The budget of each cell is {game_plan.budget:,} steps.")
        return

    folder.claim(plan)
    runs = Store(store)
    with PlanDisplay(plan) as display:
        execute(plan, runs, workers=workers, threads=threads, device=device, listener=display)
    diagnosis = read_diagnosis(game_plan, runs, {"preset": preset})
    folder.write(diagnosis)
    console = Console()
    console.print(demand_rows(diagnosis))
    console.print(f"[bold]{diagnosis.verdict.name}[/bold]: {diagnosis.verdict.reason}", highlight=False)
    for title, sentences in (
        ("What would decide it", diagnosis.verdict.would_decide),
        ("Mind", diagnosis.verdict.cautions),
    ):
        for sentence in sentences:
            console.print(f"  {title}: {sentence}", highlight=False)
    if encoders:
        from lcd.display import swap_rows
        from lcd.swap import Swap, carry_out_swap, taught_eye

        def teach(objective: str) -> Path:
            return taught_eye(game_plan, objective, store / "eyes", lambda line: console.print(line, highlight=False))

        swap = Swap(game_plan, full_names(names(encoders), chosen.encoder, teach))
        with PlanDisplay(swap.as_plan()) as display:
            found = carry_out_swap(swap, runs, workers=workers, threads=threads, device=device, listener=display)
        folder.write_tables(encoders=found.round(6))
        console.print(swap_rows(found))
    console.print(f"Figure, tables and JSON are in {folder.path}.", highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command, with one sentence and a status instead of a traceback.

    The exit status is 0 after success, 2 for bad input, 1 for a failure while running, 130 after Ctrl-C.
    """
    from lcd.errors import exit_status

    try:
        app()
    except KeyboardInterrupt:
        print("Interrupted. Finished runs are kept; the same command goes on from there.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        status = exit_status(error)
        if status is None:
            raise
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(status)


if __name__ == "__main__":
    main()
