"""Pretraining an encoder on a game's own frames, without reward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import torch
from gymnasium import spaces
from pydantic import AfterValidator, Field

from lcd.agents import Encoder, EncoderPolicy, TrainingDiverged, parse_encoder
from lcd.agents.encoders.registry import check_weights
from lcd.agents.machine import bfloat16_is_fast, keep_freed_memory
from lcd.agents.randomness import seeded
from lcd.envs import GameOptions, family_of
from lcd.envs.family import ActionClasses, observation_space
from lcd.envs.levels import Levels
from lcd.io.settings import Epochs, Positive, Seed, Text, Whole, one_of, settings
from lcd.io.untrusted import memory
from lcd.pretraining.frames import GameFrames, collect_frames
from lcd.pretraining.objectives import OBJECTIVES, Objective

HELD_OUT = 0.1
"""Number of evaluation frames, from unseen levels, as a share of the training frames."""

MOST_FRAMES = 10**9
"""Largest number of training frames: ten terabytes."""

FEWEST = 2_048
"""Smallest number of training frames."""


def _known_encoder(name: str) -> str:
    parse_encoder(name)
    return name


@settings
class Pretraining:
    """Settings of pretraining.

    Attributes
    ----------
    objective
        A name in `lcd.pretraining.objectives.OBJECTIVES`.
    architecture
        Name of the encoder, see `lcd.agents.parse_encoder`.
    frames
        Number of training frames (steps of the game).
    epochs
        Passes over them.
    batch_size
        Frames of a step of Adam.
    learning_rate
        Peak of its one-cycle schedule, in which the first of Adam's averages follows from 0.95 to 0.85 and back.
    num_levels
        Number of training levels, from which all training frames come.
    seed
        Seed of weights, frames and their order.
    """

    objective: Annotated[Text, one_of(OBJECTIVES, "objective")]
    architecture: Annotated[Text, AfterValidator(_known_encoder)] = "nature"
    frames: Annotated[Whole, Field(ge=FEWEST, le=MOST_FRAMES)] = 50_000
    epochs: Epochs = 5
    batch_size: Annotated[
        Whole, Field(ge=2, le=FEWEST // 2, description=f"a whole number from 2 to {FEWEST // 2:,}")
    ] = 256
    learning_rate: Positive = 1e-3
    num_levels: Annotated[Levels, Field(ge=1)] = 200
    seed: Seed = 0


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A pretrained encoder.

    Attributes
    ----------
    encoder
        The encoder; its backbone is pretrained.
    card
        JSON data: settings, game and its version, the precision of training, and the evaluation on frames of unseen
        levels: ``measure``, ``score``, the score before training (``untrained``) and that of an input-independent
        baseline (``chance``).
    """

    encoder: Encoder
    card: dict[str, Any]


def frame_bytes(options: GameOptions, frames: int) -> int:
    """Memory that so many frames of a game take with their label maps."""
    height, width, channels = observation_space(options, "pixels").shape or (0, 0, 0)
    return frames * height * width * (channels + 1)


