"""Making a teacher: training, tuning of its temperature, and evaluation."""

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
from lcd.teachers.evaluation import evaluate_expert, evaluate_teacher, tune_inverse_temperature
from lcd.teachers.initial import untrained_policy
from lcd.teachers.library import Card, teacher_name
from lcd.teachers.recipes import Recipe
from lcd.teachers.training import ANNEALED_SHARE, TrainingRun, train_policy

TRAINING_LEVELS = 100_000
"""Number of training levels of a teacher; all other levels are unseen."""

EXPERT_EPISODES = 32
SEEDS = {"inverse_temperature": 1, "training": 2, "unseen": 3, "expert": 3}


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
    """Train a teacher by a recipe and evaluate it.

    Finished segments are kept in the folder, and the same call resumes from them.

    Parameters
    ----------
    options
        The game and its training levels.
    recipe
        How it is trained.
    folder
        Folder for checkpoints, the teacher and its card; made if need be.
    episodes, expert_episodes
        Episodes of each evaluation of the teacher, and of the expert.
    begin
        Another teacher of the game and its card, to start from: it is trained for the recipe's steps more, and the
        learning rate is annealed over all of them.
    report
        Is called with a line of text after every finished step.

    Returns
    -------
    Path
        The teacher's file, named after the game, with half-precision weights.
    Card
        Its card, which is written beside it.

    Raises
    ------
    ValueError
        If there are no teachers for the mode, the folder belongs to another recipe, or the teacher to start from is of
        another game, has another encoder or weights that are not finite.
    lcd.agents.TrainingDiverged
        If a loss is not finite.
    """
    named = teacher_name(options.game, options.distribution_mode)
    first, before = (None, None) if begin is None else (_student(*begin, recipe, options.game), begin[1])
    _claim(folder, options, recipe, None if before is None else before.checksum)
    annealed_share = ANNEALED_SHARE if before is None else 1.0
    run = TrainingRun(
        recipe.steps, recipe.hyperparameters, recipe.encoder, recipe.shaping, recipe.label_expert, annealed_share
    )
    policy = train_policy(options, run, folder, begin=first, report=report)
    inverse_temperature = tune_inverse_temperature(policy, options, episodes // 2, SEEDS["inverse_temperature"])
    file = folder / f"{named}.safetensors"
    made_for = {"game": options.game, "distribution_mode": options.distribution_mode}
    with replacing(file) as partial:
        save_policy(policy, partial, made_for | {"recipe": asdict(recipe)}, half=True)
    teacher = load_policy(file)[0]
    unseen = options.unseen_levels(TRAINING_LEVELS)
    table = read_csv(folder / "segments.csv", remedy="remove it, and start the same command again")
    card = Card(
        game=options.game,
        distribution_mode=options.distribution_mode,
        recipe=asdict(recipe),
        steps=int(table["steps"].iloc[-1]) + (before.steps if before else 0),
        core_hours=round(float(table["core_hours"].sum()) + (before.core_hours if before else 0), 2),
        inverse_temperature=inverse_temperature,
        training=evaluate_teacher(teacher, options, episodes, SEEDS["training"]),
        unseen=evaluate_teacher(teacher, unseen, episodes, SEEDS["unseen"]),
        expert=evaluate_expert(unseen, recipe.expert, expert_episodes, SEEDS["expert"]),
        versions=versions(),
        checksum=checksum(file),
        begun_from=before.checksum if before else None,
    )
    card.write(file.with_suffix(".json"))
    share = card.share_of_ppo_50m(card.unseen)
    report(
        f"{file.stem}: {card.unseen.mean:.2f} [{card.unseen.low:.2f}, {card.unseen.high:.2f}] on unseen levels, "
        + ("" if share is None else f"{share:.0%} of PPO after 50M steps; ")
        + f"the expert {card.expert.mean:.2f}"
    )
    return file, card


def _student(path: Path, card: Card, recipe: Recipe, game: str) -> EncoderPolicy:
    """Load a finished teacher's weights into the recipe's encoder: its own, or another that they fit.

    The inverse temperature of its card is taken back: with logits four times as large every gradient step moves the
    policy four times as far, and it unlearns.
    """
    if card.game != game:
        raise ValueError(f"The teacher {path} was made for {card.game}, not for {game}: choose another to start from.")
    student, before = untrained_policy(game, recipe.encoder), load_policy(path)[0]
    check_finite(before, f"The teacher {path}")
    try:
        student.load_state_dict(before.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"The teacher {path} has the encoder {card.recipe['encoder']}, whose weights do not fit the recipe's "
            f"{recipe.encoder}: train it from the beginning."
        ) from error
    student.scale_logits(1 / card.inverse_temperature)
    return student


_EARLIER_NAMES = {'"guidance"': '"shaping"', '"way"': '"shortest-path"', '"wary"': '"enemy-avoiding"'}
"""Words in a recipe's file as earlier versions wrote it, and what they are now."""


def _claim(folder: Path, options: ProcgenOptions, recipe: Recipe, begun_from: str | None) -> None:
    """Write the recipe into the folder, or check that the folder is of the same recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = asdict(recipe)
    del settings["steps"]  # a longer run resumes from a shorter one
    claimed = {"options": asdict(options), "recipe": settings, "begun_from": begun_from}
    text = json.dumps(claimed, indent=1)
    claim = folder / "recipe.json"
    if claim.exists():
        found = read_text(claim, 2**20, remedy="choose another folder or remove it")
        for earlier, name in _EARLIER_NAMES.items():
            found = found.replace(earlier, name)
        if found != text:
            raise ValueError(
                f"{folder} holds the work of another recipe for {options.game}: choose another folder or remove it."
            )
    with replacing(claim) as partial:
        partial.write_text(text)
