"""The command ``lcd diagnose``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from lcd.cli.arguments import (
    Device,
    DryRun,
    EncoderOption,
    Seeds,
    Steps,
    StoreFolder,
    Teacher,
    TeacherFactor,
    Threads,
    Workers,
    encoder_names,
    names,
)
from lcd.cli.console import plain_console
from lcd.io.files import DEFAULT_STORE

if TYPE_CHECKING:
    from lcd.experiments.plan import GamePlan


def command(
    game: Annotated[str, typer.Argument(help="A Procgen game, such as starpilot; `lcd games` lists them.")],
    preset: Annotated[
        str, typer.Option(help="How much to spend: smoke (seconds), quick (minutes), standard (hours), paper (GPU).")
    ] = "standard",
    steps: Steps = None,
    seeds: Seeds = None,
    encoder: EncoderOption = None,
    teacher: Teacher = None,
    train_teacher: Annotated[
        bool, typer.Option("--train-teacher", help="Train a teacher, even where a reference comes with the package.")
    ] = False,
    teacher_factor: TeacherFactor = None,
    mode: Annotated[str, typer.Option(help="Procgen's distribution mode, easy or hard.")] = "easy",
    appearance: Annotated[
        str, typer.Option(metavar="NAMES", help="Plainer rendering: no-backgrounds, restricted-themes, monochrome.")
    ] = "",
    encoders: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Try other eyes, too: random, an objective of lcd pretrain (also with +tuned), harmonized, "
            "efficientnet_lite0, nature@FILE.",
        ),
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the diagnosis; by default diagnoses/GAME-PRESET.")
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    workers: Workers = None,
    threads: Threads = None,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> None:
    """Measure the perceptual and the policy-learning demand of a game.

    Trains the four cells of the factorial (pixels or label maps, reward or expert labels), and a teacher where none
    comes with the package, and decomposes the gap between cells a and d. Finished runs are kept, and the same command
    resumes from them.
    """
    from lcd.cli.display import PlanDisplay, demand_rows, estimate_table, swap_rows, verdict_text
    from lcd.experiments.execution import default_workers, execute, resolve_device
    from lcd.experiments.plan import Plan
    from lcd.experiments.store import Store
    from lcd.studies.encoder_ablation import Swap, carry_out_swap, check_encoders, foreseen_runs, full_names
    from lcd.studies.output import OutputFolder
    from lcd.studies.pipeline import adjusted_preset, plan_diagnosis, read_diagnosis

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
    if teacher_factor is not None and game_plan.teacher_run is None:
        raise ValueError(f"--teacher-factor sets how long a teacher of {game} is trained: use it with --train-teacher.")
    plan = Plan((game_plan,))
    others = encoder_names(encoders)
    check_encoders(game_plan, others)
    folder = OutputFolder(out or Path("diagnoses") / "-".join([game_plan.game, *game_plan.cells[0].appearance, preset]))
    folder.check(plan)
    runs, eyes, usual = Store(store), store / "eyes", default_workers(device)
    runs.check(plan.runs)
    workers, threads = workers or usual[0], threads or usual[1]

    if dry_run:
        console = plain_console()
        swapped = foreseen_runs(game_plan, others, runs, eyes)
        console.print(*estimate_table(plan, runs, workers, threads, device, swapped), sep="\n")
        console.print(f"The budget of each cell is {game_plan.budget:,} steps.")
        return

    folder.claim(plan)
    with PlanDisplay(plan) as display:
        execute(plan, runs, workers=workers, threads=threads, device=device, listener=display)
    diagnosis = read_diagnosis(game_plan, runs, {"preset": preset})
    folder.write(diagnosis)
    console = plain_console()
    console.print(demand_rows(diagnosis))
    console.print(verdict_text(diagnosis.verdict))
    if diagnosis.temperature_sentence:
        console.print(f"  {diagnosis.temperature_sentence}", highlight=False)
    if diverged := diagnosis.settings["divergences"]:
        console.print(f"  Frames and label maps of the game diverged {diverged} times and were synchronised again.")
    for title, sentences in (
        ("What would decide it", diagnosis.verdict.would_decide),
        ("Caution", diagnosis.verdict.cautions),
    ):
        for sentence in sentences:
            console.print(f"  {title}: {sentence}", highlight=False)
    if others:
        swap = Swap(game_plan, full_names(others, chosen.encoder, _taught(game_plan, eyes, console)))
        with PlanDisplay(swap.as_plan()) as display:
            found = carry_out_swap(swap, runs, workers=workers, threads=threads, device=device, listener=display)
        folder.write_tables(encoders=found.round(6))
        console.print(swap_rows(found))
    console.print(f"Figure, tables and JSON are in {folder.path}.", highlight=False, soft_wrap=True)


def _taught(game_plan: GamePlan, eyes: Path, console: Console) -> Callable[[str], Path]:
    """Teaches an eye an objective on the game's own frames, and gives its file."""
    from lcd.studies.encoder_ablation import taught_eye

    return lambda objective: taught_eye(game_plan, objective, eyes, lambda line: console.print(line, highlight=False))
