"""The command ``lcd pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcd.cli.arguments import count, number
from lcd.cli.console import plain_console
from lcd.io.limits import LARGEST_SEED, MOST_EPOCHS

if TYPE_CHECKING:
    from lcd.envs import ProcgenOptions
    from lcd.pretraining.pretraining import Pretraining


def command(
    game: Annotated[str, typer.Argument(help="A Procgen game; `lcd games` lists them.")],
    objective: Annotated[
        str,
        typer.Option(
            help="What to learn: autoencoding, inverse-dynamics, slow-features, predictive-coding or segmentation."
        ),
    ],
    encoder: Annotated[str, typer.Option(help="Whose eye: nature, impala, or another that is trained.")] = "nature",
    frames: Annotated[
        int | None, typer.Option(parser=count, metavar="N", help="Frames to learn from, by default 50k.")
    ] = None,
    epochs: Annotated[int, number(1, MOST_EPOCHS, "Passes over them.")] = 5,
    levels: Annotated[int, number(1, LARGEST_SEED, "Training levels, of which the frames are.")] = 200,
    agent: Annotated[
        Path | None, typer.Option(help="File of a policy that plays; by default one acts at random.")
    ] = None,
    mode: Annotated[str, typer.Option(help="Procgen's distribution mode.")] = "easy",
    seed: Annotated[int, number(0, LARGEST_SEED, "Of weights, frames and their order.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; by default eyes/GAME-OBJECTIVE.safetensors, with what is not usual in its name."),
    ] = None,
) -> None:
    """Teach an eye on a game's own frames, without any reward.

    The file can then be used as in `lcd diagnose GAME --encoder nature@eyes/GAME-OBJECTIVE.safetensors`.
    """
    from lcd.agents import load_policy, save_backbone
    from lcd.envs import ProcgenOptions
    from lcd.experiments.settings import check_made_for
    from lcd.io.files import check_output, replacing
    from lcd.pretraining.pretraining import Pretraining, pretrain

    options = ProcgenOptions(game, mode)
    settings = Pretraining(objective, encoder, frames or Pretraining.frames, epochs, num_levels=levels, seed=seed)
    policy = None
    if agent is not None:
        policy, card = load_policy(agent)
        check_made_for(card, options.game, None, f"The agent {agent}")
    file = check_output(out or default_file(options, settings, agent), ".safetensors")
    console = plain_console()

    def report(line: str) -> None:
        console.print(f"{options.game}, {objective}: {line}", highlight=False)

    made = pretrain(options, settings, policy=policy, report=report)
    with replacing(file) as partial:
        save_backbone(made.encoder, partial, encoder, made.card)
    found = made.card
    told = ", privileged" * (objective == "segmentation")
    console.print(
        f"On unseen levels {found['measure']} {found['score']:.3f}{told} (before {found['untrained']:.3f}, "
        f"of an eye that sees nothing {found['chance']:.3f}). "
        f"The eye is {file}; use it as {encoder}@{file}.",
        highlight=False,
        soft_wrap=True,
    )


def default_file(options: ProcgenOptions, settings: Pretraining, agent: Path | None) -> Path:
    """Where an eye goes unless a file is named: what is not usual is in the name, so that no eye replaces another."""
    from lcd.io.files import checksum
    from lcd.pretraining.pretraining import Pretraining

    usual = Pretraining(settings.objective)
    parts = {
        options.distribution_mode: options.distribution_mode != "easy",
        settings.architecture.replace(":", "_"): settings.architecture != usual.architecture,
        f"{settings.frames}frames": settings.frames != usual.frames,
        f"{settings.epochs}epochs": settings.epochs != usual.epochs,
        f"{settings.num_levels}levels": settings.num_levels != usual.num_levels,
        f"seed{settings.seed}": settings.seed != usual.seed,
    }
    unusual = [part for part, is_unusual in parts.items() if is_unusual]
    if agent is not None:
        unusual.append(f"agent{checksum(agent)[:12]}")
    return Path("eyes") / f"{'-'.join([options.game, settings.objective, *unusual])}.safetensors"
