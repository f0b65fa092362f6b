"""Pretraining of an encoder from a game's name to a file: what ``lcd.pretrain`` and ``lcd pretrain`` both call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcd.agents import import_encoder, load_policy, save_backbone
from lcd.envs import GameOptions
from lcd.envs.family import chosen_options, game_options
from lcd.envs.naming import file_name
from lcd.experiments.settings import check_made_for
from lcd.io.files import check_output, checksum, replacing
from lcd.io.limits import path
from lcd.pretraining.pretraining import Pretraining
from lcd.pretraining.pretraining import pretrain as pretrain_encoder


@dataclass(frozen=True)
class PretrainedFile:
    """A pretrained encoder in a file.

    Attributes
    ----------
    file
        Use it as ``ARCHITECTURE@FILE``.
    card
        See `lcd.pretraining.pretraining.Pretrained`.
    """

    file: Path
    card: dict[str, Any]


def pretrain(
    game: Any,
    objective: str,
    *,
    encoder: str = "nature",
    frames: int | None = None,
    epochs: int = 5,
    levels: int = 200,
    agent: Path | str | None = None,
    trust: bool = False,
    distribution_mode: str | None = None,
    env_kwargs: Mapping[str, Any] | str | None = None,
    image_key: str | None = None,
    semantic: str | None = None,
    max_episode_steps: int | None = None,
    wrappers: str | None = None,
    sticky_actions: float | None = None,
    frame_skip: int | None = None,
    action_values: int | None = None,
    seed: int = 0,
    out: Path | str | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> PretrainedFile:
    """Pretrain an encoder on a game's own frames, without reward; the command ``lcd pretrain`` is this function.

    Parameters
    ----------
    game
        As in `lcd.diagnose`.
    objective
        A name in `lcd.pretraining.objectives.OBJECTIVES`.
    encoder
        Architecture of the encoder.
    frames, epochs, levels, seed
        See `lcd.pretraining.pretraining.Pretraining`; levels that the options of a game hold take precedence.
    agent
        Policy file of the agent that collects frames; by default a random agent.
    trust
        Whether you trust that file, see `lcd.agents.load_policy`.
    distribution_mode
        Procgen's; by default easy.
    env_kwargs, image_key, semantic, max_episode_steps, wrappers, sticky_actions, frame_skip,
    action_values
        For games of other packages, see `lcd.envs.external.options.ExternalOptions`.
    out
        Output file; by default ``encoders/GAME-OBJECTIVE.safetensors``, with what is not at its default in its name.
    report
        Called with a line after every epoch.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    lcd.agents.TrainingDiverged
        If the loss is not finite.
    """
    options = chosen_options(
        game,
        distribution_mode=distribution_mode,
        env_kwargs=env_kwargs,
        image_key=image_key,
        semantic=semantic,
        max_episode_steps=max_episode_steps,
        wrappers=wrappers,
        sticky_actions=sticky_actions,
        frame_skip=frame_skip,
        action_values=action_values,
    )
    number = Pretraining.frames if frames is None else frames
    encoder = import_encoder(encoder)
    settings = Pretraining(objective, encoder, number, epochs, num_levels=options.num_levels or levels, seed=seed)
    policy = None
    collector = None if agent is None else path("agent", agent)
    if collector is not None:
        policy, card = load_policy(collector, trust=trust)
        check_made_for(card, options, f"The agent {collector}", any_mode=True)
    file = default_file(options, settings, collector) if out is None else path("out", out)
    check_output(file, ".safetensors", inputs=(collector,))
    made = pretrain_encoder(options, settings, policy=policy, report=report)
    with replacing(file) as partial:
        save_backbone(made.encoder, partial, encoder, made.card)
    return PretrainedFile(file, made.card)


def default_file(options: GameOptions, settings: Pretraining, agent: Path | None) -> Path:
    """Default output file; its name holds the non-default settings, so that no encoder replaces another."""
    default = Pretraining(settings.objective)
    mode = options.as_record().get("distribution_mode", "easy")
    parts = {
        mode: mode != "easy",
        settings.architecture.replace(":", "_"): settings.architecture != default.architecture,
        f"{settings.frames}frames": settings.frames != default.frames,
        f"{settings.epochs}epochs": settings.epochs != default.epochs,
        f"{settings.num_levels}levels": settings.num_levels != default.num_levels,
        f"seed{settings.seed}": settings.seed != default.seed,
        _settings_of(options): _settings_of(options) != _settings_of(game_options(options.game)),
    }
    changed = [part for part, is_changed in parts.items() if is_changed]
    if agent is not None:
        changed.append(f"agent{checksum(agent)[:12]}")
    return Path("encoders") / f"{'-'.join([file_name(options.game), settings.objective, *changed])}.safetensors"


def _settings_of(options: GameOptions) -> str:
    """A short name for what is set of a game beside its mode and its levels."""
    known = ("distribution_mode", "num_levels", "start_level")
    record = {name: value for name, value in options.as_record().items() if name not in known}
    return f"settings{checksum(json.dumps(record, sort_keys=True).encode())[:8]}"
