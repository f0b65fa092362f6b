"""The command ``lcd pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lcd.arguments import count


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
    epochs: Annotated[int, typer.Option(min=1, help="Passes over them.")] = 5,
    levels: Annotated[int, typer.Option(min=1, help="Training levels, of which the frames are.")] = 200,
    agent: Annotated[
        Path | None, typer.Option(help="File of a policy that plays; by default one acts at random.")
    ] = None,
    mode: Annotated[str, typer.Option(help="Procgen's distribution mode.")] = "easy",
    seed: Annotated[int, typer.Option(min=0, help="Of weights, frames and their order.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; by default eyes/GAME-OBJECTIVE.safetensors, with what is not usual in its name."),
    ] = None,
) -> None:
    """Teach an eye on a game's own frames, without any reward.

    The file can then be used as in `lcd diagnose GAME --encoder nature@eyes/GAME-OBJECTIVE.safetensors`.
    """
    from agents import load_policy, save_eye
    from envs import ProcgenOptions
    from lcd.files import check_output, replacing
    from lcd.training.pretraining import Pretraining, pretrain

    options = ProcgenOptions(game, mode)
    settings = Pretraining(objective, encoder, frames or Pretraining.frames, epochs, num_levels=levels, seed=seed)
    unusual = (
        [mode] * (mode != "easy") + [encoder.replace(":", "_")] * (encoder != "nature") + [f"seed{seed}"] * (seed > 0)
    )
    usual_file = Path("eyes") / f"{'-'.join([options.game, objective, *unusual])}.safetensors"
    file = check_output(out or usual_file, ".safetensors")
    policy = None if agent is None else load_policy(agent)[0]
    console = Console()

    def report(line: str) -> None:
        console.print(f"{options.game}, {objective}: {line}", highlight=False)

    made = pretrain(options, settings, policy=policy, report=report)
    with replacing(file) as partial:
        save_eye(made.encoder, partial, encoder, made.card)
    card = made.card
    told = ", privileged" * (objective == "segmentation")
    console.print(
        f"On unseen levels {card['measure']} {card['score']:.3f}{told} (before {card['untrained']:.3f}, "
        f"of an eye that sees nothing {card['chance']:.3f}). "
        f"The eye is {file}; use it as {encoder}@{file}.",
        highlight=False,
        soft_wrap=True,
    )
