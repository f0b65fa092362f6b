"""The command ``lcd doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from lcd.cli.arguments import (
    ActionValues,
    EnvKwargs,
    FrameSkip,
    ImageKey,
    MaxEpisodeSteps,
    Semantic,
    StickyActions,
    Wrappers,
    number,
)
from lcd.cli.errors import BAD_INPUT, FAILURE
from lcd.io.console import plain_console
from lcd.io.limits import LONGEST_STEP_LIMIT

STYLES = {"ok": "green", "note": "yellow", "problem": "red"}


def command(
    game: Annotated[str, typer.Argument(help="A game, as in lcd diagnose.")],
    encoder: Annotated[str, typer.Option(help="Visual encoder that is to take its images.")] = "nature",
    env_kwargs: EnvKwargs = None,
    image_key: ImageKey = None,
    semantic: Semantic = None,
    max_episode_steps: MaxEpisodeSteps = None,
    wrappers: Wrappers = None,
    sticky_actions: StickyActions = None,
    frame_skip: FrameSkip = None,
    action_values: ActionValues = None,
    seconds: Annotated[int, number(1, 3600, "Time without a sign after which it is taken to hang.")] = 60,
    step_limit: Annotated[
        int | None,
        number(1, LONGEST_STEP_LIMIT, "Seconds after which a step is taken to hang; by default those of --seconds."),
    ] = None,
) -> None:
    """Examine a game before it is diagnosed: in seconds, what works and what is missing.

    The exit status is 1 if something would prevent or falsify a diagnosis, and 2 if such a game cannot be diagnosed.
    """
    from rich.text import Text

    from lcd.studies.doctor import examine
    from lcd.studies.game_checks import UNFIT, Finding

    console = plain_console()

    def show(finding: Finding) -> None:
        mark = Text(f"{finding.status:8}", style=STYLES[finding.status])
        console.print(Text.assemble(mark, f"{finding.what}: {finding.sentence}"), soft_wrap=True)

    settings = {
        "env_kwargs": env_kwargs,
        "image_key": image_key,
        "semantic": semantic,
        "max_episode_steps": max_episode_steps,
        "wrappers": wrappers,
        "sticky_actions": sticky_actions,
        "frame_skip": frame_skip,
        "action_values": action_values,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    found = examine(game, encoder=encoder, seconds=seconds, step_limit=step_limit, report=show, **given)
    if any(finding.what == UNFIT for finding in found):
        raise typer.Exit(BAD_INPUT)
    if any(finding.status == "problem" for finding in found):
        raise typer.Exit(FAILURE)
