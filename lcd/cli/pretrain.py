"""The command ``lcd pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcd.cli.arguments import count, number
from lcd.cli.console import plain_console
from lcd.io.limits import LARGEST_SEED, MOST_EPOCHS

if TYPE_CHECKING:
    from lcd.envs import GameOptions
    from lcd.pretraining.pretraining import Pretraining


def command(
    game: Annotated[str, typer.Argument(help="A Procgen game; `lcd games` lists them.")],
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
    mode: Annotated[str | None, typer.Option(help="Procgen's distribution mode; by default easy.")] = None,
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
    from lcd.agents import load_policy, save_backbone
    from lcd.envs.family import game_options
    from lcd.experiments.settings import check_made_for
    from lcd.io.files import check_output, replacing
    from lcd.pretraining.pretraining import Pretraining, pretrain

    options = game_options(game, distribution_mode=mode)
    settings = Pretraining(objective, encoder, frames or Pretraining.frames, epochs, num_levels=levels, seed=seed)
    policy = None
    if agent is not None:
        policy, card = load_policy(agent)
        check_made_for(card, options, f"The agent {agent}", any_mode=True)
    file = check_output(out or default_file(options, settings, agent), ".safetensors")
    console = plain_console()

    def report(line: str) -> None:
        console.print(f"{options.game}, {objective}: {line}", highlight=False)

    made = pretrain(options, settings, policy=policy, report=report)
    with replacing(file) as partial:
        save_backbone(made.encoder, partial, encoder, made.card)
    found = made.card
    privileged = ", privileged" * (objective == "segmentation")
    console.print(
        f"On unseen levels: {found['measure']} {found['score']:.3f}{privileged} "
        f"(untrained {found['untrained']:.3f}, chance {found['chance']:.3f}). "
        f"The encoder is in {file}; use it as {encoder}@{file}.",
        highlight=False,
        soft_wrap=True,
    )


def default_file(options: GameOptions, settings: Pretraining, agent: Path | None) -> Path:
    """Default output file; its name holds the non-default settings, so that no encoder replaces another."""
    from lcd.io.files import checksum
    from lcd.pretraining.pretraining import Pretraining

    default = Pretraining(settings.objective)
    mode = options.as_record().get("distribution_mode", "easy")
    parts = {
        mode: mode != "easy",
        settings.architecture.replace(":", "_"): settings.architecture != default.architecture,
        f"{settings.frames}frames": settings.frames != default.frames,
        f"{settings.epochs}epochs": settings.epochs != default.epochs,
        f"{settings.num_levels}levels": settings.num_levels != default.num_levels,
        f"seed{settings.seed}": settings.seed != default.seed,
    }
    changed = [part for part, is_changed in parts.items() if is_changed]
    if agent is not None:
        changed.append(f"agent{checksum(agent)[:12]}")
    return Path("encoders") / f"{'-'.join([options.game, settings.objective, *changed])}.safetensors"
