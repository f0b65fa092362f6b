"""The command ``lcd watch``: a film of an agent's episodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lcd.cli.arguments import Trust, number
from lcd.io.console import plain_console
from lcd.io.files import DEFAULT_STORE
from lcd.io.limits import LARGEST_SEED, MOST_STEPS

if TYPE_CHECKING:
    from lcd.agents import EncoderPolicy
    from lcd.envs import GameOptions

LONGEST = 20_000
"""Largest number of steps of a film, all of which are in memory until it is written."""


def command(
    game: Annotated[str | None, typer.Argument(help="The game; its reference teacher plays, or --run.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of a finished run, or a policy file, to play.")] = None,
    teacher: Annotated[str | None, typer.Option(metavar="GAME", help="The game whose reference teacher plays.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="Distribution mode of the reference teacher: easy or hard; by default easy.")
    ] = None,
    training: Annotated[bool, typer.Option("--training", help="Play training levels instead of unseen ones.")] = False,
    out: Annotated[Path | None, typer.Option(help="Output file of the film; by default GAME.gif.")] = None,
    episodes: Annotated[int, number(1, MOST_STEPS, "Number of episodes.")] = 3,
    max_steps: Annotated[int, number(1, LONGEST, "Largest number of steps of the film.")] = 600,
    seed: Annotated[int, number(0, LARGEST_SEED, "Seed of levels and actions.")] = 0,
    trust: Trust = False,
) -> None:
    """Write a film of an agent's episodes in both views, with its actions and value estimates."""
    from lcd.io.files import check_output, replacing
    from lcd.studies.figures import check_registered, registered
    from lcd.studies.replay import record

    if teacher is not None and (game is not None or run is not None):
        raise ValueError(f"--teacher {teacher} excludes a game and --run: leave out either.")
    if run is None and (game or teacher) is None:
        raise ValueError("There is no agent to watch: name a game, whose teacher plays, or a run with --run.")
    if run is not None and mode is not None:
        raise ValueError(
            f"--mode {mode} is for a reference teacher, and {run} plays in the mode of its training: leave it out."
        )
    if run is None:
        view = None
        policy, options, levels = _of_teacher(str(game or teacher), mode or "easy")
    else:
        policy, options, levels, view = _of_run(run, game, trust)
    film = check_output(out or Path(f"{options.label}.gif"), ".gif")
    check_registered("replay")
    replay = record(
        policy,
        options if training else options.unseen_levels(levels),
        view=view,
        episodes=episodes,
        max_steps=max_steps,
        seed=seed,
    )
    with replacing(film) as partial:
        registered("replay")(replay, partial)
    plain_console().print(f"{len(replay.actions)} steps, reward {replay.rewards.sum():g}: {film}", highlight=False)


def _of_teacher(game: str, mode: str) -> tuple[EncoderPolicy, GameOptions, int]:
    from lcd.agents import load_policy
    from lcd.envs import ProcgenOptions, find_game
    from lcd.teachers.library import shipped_teacher
    from lcd.teachers.making import TRAINING_LEVELS

    family, name = find_game(game)
    if family.name != ProcgenOptions.family:
        raise ValueError(f"No teacher of {name} comes with this package: name a finished run of it with --run.")
    path, card = shipped_teacher(game, distribution_mode=mode)
    levels = ProcgenOptions(card.game, card.distribution_mode, num_levels=TRAINING_LEVELS)
    return load_policy(path)[0], levels, TRAINING_LEVELS


def _of_run(run: Path, game: str | None, trust: bool) -> tuple[EncoderPolicy, GameOptions, int, str | None]:
    """A run's final policy, its training levels, their number, and the view that it acts on.

    Raises
    ------
    ValueError
        If there are no weights, or they are of another game than the one named.
    """
    from lcd.agents import load_policy
    from lcd.agents.encoders.pretrained import needs_hub
    from lcd.envs import family_of, find_game
    from lcd.envs.family import runs_others_code
    from lcd.envs.views import get_view
    from lcd.experiments.encoded_view import EncodedOptions, locate
    from lcd.experiments.learners import get_learner
    from lcd.experiments.settings import RunSettings
    from lcd.pretraining.frames import view_of
    from lcd.studies.policies import policy_file

    file = policy_file(run)
    if not file.exists():
        raise ValueError(
            f"There are no weights in {run}: give the folder of a finished run, such as one in {DEFAULT_STORE}."
        )
    policy, card = load_policy(file, trust=trust)
    settings: dict[str, Any] | None = card.get("run")
    if settings is None:
        raise ValueError(f"{file} does not say which run it comes from: give the folder of a finished run.")
    made = RunSettings.from_dict(settings)
    if isinstance(made.options, EncodedOptions):
        if needs_hub(made.options.encoder) and not trust:
            raise ValueError(f"{run} has the view of the encoder {made.options.encoder}: fetch it with --trust.")
        locate(_weights_beside(file.parent.parent, made.options.needs))
    played = family_of(made.options).full_name(made.options)
    if game is not None and find_game(game)[1] != played:
        raise ValueError(f"{run} plays {played}, not {game}: choose another run.")
    if runs_others_code(made.options) and not trust and (game is None or _is_changed(made.options)):
        raise ValueError(
            f"{run} plays {made.game}, perhaps of another package, whose code would be run: if you trust it, give "
            "--trust, or where it has no other settings, name the game as well."
        )
    if get_learner(made.learning).fits_values:
        raise ValueError(f"{run} has learned what its teacher returns, and not to act: choose another run.")
    if get_view(made.view).drawn_as == made.view:
        view_of(policy, made.options)
    derived = get_view(made.view).drawn_as != made.view
    return policy, made.options, made.options.num_levels, made.view if derived else None


def _is_changed(options: GameOptions) -> bool:
    """Whether a game has settings, beside its levels, which may name more than the game does."""
    from lcd.envs.family import game_options

    beneath: GameOptions = getattr(options, "base", options)  # of a game in an encoder's view
    return beneath.training_levels(0) != game_options(beneath.game).training_levels(0)


def _weights_beside(store: Path, identities: Sequence[str]) -> dict[str, Path]:
    """Files of the weights of finished runs in a store, by the runs' identities; those that are there."""
    from lcd.experiments.run import POLICY, TEACHER

    found: dict[str, Path] = {}
    for identity in identities:
        files = [file for name in (TEACHER, POLICY) for file in store.glob(f"*-{identity}/{name}")]
        if files:
            found[identity] = files[0]
    return found
