"""Teaching an eye to see on a game's own frames, before any reward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from lcd.agents import Encoder, EncoderPolicy, TrainingDiverged, parse_encoder
from lcd.agents.machine import bfloat16_is_fast, keep_freed_memory
from lcd.envs import ProcgenOptions
from lcd.envs.procgen.actions import ActionClasses, action_classes
from lcd.envs.procgen.batch import FRAME_SHAPE
from lcd.envs.procgen.options import LEVEL_SEEDS
from lcd.io.limits import LARGEST_SEED, MOST_EPOCHS, real_number, text, whole_number
from lcd.io.untrusted import memory
from lcd.pretraining.frames import GameFrames, collect_frames
from lcd.pretraining.objectives import OBJECTIVES, Objective

FRAMES = spaces.Box(0, 255, (3, *FRAME_SHAPE), np.uint8)
"""Frames of Procgen, as a network takes them."""

HELD_OUT = 0.1
"""Frames of unseen levels on which an eye is examined, as a share of those that it learns on."""

BYTES_OF_FRAME = 64 * 64 * (3 + 1)  # with its label map

FEWEST = 2_048
"""Steps to learn from, at the least."""


@dataclass(frozen=True)
class Pretraining:
    """How an eye is taught.

    Attributes
    ----------
    objective
        A name in `lcd.pretraining.objectives.OBJECTIVES`.
    architecture
        Name of the encoder, see `lcd.agents.parse_encoder`.
    frames
        Steps of the game to learn from.
    epochs
        Passes over them.
    batch_size, learning_rate
        Of Adam.
    num_levels
        Training levels; no frame of another level is learned from.
    seed
        Of weights, frames and their order.
    """

    objective: str
    architecture: str = "nature"
    frames: int = 50_000
    epochs: int = 5
    batch_size: int = 256
    learning_rate: float = 1e-3
    num_levels: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"Unknown objective {self.objective!r}: choose one of {', '.join(OBJECTIVES)}.")
        parse_encoder(text("architecture", self.architecture))
        whole_number("frames", self.frames, 0)
        if self.frames < FEWEST:
            raise ValueError(f"An eye learns from at least {FEWEST} frames, not from {self.frames}.")
        if self.frames * BYTES_OF_FRAME > memory():
            raise ValueError(f"{self.frames:,} frames take more memory than there is: take fewer.")
        whole_number("epochs", self.epochs, 1, MOST_EPOCHS)
        whole_number("num_levels", self.num_levels, 1, LEVEL_SEEDS - 1)
        whole_number("seed", self.seed, 0, LARGEST_SEED)
        whole_number("batch_size", self.batch_size)
        real_number("learning_rate", self.learning_rate)
        if not 1 < self.batch_size <= FEWEST // 2:
            raise ValueError(f"batch_size must lie between 2 and {FEWEST // 2}, not be {self.batch_size}.")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be a number above 0, not {self.learning_rate}.")


@dataclass(frozen=True, eq=False)
class Pretrained:
    """An eye that learned something.

    Attributes
    ----------
    encoder
        It has the eye.
    card
        What is to be known of it, as JSON data: settings, game, and how well it does what it learned on frames of
        unseen levels (``score``), by which measure, and the score of an eye that sees nothing (``chance``) and of the
        same eye before it learned (``untrained``).
    """

    encoder: Encoder
    card: dict[str, Any]


def pretrain(
    options: ProcgenOptions,
    settings: Pretraining,
    *,
    policy: EncoderPolicy | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Pretrained:
    """Teach an eye on what an agent sees of a game.

    Parameters
    ----------
    options : ProcgenOptions
        The game; its levels are those that the settings say.
    settings : Pretraining
        How.
    policy : EncoderPolicy, optional
        Who plays; by default an agent that acts at random.
    report : callable
        Is told of every pass.

    Returns
    -------
    Pretrained

    Raises
    ------
    lcd.agents.TrainingDiverged
        If the loss is not finite.
    """
    training = options.training_levels(settings.num_levels)
    unseen = options.unseen_levels(settings.num_levels)
    held_out = max(FEWEST, int(HELD_OUT * settings.frames))
    frames = collect_frames(training, settings.frames, policy=policy, seed=settings.seed)
    others = collect_frames(unseen, held_out, policy=policy, seed=settings.seed + 1)
    encoder, examined = teach(frames, others, action_classes(options.game), settings, report=report)
    seen = {
        "game": options.game,
        "distribution_mode": options.distribution_mode,
        "seen_by": "a random agent" if policy is None else "a trained agent",
    }
    return Pretrained(encoder, asdict(settings) | seen | examined)


def teach(
    frames: GameFrames,
    others: GameFrames,
    classes: ActionClasses,
    settings: Pretraining,
    *,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[Encoder, dict[str, Any]]:
    """Teach an eye on given frames, of any game and of any size that the encoder takes.

    Parameters
    ----------
    frames, others : GameFrames
        To learn from, and to be examined on; of one size. The encoder is made for that size.
    classes : tuple of tuple of int
        Groups of actions that do the same; together all actions that there are, which count from 0.
    settings : Pretraining
        How; what they say of the game and of the number of frames is not asked for.
    report : callable
        Is told of every pass.

    Returns
    -------
    Encoder
        It has the eye.
    dict
        Measure, score, untrained and chance, see `Pretrained`.

    Raises
    ------
    ValueError
        If the frames are too few for a batch, of two sizes, too small for the encoder, or without the labels that the
        objective asks for, or an action is none.
    lcd.agents.TrainingDiverged
        If the loss is not finite.
    """
    _check(frames, others, classes, settings)
    keep_freed_memory()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        made, arguments = parse_encoder(settings.architecture)
        encoder = made(spaces.Box(0, 255, (3, *frames.image_size), np.uint8), **arguments)
        objective = OBJECTIVES[settings.objective](encoder.backbone_dim, classes)
        untrained = examine(encoder, objective, others, settings.batch_size)
        _train(encoder, objective, frames, others, settings, report)
    return encoder.eval(), {
        "measure": objective.measure,
        "score": examine(encoder, objective, others, settings.batch_size),
        "untrained": untrained,
        "chance": objective.chance(frames, others, settings.batch_size),
    }


def _check(frames: GameFrames, others: GameFrames, classes: ActionClasses, settings: Pretraining) -> None:
    if frames.image_size != others.image_size:
        sizes = (" x ".join(map(str, each.image_size)) for each in (frames, others))
        raise ValueError(f"Frames to learn from and to be examined on have one size, not {' and '.join(sizes)} pixels.")
    if sorted(action for members in classes for action in members) != list(range(sum(map(len, classes)))):
        raise ValueError(f"Classes of actions hold each action once, counted from 0, unlike {classes}.")
    actions = sum(map(len, classes))
    for what, given in (("learn from", frames), ("be examined on", others)):
        if len(given) < settings.batch_size:
            raise ValueError(
                f"{len(given)} steps within episodes to {what} do not fill a batch of {settings.batch_size}: give "
                "more, or lower batch_size."
            )
        if beyond := [int(action) for action in np.unique(given.actions) if not 0 <= action < actions]:
            raise ValueError(
                f"The action {beyond[0]} is in no class: the classes are of the actions 0 to {actions - 1}."
            )
        if given.labels is None and OBJECTIVES[settings.objective].needs_labels:
            raise ValueError(
                f"The objective {settings.objective} is learned from label maps, and the frames to {what} have none: "
                "give them labels, or choose another objective."
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
        score = examine(encoder, objective, others, settings.batch_size)
        report(f"pass {epoch + 1} of {settings.epochs}: loss {np.mean(losses):.4f}, {objective.measure} {score:.3f}")


def examine(encoder: Encoder, objective: Objective, frames: GameFrames, batch_size: int) -> float:
    """Mean score over all batches of some frames."""
    encoder.eval()
    return float(np.mean([objective.score(encoder, batch) for batch in frames.batches(batch_size, 0)]))
