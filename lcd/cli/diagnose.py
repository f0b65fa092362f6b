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
            help="Encoder ablation: random, an objective of lcd pretrain (also with +tuned), harmonized, "
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
    from lcd.cli.display import PlanDisplay, ablation_rows, demand_rows, estimate_table, verdict_text
    from lcd.experiments.execution import chosen_workers, execute, resolve_device
    from lcd.experiments.plan import Plan
    from lcd.experiments.store import Store
    from lcd.studies.encoder_ablation import (
        EncoderAblation,
        check_encoders,
        encoder_folder,
        missing_runs,
        resolve_encoders,
        run_ablation,
    )
    from lcd.studies.figures import check_registered
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
    runs, pretrained = Store(store), encoder_folder(store)
    runs.check(plan.runs)

    if dry_run:
        console = plain_console()
        further = missing_runs(game_plan, others, runs, pretrained)
        wanted = [run for run in (*plan.runs, *(run for _, run in further)) if not runs.has(run)]
        shared = chosen_workers(device, wanted, workers, threads)
        console.print(*estimate_table(plan, runs, *shared, device, further), sep="\n")
        console.print(f"The budget of each cell is {game_plan.budget:,} steps.")
        return

    check_registered("diagnosis")
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
        encoders_of = resolve_encoders(others, chosen.encoder, _pretrain(game_plan, pretrained, console))
        ablation = EncoderAblation(game_plan, encoders_of)
        with PlanDisplay(ablation.as_plan()) as display:
            found = run_ablation(ablation, runs, workers=workers, threads=threads, device=device, listener=display)
        folder.write_tables(encoders=found.round(6))
        console.print(ablation_rows(found))
    console.print(f"Figure, tables and JSON are in {folder.path}.", highlight=False, soft_wrap=True)


def _pretrain(game_plan: GamePlan, folder: Path, console: Console) -> Callable[[str], Path]:
    """From an objective to the file of an encoder that is pretrained on it, in the game."""
    from lcd.studies.encoder_ablation import pretrained_encoder

    def report(line: str) -> None:
        console.print(line, highlight=False)

    return lambda objective: pretrained_encoder(game_plan, objective, folder, report)
