"""Rounds of asking the expert and learning from all its answers so far (DAgger)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from agents import EncoderPolicy, load_policy, save_policy
from envs import ProcgenOptions
from lcd.files import replacing
from lcd.teachers.demonstrations import Demonstrations, demonstrate
from lcd.teachers.distillation import distil
from lcd.teachers.recipes import Recipe
from lcd.teachers.student import untaught

SHARD = 4096
"""States labelled in one go: what an interruption can cost."""


def take_advice(
    options: ProcgenOptions, recipe: Recipe, folder: Path, *, report: Callable[[str], None] = lambda line: None
) -> EncoderPolicy:
    """Teach a student what the expert of a recipe does.

    Parameters
    ----------
    options
        The game and its training levels.
    recipe
        With advice.
    folder
        Existing folder for labelled states and students; the same call goes on from what is there, to the same weights.
    report
        Is told of every finished step.

    Returns
    -------
    EncoderPolicy
        The student of the last round.
    """
    assert recipe.advice is not None
    policy = untaught(options.game, recipe.encoder)
    shown: list[Demonstrations] = []
    for number in range(recipe.advice.rounds):
        shown += _collect(options, recipe, folder, number, policy if number else None, report)
        file = folder / f"student-{number}.safetensors"
        if not file.exists():
            reached = distil(
                policy, shown, temperature=recipe.advice.temperature, epochs=recipe.advice.epochs, seed=number
            )
            with replacing(file) as partial:
                save_policy(policy, partial, {"game": options.game, "round": number} | reached)
            report(
                f"{options.game}, round {number + 1} of {recipe.advice.rounds}: loss {reached['loss']:.3f}, agreement "
                f"{reached['agreement']:.2f} with the expert"
            )
        policy = load_policy(file)[0]
    return policy


def _collect(
    options: ProcgenOptions,
    recipe: Recipe,
    folder: Path,
    number: int,
    student: EncoderPolicy | None,
    report: Callable[[str], None],
) -> list[Demonstrations]:
    """The labelled states of one round."""
    assert recipe.advice is not None
    count = math.ceil(recipe.advice.states / SHARD)
    shards = []
    for index in range(count):
        path = folder / f"round-{number}-{index}.npz"
        if not path.exists():
            size = min(SHARD, recipe.advice.states)
            demonstrate(options, recipe.expert, recipe.advice, size, student, seed=number * count + index).save(path)
            report(
                f"{options.game}, round {number + 1} of {recipe.advice.rounds}: part {index + 1} of {count} labelled"
            )
        shards.append(Demonstrations.load(path))
    return shards
