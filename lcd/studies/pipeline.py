"""Steps of a diagnosis: choose and check its teacher, plan its runs, and evaluate them."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pandas as pd

from lcd.envs import GameOptions, make_vec_env
from lcd.envs.external.making import named
from lcd.envs.family import game_options, policy_spaces
from lcd.experiments.plan import GamePlan, GivenTeacher, Plan, check_encoder, plan_game
from lcd.experiments.presets import PRESETS, Preset
from lcd.experiments.settings import check_made_for
from lcd.experiments.store import Store
from lcd.io.limits import path, short, text
from lcd.measurement.scores import Normalisation, played_by
from lcd.studies.diagnosis import Diagnosis, TeacherCard


def adjusted_preset(name: str, **changes: Any) -> Preset:
    """A preset with some of its numbers replaced; None leaves a number as it is.

    Raises
    ------
    ValueError
        If there is no such preset.
    """
    if text("A preset", name) not in PRESETS:
        raise ValueError(f"Unknown preset {short(name)}: choose one of {', '.join(PRESETS)}.")
    return replace(PRESETS[name], **{key: value for key, value in changes.items() if value is not None})


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
    runs = [store.load(run) for run in plan.cells]
    tables = [run.episodes for run in runs]
    card = None
    if plan.teacher_run is not None:
        made = store.load(plan.teacher_run)
        runs.append(made)
        tables.append(made.episodes[made.episodes["step"] <= plan.budget])
        assert made.teacher is not None
        card = TeacherCard(
            "trained", made.teacher["step"], made.teacher["training_return"], made.teacher["unseen_return"]
        )
    elif plan.given_teacher is not None:
        card = _evaluate_given(plan, plan.given_teacher)
    return Diagnosis.from_episodes(
        pd.concat(tables, ignore_index=True),
        game=plan.game,
        budget=plan.budget,
        normalisation=normalisation_of(plan, store),
        teacher=card,
        settings={
            "plan": Plan((plan,)).as_dict(),
            "core_hours": round(sum(run.core_hours for run in runs), 4),
            "divergences": sum(run.divergences for run in runs),
        }
        | (settings or {}),
    )


def normalisation_of(plan: GamePlan, store: Store) -> Normalisation:
    """The constants of a plan; where the best return was not known, it is the best that was measured in the end.

    That is the highest mean return, on training levels, of the last evaluation of a cell or of the teacher.

    Raises
    ------
    lcd.experiments.store.StoreError
        If a run is missing or damaged.
    ValueError
        If nobody returned more than a random policy.
    """
    if plan.normalisation is not None:
        return plan.normalisation
    assert plan.random is not None
    found = []
    for run in plan.runs:
        stored = store.load(run)
        episodes = played_by(stored.episodes)
        last = episodes[(episodes["step"] == run.steps) & (episodes["levels"] == "training")]
        found.append(float(last["return"].mean()))
        if stored.teacher is not None:
            found.append(stored.teacher["training_return"])
    best = max(found)
    if best <= plan.random:
        raise ValueError(
            f"Nobody returned more than a random policy in {plan.game}, {plan.random:g}: train longer, or give the "
            "best return (best)."
        )
    return Normalisation(plan.random, best, source="measured")


def _evaluate_given(plan: GamePlan, teacher: GivenTeacher) -> TeacherCard:
    """Evaluate a given teacher in the same way as the cells."""
    from lcd.agents import evaluate, load_policy

    teacher.check()
    policy, _ = load_policy(teacher.path)
    run = plan.cells[0]
    returns = []
    for options in (run.options, run.unseen_options):
        env = make_vec_env(options, run.evaluation.num_envs, "semantic")
        returns.append(float(evaluate(policy, env, 2 * run.evaluation.episodes_per_env).returns.mean()))
        env.close()
    return TeacherCard(teacher.name, None, *returns)


TRIED_GAMES, TRIED_STEPS = 8, 8
"""Number of games and steps on which the labels of a given teacher are checked before training."""


def check_teacher(teacher: GivenTeacher, options: GameOptions) -> None:
    """Check before training that a teacher can act in the game.

    It plays a few steps, in which its labels must be distributions over the actions.

    Parameters
    ----------
    teacher
        The teacher.
    options
        The game in which it is to be imitated.

    Raises
    ------
    ValueError
        If the file is no policy, its input is no label map, its weights or labels are not finite, or its card names
        another game or mode.
    """
    import torch

    from lcd.agents import load_policy
    from lcd.agents.teacher import check_finite, checked_labels
    from lcd.teachers.library import card_of

    policy, card = load_policy(teacher.path)
    space, actions = policy_spaces(options, "semantic")
    if policy.observation_space.shape != space.shape or policy.action_space.n != actions.n:  # type: ignore[attr-defined]
        raise ValueError(
            f"The teacher {teacher.path} takes observations of shape {policy.observation_space.shape}; "
            f"a teacher must take label maps of shape {space.shape} and choose among {actions.n} actions."
        )
    known = card_of(teacher.path, teacher.checksum)
    cards = [card] if known is None else [card, {"game": known.game, "distribution_mode": known.distribution_mode}]
    for each in cards:
        check_made_for(each, options, f"The teacher {teacher.path}")
    check_finite(policy, f"The teacher {teacher.path}")
    env = make_vec_env(options, TRIED_GAMES, "semantic")
    try:
        observations = env.reset()
        for _ in range(TRIED_STEPS):
            labels = checked_labels(policy, torch.as_tensor(observations), int(actions.n))
            observations = env.step(labels.argmax(dim=1).numpy())[0]
    finally:
        env.close()


TEACHERS = "lcd.teachers"
"""Group of entry points: from the name of a family to a function that gives the reference teacher of a game's options,
as the file and its SHA-256, or None."""


def reference_teacher(options: GameOptions) -> GivenTeacher | None:
    """The reference teacher of a game, None if there is none.

    Raises
    ------
    ValueError
        If its file is damaged.
    """
    for plugin in entry_points(group=TEACHERS, name=options.family):
        if (found := plugin.load()(options)) is not None:
            file, content = found
            return GivenTeacher(file, content, "reference")
    return None


def plan_diagnosis(
    game: Any,
    preset: Preset,
    *,
    teacher: Path | str | None = None,
    train_teacher: bool = False,
    random: float | None = None,
    best: float | None = None,
    **settings: Any,
) -> GamePlan:
    """Plan the runs that diagnose a game, after checking the teacher and the encoder.

    Raises
    ------
    ValueError
        If an argument is invalid, the teacher cannot act in the game, or the encoder is not available.
    """
    if not isinstance(train_teacher, bool):
        raise ValueError(f"train_teacher is true or false, not {short(train_teacher)}.")
    if teacher is not None and train_teacher:
        raise ValueError(f"The teacher {teacher} is given, and one is to be trained as well: choose one of the two.")
    name, own = named(game)
    options = game_options(name, **(own | {key: value for key, value in settings.items() if value is not None}))
    given = None if teacher is None else GivenTeacher.from_file(path("teacher", teacher))
    if given is None and not train_teacher:
        given = reference_teacher(options)
    plan = plan_game(options, preset, teacher=given, train_teacher=train_teacher, random=random, best=best)
    check_encoder(preset.encoder, options)
    if given is not None:
        check_teacher(given, options)
    return plan
