"""The plan of a diagnosis: its runs, as data, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from lcd.agents import EncoderName, EncoderPolicy
from lcd.agents.machine import fastest_precision
from lcd.agents.policy_file import LARGEST as LARGEST_POLICY
from lcd.envs import GameOptions, family_of
from lcd.envs.family import game_options, observation_space, policy_spaces
from lcd.envs.random_play import random_return
from lcd.experiments.learners import get_learner
from lcd.experiments.presets import Preset
from lcd.experiments.settings import EXPERT, Evaluation, RunSettings
from lcd.io.files import checksum
from lcd.io.untrusted import LARGEST_WEIGHTS, check_file
from lcd.measurement.scores import CELLS, Normalisation

FORMAT = "lcd.plan/1"


@dataclass(frozen=True)
class GivenTeacher:
    """A teacher from a file.

    Attributes
    ----------
    path
        The file, as `lcd.agents.save_policy` writes it.
    checksum
        SHA-256 of its content; runs with another teacher are other runs.
    name
        Its name in reports.
    """

    path: Path
    checksum: str
    name: str

    @classmethod
    def from_file(cls, path: Path, name: str | None = None) -> GivenTeacher:
        """Read the checksum of a file; the name is its path unless one is given.

        Raises
        ------
        ValueError
            If there is no such file.
        """
        check_file(path, LARGEST_POLICY, what="teacher file")
        return cls(path, checksum(path), name or str(path))

    def check(self) -> None:
        """Check that the file has not changed since it was read.

        Raises
        ------
        ValueError
            If it has changed or is missing.
        """
        if not self.path.is_file() or checksum(self.path) != self.checksum:
            raise ValueError(
                f"The teacher {self.path} is gone or has changed since the run was planned: start the command again."
            )


@dataclass(frozen=True)
class GamePlan:
    """The runs that diagnose one game.

    Attributes
    ----------
    game
        The game.
    budget
        Environment steps of each cell.
    normalisation
        Returns that count as scores 0 and 1; None where the best return is not known before the runs are finished.
    random
        Return of a random policy, where it was measured.
    teacher_run
        The run that trains the teacher, or None where one is given. Its first part, up to the budget, is also the run
        (semantic, rl) with the same seed.
    given_teacher
        The teacher, where one is given.
    cells
        All other runs.
    """

    game: str
    budget: int
    normalisation: Normalisation | None
    teacher_run: RunSettings | None
    given_teacher: GivenTeacher | None
    cells: tuple[RunSettings, ...]
    random: float | None = None

    @property
    def constants(self) -> dict[str, Any]:
        """The normalisation constants as plain data, as far as they are known."""
        if self.normalisation is None:
            return {"random": self.random, "best": None, "source": "measured"}
        return asdict(self.normalisation)

    @property
    def runs(self) -> tuple[RunSettings, ...]:
        """All runs in an executable order, the longest first."""
        return (*(() if self.teacher_run is None else (self.teacher_run,)), *self.cells)


@dataclass(frozen=True)
class Plan:
    """Games × cells × seeds, with the budget of each.

    Attributes
    ----------
    games
        The plan of each game.
    """

    games: tuple[GamePlan, ...]

    @property
    def runs(self) -> tuple[RunSettings, ...]:
        """All runs, game by game; in each the teacher first, as others depend on it, and imitation last."""

        def place(run: RunSettings) -> tuple[bool, bool]:
            return not run.keep_best, run.learning == "imitation"

        runs = [run for game in self.games for run in sorted(game.runs, key=place)]
        return tuple({run.identity: run for run in runs}.values())

    @property
    def steps(self) -> int:
        """Environment steps of all runs."""
        return sum(run.steps for run in self.runs)

    def as_dict(self) -> dict[str, Any]:
        """Plain data that describes the plan completely."""
        return {
            "format": FORMAT,
            "games": [
                {
                    "game": plan.game,
                    "budget": plan.budget,
                    "normalisation": plan.constants,
                    "teacher": None if plan.given_teacher is None else plan.given_teacher.checksum,
                    "runs": [run.as_dict() for run in plan.runs],
                }
                for plan in self.games
            ],
        }


def evaluated_steps(preset: Preset) -> tuple[int, ...]:
    """Steps of the evaluations: multiples of the rollout, up to the preset's steps rounded up."""
    rollout = preset.hyperparameters.rollout
    rollouts = -(-preset.steps // rollout)
    evaluations = min(preset.evaluations, rollouts)
    if preset.spacing == "even":
        ends = [round(index * rollouts / evaluations) for index in range(1, evaluations + 1)]
    else:
        ends = [round(rollouts ** (index / max(1, evaluations - 1))) for index in range(evaluations)]
    return tuple(end * rollout for end in sorted({0, *ends, rollouts}))


def _continued(evaluation: Evaluation, factor: int) -> Evaluation:
    """Repeat the schedule of evaluations for a run that is a number of times as long."""
    budget = evaluation.steps[-1]
    further = (part * budget + step for part in range(1, factor) for step in evaluation.steps[1:])
    return replace(evaluation, steps=(*evaluation.steps, *further))


def cells_of(
    base: RunSettings, options: GameOptions, seeds: Sequence[int], teacher: str, teacher_seed: int | None = None
) -> Iterator[RunSettings]:
    """Runs of every cell with every seed, except the one that is the first part of the teacher's run.

    Parameters
    ----------
    base
        What the cells share.
    options
        The game; each cell takes of it what is relevant to it, so that runs are shared.
    seeds
        Their seeds.
    teacher
        Identity of the teacher.
    teacher_seed
        Seed of the run that trains it, if one does.
    """
    for view, learning in CELLS.values():
        for seed in seeds:
            if (view, learning) == (base.view, base.learning) and seed == teacher_seed:
                continue  # the first part of the teacher's run
            yield replace(
                base,
                options=options.relevant_to(view, learning),
                view=view,
                learning=learning,
                seed=seed,
                teacher=teacher if get_learner(learning).needs_teacher else None,
            )


def weights_checksum(encoder: str) -> str | None:
    """SHA-256 of the weights file in an encoder's name, None without one.

    Raises
    ------
    ValueError
        If there is no such file.
    """
    file = EncoderName.read(encoder).weights
    if file is None:
        return None
    check_file(file, LARGEST_WEIGHTS, what="file of weights", lost=f"check the path after @ in {encoder!r}")
    return checksum(file)


def check_encoder(encoder: str, options: GameOptions) -> None:
    """Check before training that an encoder is available, and takes a game's frames.

    Raises
    ------
    ValueError
        If it is unknown, its weights are missing or do not fit, or a package that it needs is not installed.
    """
    name = EncoderName.read(encoder)
    if name.weights is not None or name.comes_with_weights:
        frames, actions = policy_spaces(options, "pixels")
        _try_encoder(encoder, weights_checksum(encoder), frames.shape or (), int(actions.n))


@cache  # every game of a survey asks
def _try_encoder(encoder: str, content: str | None, shape: tuple[int, ...], actions: int) -> None:
    frames = spaces.Box(0, 255, shape, np.uint8)
    EncoderPolicy(frames, spaces.Discrete(actions), lambda left: 0.0, encoder=encoder)


def plan_game(
    game: str | GameOptions,
    preset: Preset,
    *,
    teacher: GivenTeacher | None = None,
    train_teacher: bool = False,
    random: float | None = None,
    best: float | None = None,
) -> GamePlan:
    """Plan the runs that diagnose a game.

    Parameters
    ----------
    game
        Name of a game, or its options, whose levels the preset decides.
    preset
        Budget and settings.
    teacher
        A teacher to imitate; by default the game's own optimal policy, and where none is known, one that is trained.
    train_teacher
        Whether to train a teacher even where an optimal policy is known.
    random, best
        Returns that count as scores 0 and 1; by default those that are published or computed, and where there are none,
        what a random policy returns, and what the best of the teacher and the cells returns in the end.

    Returns
    -------
    GamePlan

    Raises
    ------
    ValueError
        If the game is unknown, or a number is invalid.
    """
    options = game if isinstance(game, GameOptions) else game_options(game)
    options = options.training_levels(preset.num_levels)
    family = family_of(options)
    for view, _ in CELLS.values():
        observation_space(options, view)  # refuses a game that has no such view
    known = family.normalisation(options) if random is None or best is None else None
    if known is not None:
        random, best = (known.random if random is None else random), (known.best if best is None else best)
    given = known is None or (random, best) != (known.random, known.best)
    if random is None:
        random = random_return(options)
    constants = known if not given else None if best is None else Normalisation(random, best, source="given")
    evaluated = evaluated_steps(preset)
    budget = evaluated[-1]
    base = RunSettings(
        options=options.relevant_to("semantic", "rl"),
        view="semantic",
        learning="rl",
        seed=0,
        steps=budget,
        evaluation=Evaluation(
            evaluated, num_envs=preset.evaluation_episodes, inverse_temperatures=preset.inverse_temperatures
        ),
        encoder=preset.encoder,
        eye=weights_checksum(preset.encoder),
        hyperparameters=preset.hyperparameters,
        precision=fastest_precision("cuda" if torch.cuda.is_available() else "cpu"),
        game_version=family.version(options),
    )
    making = None
    if teacher is not None:
        identity = teacher.checksum
    elif not train_teacher and family.has_expert(options):
        identity = EXPERT
    else:
        longer = _continued(base.evaluation, preset.teacher_factor)
        making = replace(base, steps=budget * preset.teacher_factor, evaluation=longer, keep_best=True)
        identity = making.identity
    teacher_seed = None if making is None else making.seed
    return GamePlan(
        game=options.game,
        budget=budget,
        normalisation=constants,
        teacher_run=making,
        given_teacher=teacher,
        cells=tuple(cells_of(base, options, range(preset.seeds), identity, teacher_seed)),
        random=random if constants is None else None,
    )
