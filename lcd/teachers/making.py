"""Making a teacher: a course and an examination."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from lcd.agents import EncoderPolicy, load_policy, save_policy
from lcd.agents.teacher import check_finite
from lcd.envs import ProcgenOptions
from lcd.experiments.versions import versions
from lcd.io.files import checksum, replacing
from lcd.io.untrusted import read_csv, read_text
from lcd.teachers.evaluation import examine, examine_expert, sharpest
from lcd.teachers.initial import untaught
from lcd.teachers.library import Card, teacher_name
from lcd.teachers.recipes import Recipe
from lcd.teachers.training import COOL_DOWN, Course, reinforce

TRAINING_LEVELS = 100_000
"""A teacher learns on these levels; all others are unseen."""

EXPERT_EPISODES = 32
SEEDS = {"sharpness": 1, "training": 2, "unseen": 3, "expert": 3}


def make_teacher(
    options: ProcgenOptions,
    recipe: Recipe,
    folder: Path,
    *,
    episodes: int = 512,
    expert_episodes: int = EXPERT_EPISODES,
    begin: tuple[Path, Card] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[Path, Card]:
    """Carry out a recipe and examine what came of it.

    Everything finished is kept in the folder, and the same call goes on from there.

    Parameters
    ----------
    options
        The game and its training levels.
    recipe
        How its teacher is made.
    folder
        Where what each leg leaves and the teacher go; made if need be.
    episodes, expert_episodes
        Of each examination of the teacher, and of the one of the expert.
    begin
        Another teacher of the game and its card, to go on from: it learns the recipe's steps more, over all of which
        the learning rate falls.
    report
        Is told of every finished step.

    Returns
    -------
    Path
        The teacher's file, named after the game, with half-precision weights.
    Card
        Its card, which is written beside it.

    Raises
    ------
    ValueError
        If the folder belongs to another recipe, or the teacher to go on from is of another game, has another encoder
        or weights that are not finite.
    lcd.agents.TrainingDiverged
        If a loss is not finite.
    """
    first, before = (None, None) if begin is None else (_student(*begin, recipe, options.game), begin[1])
    _claim(folder, options, recipe, None if before is None else before.checksum)
    cool_down = COOL_DOWN if before is None else 1.0
    course = Course(recipe.steps, recipe.hyperparameters, recipe.encoder, recipe.guidance, recipe.guide, cool_down)
    policy = reinforce(options, course, folder, begin=first, report=report)
    sharpness = sharpest(policy, options, episodes // 2, SEEDS["sharpness"])
    file = folder / f"{teacher_name(options.game, options.distribution_mode)}.safetensors"
    made_for = {"game": options.game, "distribution_mode": options.distribution_mode}
    with replacing(file) as partial:
        save_policy(policy, partial, made_for | {"recipe": asdict(recipe)}, half=True)
    teacher = load_policy(file)[0]
    unseen = options.unseen_levels(TRAINING_LEVELS)
    legs = read_csv(folder / "legs.csv", remedy="remove it, and start the same command again")
    card = Card(
        game=options.game,
        distribution_mode=options.distribution_mode,
        recipe=asdict(recipe),
        steps=int(legs["steps"].iloc[-1]) + (before.steps if before else 0),
        core_hours=round(float(legs["core_hours"].sum()) + (before.core_hours if before else 0), 2),
        sharpness=sharpness,
        training=examine(teacher, options, episodes, SEEDS["training"]),
        unseen=examine(teacher, unseen, episodes, SEEDS["unseen"]),
        expert=examine_expert(unseen, recipe.expert, expert_episodes, SEEDS["expert"]),
        versions=versions(),
        checksum=checksum(file),
        begun_from=before.checksum if before else None,
    )
    card.write(file.with_suffix(".json"))
    share = card.share_of_long_training(card.unseen)
    report(
        f"{file.stem}: {card.unseen.mean:.2f} [{card.unseen.low:.2f}, {card.unseen.high:.2f}] on unseen levels, "
        + ("" if share is None else f"{share:.0%} of long training; ")
        + f"the expert {card.expert.mean:.2f}"
    )
    return file, card


def _student(path: Path, card: Card, recipe: Recipe, game: str) -> EncoderPolicy:
    """What a finished teacher has learned, in the recipe's encoder: its own, or another that its weights fit.

    It is as undecided again as it was before its examination: a policy made four times as sure of itself moves four
    times as far with every gradient, and unlearns.
    """
    if card.game != game:
        raise ValueError(f"The teacher {path} was made for {card.game}, not for {game}: choose another to go on from.")
    student, before = untaught(game, recipe.encoder), load_policy(path)[0]
    check_finite(before, f"The teacher {path}")
    try:
        student.load_state_dict(before.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"The teacher {path} has the encoder {card.recipe['encoder']}, whose weights do not fit the recipe's "
            f"{recipe.encoder}: it can't go on from there; make it from the beginning."
        ) from error
    student.scale_logits(1 / card.sharpness)
    return student


def _claim(folder: Path, options: ProcgenOptions, recipe: Recipe, begun_from: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    settings = asdict(recipe)
    del settings["steps"]  # a longer course goes on from a shorter one
    claimed = {"options": options.as_dict(), "recipe": settings, "begun_from": begun_from}
    text = json.dumps(claimed, indent=1)
    claim = folder / "recipe.json"
    if claim.exists() and read_text(claim, 2**20, remedy="choose another folder or remove it") != text:
        raise ValueError(
            f"{folder} holds the work of another recipe for {options.game}: choose another folder or remove it."
        )
    with replacing(claim) as partial:
        partial.write_text(text)
