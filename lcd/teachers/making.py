"""Making a teacher: rounds of asking the expert and learning from all its answers (DAgger)."""

from __future__ import annotations

import json
import math
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents import EncoderPolicy, evaluate, load_policy, save_policy
from envs import ProcgenOptions, ProcgenVecEnv
from envs.batch import ACTION_SPACE, observation_space
from lcd.files import replacing
from lcd.teachers.demonstrations import Demonstrations, demonstrate
from lcd.teachers.distillation import distil
from lcd.teachers.recipes import Recipe

TRAINING_LEVELS = 100_000
"""The expert's advice is about these levels; all others are unseen."""

SHARD = 4096
"""States labelled in one go: what an interruption can cost."""

EPISODES = 64


@dataclass(frozen=True)
class Round:
    """What one round of making a teacher came to.

    Attributes
    ----------
    number
        From 0.
    states
        Labelled so far.
    loss, agreement
        Of the student with the expert, see `distil`.
    expert_return, expert_episodes
        Mean return of the expert's own complete episodes in this round, slips included, and their number.
    student_return, student_error
        Mean return of the student on unseen levels, and its standard error.
    seconds
        Time that the round took, on this machine.
    """

    number: int
    states: int
    loss: float
    agreement: float
    expert_return: float
    expert_episodes: int
    student_return: float
    student_error: float
    seconds: float


def make_teacher(
    game: str, recipe: Recipe, folder: Path, *, workers: int = 1, report: Callable[[str], None] = lambda line: None
) -> Path:
    """Carry out a recipe.

    Everything finished is kept in the folder, and the same call goes on from there.

    Parameters
    ----------
    game
        The game.
    recipe
        How its teacher is made.
    folder
        Where states and students go; made if need be.
    workers
        Processes that ask the expert.
    report
        Is told of every finished step.

    Returns
    -------
    Path
        File of the last student.

    Raises
    ------
    ValueError
        If the folder belongs to another recipe.
    """
    _claim(folder, game, recipe)
    previous: Path | None = None
    for number in range(recipe.rounds):
        started = time.perf_counter()
        shards = _collect(game, recipe, folder, number, previous, workers, report)
        file = folder / f"student-{number}.safetensors"
        if not file.exists():
            shown = [Demonstrations.load(path) for path in shards]
            report(_learn(game, recipe, number, shown, previous, file, started))
        previous = file
    assert previous is not None
    return previous


def _claim(folder: Path, game: str, recipe: Recipe) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"game": game, "recipe": asdict(recipe)}, indent=1)
    claim = folder / "recipe.json"
    if claim.exists() and claim.read_text() != text:
        raise ValueError(f"{folder} holds the work of another recipe for {game}: choose another folder or remove it.")
    with replacing(claim) as partial:
        partial.write_text(text)


def _collect(
    game: str,
    recipe: Recipe,
    folder: Path,
    number: int,
    student: Path | None,
    workers: int,
    report: Callable[[str], None],
) -> list[Path]:
    """See to it that all shards up to a round exist, and give their paths."""
    count = math.ceil(recipe.states / SHARD)
    paths = [[folder / f"round-{earlier}-{index}.npz" for index in range(count)] for earlier in range(number + 1)]
    missing = [(index, path) for index, path in enumerate(paths[number]) if not path.exists()]
    if missing:
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            tasks = {
                pool.submit(_show, game, recipe, path, student, min(SHARD, recipe.states), number * count + index): path
                for index, path in missing
            }
            for done in as_completed(tasks):
                done.result()
                report(f"{game}, round {number + 1} of {recipe.rounds}: {tasks[done].name}")
    return [path for shards in paths for path in shards]


def _show(game: str, recipe: Recipe, path: Path, student: Path | None, count: int, seed: int) -> None:
    """Body of a worker: label one shard."""
    torch.set_num_threads(1)
    policy = None if student is None else load_policy(student)[0]
    options = ProcgenOptions(game, num_levels=TRAINING_LEVELS)
    demonstrate(options, recipe, count, policy, seed=seed).save(path)


def _learn(
    game: str,
    recipe: Recipe,
    number: int,
    shown: list[Demonstrations],
    previous: Path | None,
    file: Path,
    started: float,
) -> str:
    """Train this round's student and write it down."""
    if previous is None:
        torch.manual_seed(0)
        policy = EncoderPolicy(observation_space("semantic"), ACTION_SPACE, lambda _: 0.0, recipe.encoder)
    else:
        policy = load_policy(previous)[0]
    epochs = recipe.last_epochs if number == recipe.rounds - 1 else recipe.epochs
    reached = distil(policy, shown, game, temperature=recipe.temperature, epochs=epochs, seed=number)
    env = ProcgenVecEnv(ProcgenOptions(game).unseen_levels(TRAINING_LEVELS), EPISODES, "semantic")
    returns = evaluate(policy, env, seed=1).returns.ravel()
    env.close()
    shards = math.ceil(recipe.states / SHARD)
    by_expert = np.concatenate([demonstrations.expert_returns for demonstrations in shown[-shards:]])
    outcome = Round(
        number,
        sum(len(demonstrations.values) for demonstrations in shown),
        reached["loss"],
        reached["agreement"],
        float(by_expert.mean()) if len(by_expert) else float("nan"),
        len(by_expert),
        float(returns.mean()),
        float(returns.std(ddof=1) / np.sqrt(len(returns))),
        time.perf_counter() - started,
    )
    card: dict[str, Any] = {"game": game, "recipe": asdict(recipe), "round": asdict(outcome)}
    with replacing(file) as partial:
        save_policy(policy, partial, card)
    return (
        f"{game}, round {number + 1} of {recipe.rounds}: {outcome.states:,} states, loss {outcome.loss:.3f}, agreement "
        f"{outcome.agreement:.2f}, expert {outcome.expert_return:.2f} ({outcome.expert_episodes} episodes), student "
        f"{outcome.student_return:.2f} +- {outcome.student_error:.2f}, {outcome.seconds:.0f} s"
    )
