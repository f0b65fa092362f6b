"""Making a teacher: advice where the recipe has some, PPO, and an examination."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from agents import EncoderPolicy
from envs import ProcgenOptions
from lcd.files import replacing
from lcd.teachers.advice import take_advice
from lcd.teachers.recipes import Recipe
from lcd.teachers.reinforcement import Course, reinforce

TRAINING_LEVELS = 100_000
"""A teacher learns on these levels; all others are unseen."""


def make_teacher(
    options: ProcgenOptions, recipe: Recipe, folder: Path, *, report: Callable[[str], None] = lambda line: None
) -> EncoderPolicy:
    """Carry out a recipe.

    Everything finished is kept in the folder, and the same call goes on from there.

    Parameters
    ----------
    options
        The game and its training levels.
    recipe
        How its teacher is made.
    folder
        Where states and students go; made if need be.
    report
        Is told of every finished step.

    Returns
    -------
    EncoderPolicy
        The teacher.

    Raises
    ------
    ValueError
        If the folder belongs to another recipe.
    agents.TrainingDiverged
        If a loss is not finite.
    """
    _claim(folder, options, recipe)
    begin = None if recipe.advice is None else take_advice(options, recipe, folder, report=report).state_dict()
    course = Course(recipe.steps, recipe.hyperparameters, recipe.encoder)
    return reinforce(options, course, folder, begin=begin, report=report)


def _claim(folder: Path, options: ProcgenOptions, recipe: Recipe) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    settings = asdict(recipe)
    del settings["steps"]  # a longer course goes on from a shorter one
    text = json.dumps({"options": options.as_dict(), "recipe": settings}, indent=1)
    claim = folder / "recipe.json"
    if claim.exists() and claim.read_text() != text:
        raise ValueError(
            f"{folder} holds the work of another recipe for {options.game}: choose another folder or remove it."
        )
    with replacing(claim) as partial:
        partial.write_text(text)
