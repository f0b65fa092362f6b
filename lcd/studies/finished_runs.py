"""What the finished runs of a game's plan tell: its diagnosis, its episodes, and the constants of its scores."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import pandas as pd

from lcd.envs import GameOptions, make_vec_env
from lcd.experiments.given_teacher import GivenTeacher
from lcd.experiments.plan import GamePlan, Plan
from lcd.experiments.settings import TRAINING_VERSION, RunSettings
from lcd.experiments.store import Store, StoredRun
from lcd.measurement.scores import Normalisation, played_by
from lcd.studies.controls import with_controls
from lcd.studies.diagnosis import Diagnosis, TeacherCard
from lcd.studies.planning import EXPERT_VIEW


class NothingLearned(ValueError):
    """Nobody returned more than a random policy, so that there is no scale for scores."""


def read_diagnosis(plan: GamePlan, store: Store, settings: dict[str, Any] | None = None) -> Diagnosis:
    """Build the diagnosis from the finished runs of a game's plan.

    Parameters
    ----------
    plan
        The game's plan.
    store
        Where its runs are.
    settings
        Further values to store in the diagnosis.

    Returns
    -------
    Diagnosis

    Raises
    ------
    lcd.experiments.store.StoreError
        If a run is missing or damaged.
    """
    runs = {run.identity: store.load(run) for run in plan.runs}

    def stored(wanted: Iterable[RunSettings]) -> list[StoredRun]:
        return [runs[run.identity] for run in wanted]

    card = None
    if plan.teacher_run is not None:
        made = runs[plan.teacher_run.identity].teacher
        assert made is not None
        steps = plan.candidates[0].steps + made["step"]
        card = TeacherCard("trained", steps, made["training_return"], made["unseen_return"])
    if plan.given_teacher is not None:  # beside it an expert may have been trained, for its encoder
        card = _evaluate_given(plan, plan.given_teacher)
    diagnosis = Diagnosis.from_episodes(
        _episodes(plan, stored(plan.cells)),
        game=plan.game,
        budget=plan.budget,
        normalisation=normalisation_of(plan, store),
        levels_differ=plan.levels_differ,
        teacher=card,
        settings={
            "plan": Plan((plan,)).as_dict(),
            "core_hours": round(sum(run.core_hours for run in runs.values()), 4),
            "divergences": sum(run.divergences for run in runs.values()),
            "runs": [_origin(run) for run in stored(plan.cells)],
        }
        | ({} if plan.teacher_run is None else {"teacher_run": plan.teacher_run.identity})
        | ({"privileged_view": EXPERT_VIEW} if plan.is_encoded else {})
        | (settings or {}),
    )
    if not plan.is_encoded:
        return diagnosis
    return with_controls(diagnosis, {name: _episodes(plan, stored(of_control)) for name, of_control in plan.controls})


def _episodes(plan: GamePlan, runs: Iterable[StoredRun]) -> pd.DataFrame:
    """Evaluated episodes, by the plan's name of the game: with settings, which are no part of a run's name of it."""
    return pd.concat([run.episodes for run in runs], ignore_index=True).assign(game=plan.game)


def _origin(run: StoredRun) -> dict[str, Any]:
    """What a run is, and where it comes from, as plain data."""
    settings = run.settings
    return {
        "view": settings.view,
        "learning": settings.learning,
        "seed": settings.seed,
        "run": settings.name,
        "training_version": TRAINING_VERSION,
        "precision": settings.precision,
        "core_hours": round(run.core_hours, 4),
    } | asdict(run.origin)


def episodes_of(plan: GamePlan, store: Store, *further: RunSettings) -> pd.DataFrame:
    """Evaluated episodes of the four cells of a plan, and of further runs.

    Raises
    ------
    lcd.experiments.store.StoreError
        If a run is missing or damaged.
    """
    return _episodes(plan, (store.load(run) for run in (*plan.cells, *further)))


def normalisation_of(plan: GamePlan, store: Store) -> Normalisation:
    """The constants of a plan; where the best return was not known, it is the best that was measured in the end.

    That is the highest mean return, on training levels, of the last evaluation of any run of the plan: of a cell, of
    the teacher or one of its candidates, or of a control.

    Raises
    ------
    lcd.experiments.store.StoreError
        If a run is missing or damaged.
    NothingLearned
        If nobody returned more than a random policy.
    """
    if plan.normalisation is not None:
        return plan.normalisation
    if plan.best is not None:
        return Normalisation(**plan.constants())
    found = []
    for run in plan.runs:
        stored = store.load(run)
        episodes = played_by(stored.episodes)
        last = episodes[(episodes["step"] == run.steps) & (episodes["levels"] == "training")]
        found.append(float(last["return"].mean()))
        if stored.teacher is not None:
            found.append(stored.teacher["training_return"])
    if plan.given_teacher is not None:
        found.append(_evaluate_given(plan, plan.given_teacher).training_return)
    best = max(found)
    if best <= plan.random_return:
        raise NothingLearned(
            f"Nobody returned more than a random policy in {plan.game}, {plan.random_return:g}: train longer, or give "
            "the best return (best, of a survey in its arguments)."
        )
    return Normalisation(plan.random_return, best, source="measured")


def _evaluate_given(plan: GamePlan, teacher: GivenTeacher) -> TeacherCard:
    """Evaluate a given teacher in the same way as the cells.

    Raises
    ------
    ValueError
        If its file has changed or is missing.
    """
    teacher.check()
    return TeacherCard(teacher.name, None, *_returns_of(teacher, replace(plan.cells[0], seed=0)))


@cache
def _returns_of(teacher: GivenTeacher, run: RunSettings) -> tuple[float, float]:
    """Mean returns on training and on unseen levels, at the temperature that returns most on training levels.

    They are those of fresh episodes, not of those that decide the temperature. A teacher that stands still for ever in
    one of these is played at a temperature of 1.
    """
    from lcd.agents import EndlessEpisode, Episodes, best_tempered, evaluate
    from lcd.experiments.run import CHECK_SEED

    policy, _ = teacher.load(run.options)
    episodes = run.evaluation.episodes_per_env

    def play(options: GameOptions, episodes: int, seed: int, factor: float) -> Episodes:
        with closing(make_vec_env(options, run.evaluation.num_envs, teacher.view)) as env:
            return evaluate(policy, env, episodes, seed, inverse_temperature=factor)

    def fresh(factor: float) -> tuple[float, float]:
        training, unseen = (
            float(play(options, 2 * episodes, run.seed + CHECK_SEED, factor).returns.mean())
            for options in (run.options, run.unseen_options)
        )
        return training, unseen

    best, _ = best_tempered(
        lambda factor: play(run.options, episodes, run.seed, factor), run.evaluation.inverse_temperatures
    )
    try:
        return fresh(best)
    except EndlessEpisode:
        if best == 1:
            raise
    return fresh(1.0)
