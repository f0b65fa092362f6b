"""The command ``lcd harmonize``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lcd.cli.arguments import (
    STORE,
    ActionValues,
    Device,
    EnvKwargs,
    Executor,
    FrameSkip,
    ImageKey,
    LabelMaps,
    MaxEpisodeSteps,
    Mode,
    Seeds,
    StepLimit,
    Steps,
    StickyActions,
    Teacher,
    Workers,
    Wrappers,
    number,
)
from lcd.io.console import plain_console
from lcd.io.files import DEFAULT_STORE
from lcd.io.limits import MOST_EPOCHS, STEP_LIMIT


def command(
    what: Annotated[str, typer.Argument(help="A game, or a folder of ClickMe's files.")],
    weight: Annotated[float, typer.Option(help="Weight of the harmonization loss.")] = 1.0,
    preset: Annotated[
        str | None, typer.Option(help="How much to spend on a game, see lcd diagnose; by default standard.")
    ] = None,
    steps: Steps = None,
    seeds: Seeds = None,
    encoder: Annotated[
        str | None, typer.Option(help="Visual encoder of a game's learners, or the classifier: efficientnet_lite0.")
    ] = None,
    teacher: Teacher = None,
    mode: Mode = None,
    env_kwargs: EnvKwargs = None,
    image_key: ImageKey = None,
    semantic: LabelMaps = None,
    max_episode_steps: MaxEpisodeSteps = None,
    wrappers: Wrappers = None,
    sticky_actions: StickyActions = None,
    frame_skip: FrameSkip = None,
    action_values: ActionValues = None,
    epochs: Annotated[
        int | None,
        number(1, MOST_EPOCHS, "Epochs over the images of a folder; by default 5."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="The classifier's weights, by default harmonized.safetensors; use it as efficientnet_lite0@FILE."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Output file of the table.")] = Path("harmonization.csv"),
    store: Annotated[
        Path | None,
        typer.Option(
            **STORE, help=f"Folder or URL of a game's runs, which diagnoses share; by default {DEFAULT_STORE}."
        ),
    ] = None,
    workers: Workers = None,
    device: Device = "auto",
    executor: Executor = "local",
    step_limit: StepLimit = STEP_LIMIT,
) -> None:
    """Train with the neural harmonizer, and measure its effect.

    For a game: PPO and imitation on pixels, each with and without the harmonizer on privileged maps; the agreement of
    their importance maps with these, and their returns. For a folder of ClickMe: a classifier, harmonized on a training
    split of the images and evaluated on the others.
    """
    from lcd.studies.harmonization import harmonize_images

    console = plain_console()
    if Path(what).is_dir():
        of_game: dict[str, object] = {
            "--preset": preset,
            "--steps": steps,
            "--seeds": seeds,
            "--teacher": teacher,
            "--mode": mode,
        }
        of_game |= {"--env-kwargs": env_kwargs, "--image-key": image_key, "--semantic": semantic}
        elsewhere = None if executor == "local" else executor
        of_game |= {"--max-episode-steps": max_episode_steps, "--wrappers": wrappers}
        of_game |= {"--sticky-actions": sticky_actions, "--frame-skip": frame_skip, "--action-values": action_values}
        of_game |= {"--step-limit": None if step_limit == STEP_LIMIT else step_limit}
        if given := _given(of_game | {"--store": store, "--workers": workers, "--executor": elsewhere}):
            raise ValueError(f"{given[0]} is for a game, and {what} is a folder of images: leave it out.")
        classifier, file = encoder or "efficientnet_lite0", weights or Path("harmonized.safetensors")
        harmonize_images(
            what,
            weight,
            epochs=epochs,
            encoder=classifier,
            weights=file,
            out=out,
            device=device,
            report=lambda line: console.print(line, highlight=False),
        )
        console.print(
            f"The table is in {out}. The encoder is in {file}; use it as {classifier.partition('@')[0]}@{file}.",
            highlight=False,
            soft_wrap=True,
        )
        return
    if given := _given({"--epochs": epochs, "--weights": weights}):
        raise ValueError(f"{given[0]} is for a folder of images, which {what} is not: leave it out, or check the path.")
    from lcd.cli.display import limits_text
    from lcd.experiments.display import PlanDisplay
    from lcd.studies.harmonization import effect_table, prepare_harmonization

    prepared = prepare_harmonization(
        what,
        weight,
        preset=preset or "standard",
        steps=steps,
        seeds=seeds,
        encoder=encoder,
        teacher=teacher,
        distribution_mode=mode,
        env_kwargs=env_kwargs,
        image_key=image_key,
        semantic=semantic,
        max_episode_steps=max_episode_steps,
        wrappers=wrappers,
        sticky_actions=sticky_actions,
        frame_skip=frame_skip,
        action_values=action_values,
        out=out,
        store=store or DEFAULT_STORE,
        workers=workers,
        device=device,
        executor=executor,
        step_limit=step_limit,
    )
    runs = prepared.run(PlanDisplay)
    title = f"{prepared.plan.games[0].game}, with and without the harmonizer"
    table = Table("learning", "measure", "without", "with", "change", "95 % interval", title=title)
    for row in effect_table(runs).to_dict("records"):
        numbers = (f"{row[name]:.3f}" for name in ("without", "with", "change"))
        limits = limits_text(row["low"], row["high"], ".3f")
        table.add_row(row["learning"], row["measure"], *numbers, limits)
    console.print(table)
    console.print(f"The table of runs is in {out}.", highlight=False, soft_wrap=True)


def _given(options: Mapping[str, object]) -> list[str]:
    """Names of the options that are given."""
    return [name for name, value in options.items() if value is not None]
