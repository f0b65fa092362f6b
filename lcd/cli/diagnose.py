"""The command ``lcd diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lcd.cli.arguments import (
    ActionValues,
    Algorithm,
    Baselines,
    Device,
    DryRun,
    EncoderOption,
    EnvKwargs,
    Executor,
    FrameSkip,
    ImageKey,
    Ladder,
    LearnerSettings,
    MaxEpisodeSteps,
    Mode,
    Precision,
    Seeds,
    Semantic,
    StepLimit,
    Steps,
    StickyActions,
    StoreFolder,
    Teacher,
    TeacherFactor,
    Threads,
    Workers,
    Wrappers,
    encoder_names,
    names,
    number,
)
from lcd.io.console import plain_console
from lcd.io.files import DEFAULT_STORE
from lcd.io.limits import LARGEST_SEED, STEP_LIMIT


def command(
    game: Annotated[
        str, typer.Argument(help="A Procgen game such as starpilot (`lcd games` lists them), or any id of Gymnasium.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            help="How much to spend: smoke (minutes), quick (ten minutes to two hours), standard (hours), paper (GPU)."
        ),
    ] = "standard",
    steps: Steps = None,
    seeds: Seeds = None,
    encoder: EncoderOption = None,
    algorithm: Algorithm = None,
    hyperparameters: LearnerSettings = None,
    levels: Annotated[int | None, number(1, LARGEST_SEED - 1, "Training levels; by default 200.")] = None,
    teacher: Teacher = None,
    train_teacher: Annotated[
        bool, typer.Option("--train-teacher", help="Train a teacher, even where a reference comes with the package.")
    ] = False,
    teacher_factor: TeacherFactor = None,
    mode: Mode = None,
    appearance: Annotated[
        str, typer.Option(metavar="NAMES", help="Plainer rendering: no-backgrounds, restricted-themes, monochrome.")
    ] = "",
    env_kwargs: EnvKwargs = None,
    image_key: ImageKey = None,
    semantic: Semantic = None,
    max_episode_steps: MaxEpisodeSteps = None,
    wrappers: Wrappers = None,
    sticky_actions: StickyActions = None,
    frame_skip: FrameSkip = None,
    action_values: ActionValues = None,
    random: Annotated[float | None, typer.Option(help="Return that counts as score 0.")] = None,
    best: Annotated[float | None, typer.Option(help="Return that counts as score 1.")] = None,
    encoders: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Encoder ablation: random, an objective of lcd pretrain (also with +tuned), harmonized, "
            "efficientnet_lite0, nature@FILE.",
        ),
    ] = "",
    ladder: Ladder = False,
    baselines: Baselines = False,
    evidence: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="What lcd validate wrote: on it rests what is recommended to try first.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the diagnosis; by default diagnoses/GAME-PRESET, and other seeds or steps."),
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    workers: Workers = None,
    threads: Threads = None,
    device: Device = "auto",
    executor: Executor = "local",
    precision: Precision = None,
    step_limit: StepLimit = STEP_LIMIT,
    dry_run: DryRun = False,
) -> None:
    """Measure the perceptual and the policy-learning demand of a game.

    Trains the four cells of the factorial (pixels or label maps, reward or expert labels), and a teacher where none
    comes with the package, and decomposes the gap between cells a and d. Finished runs are kept, and the same command
    resumes from them.
    """
    from lcd.cli.display import (
        ablation_rows,
        baseline_rows,
        demand_rows,
        estimate_table,
        ladder_rows,
        pretraining_sentence,
        verdict_text,
    )
    from lcd.envs.random_play import EPISODES
    from lcd.experiments.display import PlanDisplay
    from lcd.studies.advice import advise
    from lcd.studies.diagnosing import prepare_diagnosis
    from lcd.studies.ladder import STEPS
    from lcd.studies.validation.evidence import read_evidence

    prepared = prepare_diagnosis(
        game,
        preset,
        steps=steps,
        seeds=seeds,
        encoder=encoder,
        algorithm=algorithm,
        hyperparameters=hyperparameters,
        levels=levels,
        teacher=teacher,
        train_teacher=train_teacher,
        teacher_factor=teacher_factor,
        distribution_mode=mode,
        appearance=names(appearance),
        env_kwargs=env_kwargs,
        image_key=image_key,
        semantic=semantic,
        max_episode_steps=max_episode_steps,
        wrappers=wrappers,
        sticky_actions=sticky_actions,
        frame_skip=frame_skip,
        action_values=action_values,
        random=random,
        best=best,
        encoders=encoder_names(encoders),
        ladder=ladder,
        baselines=baselines,
        store=store,
        workers=workers,
        threads=threads,
        device=device,
        executor=executor,
        precision=precision,
        step_limit=step_limit,
    )
    prepared = prepared.writing_to(out or Path("diagnoses") / prepared.name)
    known = None if evidence is None else read_evidence(evidence)
    console = plain_console()
    if prepared.game_plan.is_encoded:
        console.print(
            f"{prepared.game_plan.game} is diagnosed without a privileged view of its own: an expert on frames is "
            "trained for its encoder, and two controls beside it (docs/own-game.md).",
            highlight=False,
        )
    if dry_run:
        further = prepared.further_runs()
        console.print(*estimate_table(prepared.plan, prepared.store, prepared.resources, further), sep="\n")
        console.print(pretraining_sentence(prepared.game_encoders()), soft_wrap=True, end="")
        console.print(f"The budget of each cell is {prepared.game_plan.budget:,} steps.")
        return

    if prepared.game_plan.measures_random and prepared.game_plan.measured_random is None:
        console.print(
            f"First a random policy plays {EPISODES} episodes of {prepared.game_plan.game}, some minutes where a step "
            "is slow.",
            highlight=False,
        )
    diagnosis = prepared.diagnose(PlanDisplay)
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
    found = prepared.compare_encoders(PlanDisplay, lambda line: console.print(line, highlight=False))
    if found is not None:
        console.print(ablation_rows(found))
    climbed = prepared.climb(PlanDisplay)
    if climbed is not None:
        console.print(ladder_rows(climbed))
        for missing in STEPS.keys() - set(climbed["step"]):
            console.print(f"  The step {missing!r} is left out: no label of {prepared.game_plan.game} is its player's.")
    lowest = prepared.measure_baselines(PlanDisplay)
    if lowest is not None:
        console.print(baseline_rows(lowest))
    console.print(f"  {advise(diagnosis, known).text}", highlight=False)
    console.print(f"Figure, tables and JSON are in {prepared.out}.", highlight=False, soft_wrap=True)