def pretrain(
    options: GameOptions,
    settings: Pretraining,
    *,
    policy: EncoderPolicy | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Pretrained:
    """Pretrain an encoder on frames that an agent collects in a game, on the CPU, in bfloat16 where that is fast.

    Parameters
    ----------
    options : GameOptions
        The game; the settings decide its levels.
    settings : Pretraining
        Objective, encoder and training settings.
    policy : EncoderPolicy, optional
        The agent; by default a random one.
    report : callable
        Called with a line after every epoch.

    Returns
    -------
    Pretrained

    Raises
    ------
    ValueError
        If the frames take more memory than there is.
    lcd.agents.TrainingDiverged
        If the loss is not finite.
    """
    if frame_bytes(options, settings.frames) > memory():
        raise ValueError(f"{settings.frames:,} frames take more memory than there is: use fewer.")
    training = options.training_levels(settings.num_levels)
    unseen = options.unseen_levels(settings.num_levels)
    held_out = max(FEWEST, int(HELD_OUT * settings.frames))
    frames = collect_frames(training, settings.frames, policy=policy, seed=settings.seed)
    others = collect_frames(unseen, held_out, policy=policy, seed=settings.seed + 1)
    classes = family_of(options).action_classes(options)
    encoder, evaluation = pretrain_on_frames(frames, others, classes, settings, report=report)
    data = {
        **{name: value for name, value in options.as_record().items() if name != "num_levels"},
        "seen_by": "a random agent" if policy is None else "a trained agent",  # a key of files that exist
        "game_version": family_of(options).version(options),
    }
    return Pretrained(encoder, asdict(settings) | data | evaluation)


def pretrain_on_frames(
    frames: GameFrames,
    others: GameFrames,
    classes: ActionClasses,
    settings: Pretraining,
    *,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[Encoder, dict[str, Any]]:
    """Pretrain an encoder on given frames, of any game and of any size that the encoder takes.

    Parameters
    ----------
    frames, others : GameFrames
        Training and evaluation frames, of one size, for which the encoder is made.
    classes : tuple of tuple of int
        Groups of equivalent actions; together all actions, counted from 0.
    settings : Pretraining
        Objective, encoder and training settings; those of the game and of the number of frames are ignored.
    report : callable
        Called with a line after every epoch.

    Returns
    -------
    Encoder
        The encoder with its pretrained backbone.
    dict
        Measure, score, untrained, chance and precision, see `Pretrained`.

    Raises
    ------
    ValueError
        If the frames are too few for a batch, differ in size, are too small for the encoder or lack labels that the
        objective needs, or an action is in no class.
    lcd.agents.TrainingDiverged
        If the loss is not finite.
    """
    _check(frames, others, classes, settings)
    keep_freed_memory()
    with seeded(settings.seed):
        made, arguments = parse_encoder(settings.architecture)
        space = spaces.Box(0, 255, (frames.channels, *frames.image_size), np.uint8)
        check_weights(settings.architecture, made, arguments, space)
        encoder = made(space, **arguments)
        objective = OBJECTIVES[settings.objective](encoder.backbone_dim, classes, frames.channels)
        untrained = evaluate_objective(encoder, objective, others, settings.batch_size)
        _train(encoder, objective, frames, others, settings, report)
    return encoder.eval(), {
        "measure": objective.measure,
        "score": evaluate_objective(encoder, objective, others, settings.batch_size),
        "untrained": untrained,
        "chance": objective.chance(frames, others, settings.batch_size),
        "precision": "bfloat16" if bfloat16_is_fast(torch.device("cpu")) else "float32",
    }


def _check(frames: GameFrames, others: GameFrames, classes: ActionClasses, settings: Pretraining) -> None:
    if frames.frames.shape[2:] != others.frames.shape[2:]:
        sizes = (" x ".join(map(str, each.frames.shape[2:])) for each in (frames, others))
        raise ValueError(f"Training and evaluation frames must have one shape, not {' and '.join(sizes)}.")
    if sorted(action for members in classes for action in members) != list(range(sum(map(len, classes)))):
        raise ValueError(f"Action classes must hold each action once, counted from 0, unlike {classes}.")
    actions = sum(map(len, classes))
    for what, given in (("training", frames), ("evaluation", others)):
        if len(given) < settings.batch_size:
            raise ValueError(
                f"{len(given)} steps within episodes for {what} do not fill a batch of {settings.batch_size}: give "
                "more, or lower batch_size."
            )
        if beyond := [int(action) for action in np.unique(given.actions) if not 0 <= action < actions]:
            raise ValueError(
                f"The action {beyond[0]} is in no class: the classes are of the actions 0 to {actions - 1}."
            )
        if given.labels is None and OBJECTIVES[settings.objective].needs_labels:
            raise ValueError(
                f"The objective {settings.objective} needs label maps, and the {what} frames have none: give them "
                "labels, or choose another objective."
            )


def _train(
    encoder: Encoder,
    objective: Objective,
    frames: GameFrames,
    others: GameFrames,
    settings: Pretraining,
    report: Callable[[str], None],
) -> None:
    parameters = [*encoder.backbone.parameters(), *objective.parameters()]
    batches = len(frames) // settings.batch_size
    optimizer = torch.optim.Adam(parameters, settings.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.epochs * batches + 1
    )
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for epoch in range(settings.epochs):
        encoder.train()
        losses = []
        for batch in frames.batches(settings.batch_size, settings.seed + epoch):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16_is_fast(torch.device("cpu"))):
                loss = objective.loss(encoder, batch)
            if not torch.isfinite(loss):
                raise TrainingDiverged(f"The loss of {settings.objective} is {float(loss)}: lower the learning rate.")
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        score = evaluate_objective(encoder, objective, others, settings.batch_size)
        report(f"epoch {epoch + 1} of {settings.epochs}: loss {np.mean(losses):.4f}, {objective.measure} {score:.3f}")


def evaluate_objective(encoder: Encoder, objective: Objective, frames: GameFrames, batch_size: int) -> float:
    """Mean score of an objective over batches of frames."""
    encoder.eval()
    return float(np.mean([objective.score(encoder, batch) for batch in frames.batches(batch_size, 0)]))
