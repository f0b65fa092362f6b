"""The command ``lcd pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lcd.cli.arguments import (
    ActionValues,
    EnvKwargs,
    FrameSkip,
    ImageKey,
    LabelMaps,
    MaxEpisodeSteps,
    Mode,
    StickyActions,
    Trust,
    Wrappers,
    count,
    number,
)
from lcd.io.console import plain_console
from lcd.io.limits import LARGEST_SEED, MOST_EPOCHS


def command(
    game: Annotated[str, typer.Argument(help="A game, as in lcd diagnose.")],
    objective: Annotated[
        str,
        typer.Option(
            help="Objective: autoencoding, inverse-dynamics, slow-features, predictive-coding or segmentation."
        ),
    ],
    encoder: Annotated[str, typer.Option(help="Architecture: nature, impala, or another encoder.")] = "nature",
    frames: Annotated[
        int | None, typer.Option(parser=count, metavar="N", help="Number of training frames, by default 50k.")
    ] = None,
    epochs: Annotated[int, number(1, MOST_EPOCHS, "Passes over them.")] = 5,
    levels: Annotated[int, number(1, LARGEST_SEED, "Number of training levels.")] = 200,
    agent: Annotated[
        Path | None, typer.Option(help="Policy file of the agent that collects frames; by default a random agent.")
    ] = None,
    trust: Trust = False,
    mode: Mode = None,
    env_kwargs: EnvKwargs = None,
    image_key: ImageKey = None,
    semantic: LabelMaps = None,
    max_episode_steps: MaxEpisodeSteps = None,
    wrappers: Wrappers = None,
    sticky_actions: StickyActions = None,
    frame_skip: FrameSkip = None,
    action_values: ActionValues = None,
    seed: Annotated[int, number(0, LARGEST_SEED, "Of weights, frames and their order.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Output file; by default encoders/GAME-OBJECTIVE.safetensors, with non-default settings in its name."
        ),
    ] = None,
) -> None:
    """Pretrain an encoder on a game's own frames, without reward.

    Use the file as in `lcd diagnose GAME --encoder nature@encoders/GAME-OBJECTIVE.safetensors`.
    """
    from lcd.pretraining.objectives import OBJECTIVES
    from lcd.studies.pretraining import pretrain

    console = plain_console()
    made = pretrain(
        game,
        objective,
        encoder=encoder,
        frames=frames,
        epochs=epochs,
        levels=levels,
        agent=agent,
        trust=trust,
        distribution_mode=mode,
        env_kwargs=env_kwargs,
        image_key=image_key,
        semantic=semantic,
        max_episode_steps=max_episode_steps,
        wrappers=wrappers,
        sticky_actions=sticky_actions,
        frame_skip=frame_skip,
        action_values=action_values,
        seed=seed,
        out=out,
        report=lambda line: console.print(f"{game}, {objective}: {line}", highlight=False),
    )
    found = made.card
    privileged = ", privileged" * OBJECTIVES[objective].needs_labels
    console.print(
        f"On unseen levels: {found['measure']} {found['score']:.3f}{privileged} "
        f"(untrained {found['untrained']:.3f}, chance {found['chance']:.3f}). "
        f"The encoder is in {made.file}; use it as {encoder}@{made.file}.",
        highlight=False,
        soft_wrap=True,
    )
