"""The plan of a diagnosis: its runs, as data, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from gymnasium import spaces

from lcd.agents import EncoderName, EncoderPolicy
from lcd.agents.encoders.registry import module_of, version_of_encoder
from lcd.agents.machine import fastest_precision
from lcd.envs import GameOptions, family_of
from lcd.envs.family import game_options, observation_space, policy_spaces
from lcd.envs.random_play import random_return
from lcd.envs.views import PIXELS, SEMANTIC, get_view
from lcd.experiments.encoded_view import EncodedOptions
from lcd.experiments.given_teacher import GivenTeacher
from lcd.experiments.improvements import get_improvement, import_improvement, version_of_improvement
from lcd.experiments.learners import get_learner
from lcd.experiments.presets import Preset
from lcd.experiments.settings import EXPERT, Evaluation, RunPrecision, RunSettings
from lcd.io.files import checksum
from lcd.io.untrusted import LARGEST_WEIGHTS, check_file
from lcd.measurement.scores import CELLS, Cell, Normalisation

FORMAT = "lcd.plan/1"

UNMEASURED = "not measured yet"
"""Stands in the plain data of a plan for a return that has not been measured yet."""

EARLY = 4
"""The run of the control "early" is at most this part of a cell's budget, and ends with a cell's first evaluation."""


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
        Return that counts as score 0, where it is known but not the best; None where `random_return` measures it.
    best
        Return that counts as score 1, where it is known but not the random one.
    measured_random
        What a random policy returned when the plan was begun, where it was.
    teacher_run
        The run that trains the teacher, or None where one is given. It goes on from the best of the candidates.
    given_teacher
        The teacher, where one is given.
    cells
        The runs of the four cells.
    candidates
        The runs of which the best goes on as the teacher, none without `teacher_run`; those with the cells' seeds are
        theirs.
    early_run
        Where a frozen encoder is the privileged view: the short run from frames whose encoder is a control.
    controls
        And the runs whose privileged view is that of a control, by its name: ``"random"`` weights, or ``"early"``, the
        encoder of the short run.
    options
        The game on its training levels.
    levels_differ
        Whether the game's levels differ, see `lcd.envs.family.GameFamily.levels_differ`.
    """

    game: str
    budget: int
    normalisation: Normalisation | None
    teacher_run: RunSettings | None
    given_teacher: GivenTeacher | None
    cells: tuple[RunSettings, ...]
    candidates: tuple[RunSettings, ...] = ()
    random: float | None = None
    best: float | None = None
    measured_random: float | None = None
    early_run: RunSettings | None = None
    controls: tuple[tuple[str, tuple[RunSettings, ...]], ...] = ()
    options: GameOptions | None = None
    levels_differ: bool = True

    @property
    def measures_random(self) -> bool:
        """Whether what a random policy returns counts as score 0, for nothing else is known."""
        return self.normalisation is None and self.random is None

    @cached_property
    def random_return(self) -> float:
        """Return of a random policy; measured when it is first asked for, which takes some minutes in slow games."""
        known = self.measured_random if self.random is None else self.random
        if known is not None:
            return known
        assert self.options is not None
        return random_return(self.options)

    def with_runs(self, runs: Sequence[RunSettings]) -> GamePlan:
        """The same game with some runs alone, without what makes a teacher or an encoder of its own."""
        return replace(self, cells=tuple(runs), teacher_run=None, candidates=(), early_run=None, controls=())

    @property
    def is_encoded(self) -> bool:
        """Whether a frozen encoder is the privileged view."""
        return bool(self.controls)

    def constants(self, *, measure: bool = True) -> dict[str, Any]:
        """The normalisation constants as plain data, as far as they are known before the runs.

        Parameters
        ----------
        measure
            Whether a random policy plays where its return is not known; else `UNMEASURED` stands for it.

        Raises
        ------
        ValueError
            If a random policy returned more than the best return that is given.
        """
        if self.normalisation is not None:
            return asdict(self.normalisation)
        if self.measures_random and not measure:
            return {"random": UNMEASURED, "best": self.best, "source": "measured" if self.best is None else "given"}
        if self.best is not None:
            return asdict(Normalisation(self.random_return, self.best, source="given"))
        return {"random": self.random_return, "best": None, "source": "measured"}

    @property
    def runs(self) -> tuple[RunSettings, ...]:
        """All runs, those first whose weights others use."""
        first = [run for run in (self.teacher_run, self.early_run) if run is not None]
        runs = (*self.candidates, *first, *self.cells, *(run for _, runs in self.controls for run in runs))
        return tuple({run.identity: run for run in runs}.values())

    def in_precision(self, precision: RunPrecision | None) -> GamePlan:
        """The same plan where encoders compute in another precision, as another machine makes it.

        Runs whose weights others use have other identities then, and so have these.
        """
        known: dict[str, RunSettings] = {}

        def identity(of: str) -> str:
            return known[of].identity if of in known else of

        def options(of: GameOptions) -> GameOptions:
            if isinstance(of, EncodedOptions) and of.made_by is not None:
                return replace(of, made_by=identity(of.made_by))
            return of

        for run in self.runs:
            known[run.identity] = replace(
                run,
                precision=precision,
                options=options(run.options),
                teacher=None if run.teacher is None else identity(run.teacher),
                candidates=tuple(map(identity, run.candidates)),
            )

        def these(runs: Iterable[RunSettings]) -> tuple[RunSettings, ...]:
            return tuple(known[run.identity] for run in runs)

        return replace(
            self,
            cells=these(self.cells),
            candidates=these(self.candidates),
            teacher_run=None if self.teacher_run is None else known[self.teacher_run.identity],
            early_run=None if self.early_run is None else known[self.early_run.identity],
            controls=tuple((name, these(runs)) for name, runs in self.controls),
        )

    @property
    def roles(self) -> dict[str, str]:
        """What the runs are for that are no cells, by their identity."""
        of_controls = {run.identity: f"control {name}" for name, runs in self.controls for run in runs}
        found = {run.identity: "candidate for the teacher" for run in self.candidates} | of_controls
        for run, role in ((self.teacher_run, "teacher"), (self.early_run, "encoder of the control early")):
            if run is not None:
                found[run.identity] = role
        cells = {run.identity for run in self.cells}
        return {identity: role for identity, role in found.items() if identity not in cells}


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
        """All runs, game by game; in each those first whose weights others use, and imitation last."""
        runs = [run for game in self.games for run in sorted(game.runs, key=lambda run: run.learning == "imitation")]
        return tuple({run.identity: run for run in runs}.values())

    @property
    def roles(self) -> dict[str, str]:
        """What the runs are for that are no cells, by their identity."""
        return {identity: role for game in self.games for identity, role in game.roles.items()}

    @property
    def steps(self) -> int:
        """Environment steps of all runs."""
        return sum(run.steps for run in self.runs)

    def as_dict(self, *, measure: bool = True) -> dict[str, Any]:
        """Plain data that describes the plan completely, unless it has constants that shall not be measured yet."""
        return {
            "format": FORMAT,
            "games": [
                {
                    "game": plan.game,
                    "budget": plan.budget,
                    "normalisation": plan.constants(measure=measure),
                    "teacher": None if plan.given_teacher is None else plan.given_teacher.checksum,
                    "runs": [run.as_dict() for run in plan.runs],
                }
                | ({"measures_random": True} if plan.measures_random else {})
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


def _repeated(evaluation: Evaluation, times: int) -> Evaluation:
    """Repeat the schedule of evaluations for a run that is a number of times as long."""
    budget = evaluation.steps[-1]
    steps = (part * budget + step for part in range(times) for step in evaluation.steps[1:])
    return replace(evaluation, steps=(0, *steps))


def shown_view(*views: str) -> str:
    """The view of which the game must show most: one that depends on how it is drawn, if any does."""
    return next((view for view in views if get_view(view).shows_appearance), views[0])


def cells_of(
    base: RunSettings,
    options: GameOptions,
    seeds: Sequence[int],
    teacher: str,
    *,
    teacher_view: str = SEMANTIC.name,
    cells: Iterable[Cell] = CELLS.values(),
) -> Iterator[RunSettings]:
    """Runs of every cell with every seed.

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
    teacher_view
        Name of the view that it acts on.
    cells
        The cells.
    """
    for view, learning in cells:
        taught = get_learner(learning).needs_teacher
        for seed in seeds:
            yield replace(
                base,
                hyperparameters=base.hyperparameters.for_labels() if taught else base.hyperparameters,
                options=options.relevant_to(shown_view(view, teacher_view if taught else view), learning),
                view=view,
                learning=learning,
                seed=seed,
                teacher=teacher if taught else None,
                teacher_view=teacher_view if taught else SEMANTIC.name,
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


def with_encoder(run: RunSettings, encoder: str) -> RunSettings:
    """The run with another encoder.

    Raises
    ------
    ValueError
        If the file of its weights is not there.
    """
    weights = weights_checksum(encoder)
    return replace(run, encoder=encoder, encoder_checksum=weights, encoder_version=version_of_encoder(encoder))


def check_encoder(encoder: str, options: GameOptions) -> None:
    """Check before training that an encoder is available, and takes a game's frames.

    Raises
    ------
    ValueError
        If it is unknown, its weights are missing or do not fit, or a package that it needs is not installed.
    """
    name = EncoderName.read(encoder)
    if name.weights is not None or name.comes_with_weights or module_of(encoder) is not None:
        frames, actions = policy_spaces(options, "pixels")
        _try_encoder(encoder, weights_checksum(encoder), frames.shape or (), int(actions.n))


@cache  # every game of a survey asks
def _try_encoder(encoder: str, content: str | None, shape: tuple[int, ...], actions: int) -> None:
    frames = spaces.Box(0, 255, shape, np.uint8)
    try:
        EncoderPolicy(frames, spaces.Discrete(actions), lambda left: 0.0, encoder=encoder)
    except ValueError:
        raise
    except Exception as error:  # of many types: it may be the user's code
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(f"The encoder {encoder} cannot be made for frames of shape {shape} ({reason}).") from error


def plan_game(
    game: str | GameOptions,
    preset: Preset,
    *,
    teacher: GivenTeacher | None = None,
    train_teacher: bool = False,
    random: float | None = None,
    best: float | None = None,
    encoded: bool = False,
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
    encoded
        Whether the frozen encoder of an expert on frames takes the place of the privileged view: of the teacher, where
        one is given, or else of one that is trained.

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
    for view in (PIXELS.name, *[SEMANTIC.name] * (not encoded)):
        observation_space(options, view)  # refuses a game that has no such view
    base = _first_run(options, preset, PIXELS.name if encoded else SEMANTIC.name)
    making: RunSettings | None = None
    candidates: tuple[RunSettings, ...] = ()
    identity = EXPERT
    if teacher is not None or train_teacher or encoded or not family_of(options).has_expert(options):
        making, candidates, identity = _teacher_of(base, preset, teacher, encoded)
    random, best, constants = _constants(options, random, best)
    plan = GamePlan(
        game=family_of(options).full_name(options),
        budget=base.steps,
        normalisation=constants,
        teacher_run=making,
        given_teacher=teacher,
        cells=(),
        candidates=candidates,
        random=random if constants is None else None,
        best=best if constants is None else None,
        options=options,
        levels_differ=family_of(options).levels_differ(options),
    )
    seeds = range(preset.first_seed, preset.first_seed + preset.seeds)
    if encoded:
        return _with_encoded_view(plan, options, base, seeds, identity)
    acts_on = SEMANTIC.name if teacher is None else teacher.view
    return replace(plan, cells=tuple(cells_of(base, options, seeds, identity, teacher_view=acts_on)))


def with_algorithm(plan: GamePlan, name: str) -> GamePlan:
    """The plan whose cells learn from reward by another algorithm; teachers and imitation stay.

    Parameters
    ----------
    plan
        The plan.
    name
        An improvement that has a learner of its own, see `lcd.experiments.improvements`; ``"my_ideas:SHARPER"``, say.

    Raises
    ------
    ValueError
        If there is none, it has no learner, or it cannot learn from both views.
    """
    improvement = get_improvement(import_improvement(name))
    name = improvement.name
    if improvement.learner is None:
        raise ValueError(
            f"The improvement {name!r} is no algorithm but other settings of PPO: set them as the encoder or as "
            "hyperparameters."
        )

    def learnt_so(runs: tuple[RunSettings, ...]) -> tuple[RunSettings, ...]:
        version = version_of_improvement(name)
        return tuple(
            replace(run, improvement=name, improvement_version=version) if run.learning == "rl" else run for run in runs
        )

    controls = tuple((control, learnt_so(runs)) for control, runs in plan.controls)
    return replace(plan, cells=learnt_so(plan.cells), controls=controls)


def _first_run(options: GameOptions, preset: Preset, view: str) -> RunSettings:
    """The run with a view, from reward, with seed 0: what all runs of a plan share."""
    evaluated = evaluated_steps(preset)
    return RunSettings(
        options=options.relevant_to(view, "rl"),
        view=view,
        learning="rl",
        seed=0,
        steps=evaluated[-1],
        evaluation=Evaluation(
            evaluated, num_envs=preset.evaluation_episodes, inverse_temperatures=preset.inverse_temperatures
        ),
        encoder=preset.encoder,
        encoder_checksum=weights_checksum(preset.encoder),
        encoder_version=version_of_encoder(preset.encoder),
        hyperparameters=preset.hyperparameters,
        precision=fastest_precision() if preset.precision == "auto" else preset.precision,
        game_version=family_of(options).version(options),
    )


def _constants(
    options: GameOptions, random: float | None, best: float | None
) -> tuple[float | None, float | None, Normalisation | None]:
    """The returns that count as scores 0 and 1 as far as they are known, and the constants where both are."""
    known = family_of(options).normalisation(options) if random is None or best is None else None
    if known is not None:
        random, best = (known.random if random is None else random), (known.best if best is None else best)
        if (random, best) == (known.random, known.best):
            return random, best, known
    given = None if random is None or best is None else Normalisation(random, best, source="given")
    return random, best, given


def _teacher_of(
    base: RunSettings, preset: Preset, teacher: GivenTeacher | None, encoded: bool
) -> tuple[RunSettings | None, tuple[RunSettings, ...], str]:
    """The run that trains an expert and its candidates, unless one is given that has all, and the teacher's identity.

    The candidates' seeds do not depend on the plan's, so that plans of other seeds have the same teacher.
    """
    if teacher is not None and (teacher.encoder is not None or not encoded):
        return None, (), teacher.checksum
    candidates = tuple(replace(base, seed=seed) for seed in range(preset.teacher_candidates))
    if preset.teacher_factor > 1:
        further = _repeated(base.evaluation, preset.teacher_factor - 1)
    else:
        further = replace(base.evaluation, steps=(0, base.hyperparameters.rollout))  # the shortest run
    making = replace(
        base,
        steps=further.steps[-1],
        evaluation=further,
        keep_best=True,
        candidates=tuple(run.identity for run in candidates),
    )
    return making, candidates, making.identity if teacher is None else teacher.checksum


def _with_encoded_view(
    plan: GamePlan, options: GameOptions, base: RunSettings, seeds: Sequence[int], identity: str
) -> GamePlan:
    """Add the cells whose privileged view is an expert's frozen encoder, and the two controls of that encoder."""
    making, teacher = plan.teacher_run, plan.given_teacher
    rollout = base.hyperparameters.rollout
    start = (0, max(rollout, min(base.evaluation.steps[1], base.steps // EARLY // rollout * rollout)))
    early = replace(base, steps=start[-1], evaluation=replace(base.evaluation, steps=start))

    def encoded_by(encoder: str, maker: str | None) -> tuple[RunSettings, ...]:
        """The cells whose view is a frozen encoder's."""
        view = EncodedOptions(options, encoder, maker)
        cells = [cell for cell in CELLS.values() if cell[0] == SEMANTIC.name]
        return tuple(cells_of(base, view, seeds, identity, teacher_view=PIXELS.name, cells=cells))

    trained = EncoderName.read(base.encoder).architecture
    if making is not None:
        encoder, expert = trained, making.identity
    else:
        assert teacher is not None
        assert teacher.encoder is not None
        encoder, expert = teacher.encoder, teacher.checksum
    on_frames = [cell for cell in CELLS.values() if cell[0] == PIXELS.name]
    on_pixels = cells_of(base, options, seeds, identity, teacher_view=PIXELS.name, cells=on_frames)
    return replace(
        plan,
        cells=(*on_pixels, *encoded_by(encoder, expert)),
        early_run=early,
        controls=(("random", encoded_by(encoder, None)), ("early", encoded_by(trained, early.identity))),
    )
