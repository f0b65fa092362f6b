"""The commands ``lcd teachers``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lcd.cli.arguments import count, number
from lcd.io.console import plain_console
from lcd.io.files import DEFAULT_STORE, check_output_folder
from lcd.io.limits import MOST_GAMES_AT_ONCE, MOST_WORKERS

teachers = typer.Typer(name="teachers", help="List the reference teachers, or train one again.")


@teachers.callback(invoke_without_command=True)
def list_teachers(context: typer.Context) -> None:
    """List the reference teachers that come with the package."""
    if context.invoked_subcommand is not None:
        return
    from lcd.teachers.library import shipped_cards, teacher_name

    table = Table(
        caption="Returns on unseen levels and on training levels; share of the way from a random policy's "
        "return to that of PPO after 50M steps, known in easy mode; environment steps and core-hours of the training.",
        show_edge=False,
        pad_edge=False,
    )
    for name in ("game", "return, 95 %", "share", "training", "expert", "steps", "hours"):
        table.add_column(name, justify="left" if name == "game" else "right", no_wrap=True)
    for card in shipped_cards():
        share = card.share_of_ppo_50m(card.unseen)
        table.add_row(
            teacher_name(card.game, card.distribution_mode),
            f"{card.unseen.mean:.2f} [{card.unseen.low:.2f}, {card.unseen.high:.2f}]",
            "" if share is None else f"{share:.0%}",
            f"{card.training.mean:.2f}",
            f"{card.expert.mean:.2f}",
            f"{card.steps / 1e6:.1f}M",
            f"{card.core_hours:.1f}",
        )
    plain_console().print(table)


@teachers.command()
def train(
    game: Annotated[str, typer.Argument(help="A Procgen game; `lcd games` lists them.")],
    steps: Annotated[
        int | None, typer.Option(parser=count, metavar="N", help="Environment steps, instead of those of the recipe.")
    ] = None,
    from_shipped: Annotated[
        bool,
        typer.Option(
            "--from-shipped",
            help="Train the teacher that comes with the package for N steps more; in hard mode, if need be, that of "
            "easy mode.",
        ),
    ] = False,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Learning rate, instead of that of the recipe."),
    ] = None,
    mode: Annotated[str, typer.Option(help="Procgen's distribution mode of the training: easy or hard.")] = "easy",
    folder: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder of checkpoints and teacher; by default {DEFAULT_STORE}/teachers/GAME, in hard mode GAME-hard."
        ),
    ] = None,
    threads: Annotated[
        int,
        number(1, MOST_WORKERS, "Threads; two teachers are trained faster in two processes of one thread."),
    ] = 1,
    episodes: Annotated[int, number(4, MOST_GAMES_AT_ONCE, "Episodes of each evaluation.")] = 512,
) -> None:
    """Train a game's reference teacher again.

    Finished segments are kept, and the same command resumes from them.
    """
    import torch

    from lcd.envs import ProcgenOptions, get_game
    from lcd.teachers.library import shipped_games, shipped_teacher, teacher_name
    from lcd.teachers.making import EXPERT_EPISODES, TRAINING_LEVELS, make_teacher
    from lcd.teachers.recipes import RECIPES

    name = get_game(game).name
    usual = DEFAULT_STORE / "teachers" / teacher_name(name, mode)
    folder = folder or usual
    check_output_folder(folder, "--folder")
    recipe = RECIPES[name] if steps is None else replace(RECIPES[name], steps=steps)
    if learning_rate is not None:
        recipe = replace(recipe, hyperparameters=replace(recipe.hyperparameters, learning_rate=learning_rate))
    begin = None
    if from_shipped:
        nearest = mode if name in shipped_games(distribution_mode=mode) else "easy"
        begin = shipped_teacher(name, distribution_mode=nearest)
    torch.set_num_threads(threads)
    console = plain_console()
    path, _ = make_teacher(
        ProcgenOptions(name, num_levels=TRAINING_LEVELS, distribution_mode=mode),
        recipe,
        folder,
        episodes=episodes,
        expert_episodes=min(EXPERT_EPISODES, episodes),
        begin=begin,
        report=lambda line: console.print(line, highlight=False, soft_wrap=True),
    )
    console.print(f"The teacher is {path}, its card beside it.", highlight=False, soft_wrap=True)
