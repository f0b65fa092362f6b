"""Steps of a diagnosis: choose and check its teacher, plan its runs, and evaluate them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import nn

from lcd.envs import GameOptions, family_of, make_vec_env
from lcd.envs.family import chosen_options, has_view, policy_spaces
from lcd.envs.views import PIXELS, SEMANTIC, VIEWS
from lcd.experiments.given_teacher import GivenTeacher, checksum_of, is_teacher
from lcd.experiments.learners import has_fitted_values
from lcd.experiments.plan import GamePlan, Plan, check_encoder, plan_game, with_algorithm
from lcd.experiments.presets import PRESETS, Preset
from lcd.experiments.settings import IMPORTED, TRAINING_VERSION, RunSettings, check_made_for
from lcd.experiments.store import Store, StoredRun
from lcd.io.files import checksum
from lcd.io.limits import path, short, text
from lcd.measurement.scores import Normalisation, played_by
from lcd.studies.controls import with_controls
from lcd.studies.diagnosis import Diagnosis, TeacherCard

if TYPE_CHECKING:
    from lcd.agents import Teacher

EXPERT_VIEW = "expert"
"""In the place of a privileged view: the frozen encoder of an expert on frames."""


class NothingLearned(ValueError):
    """Nobody returned more than a random policy, so that there is no scale for scores."""


def adjusted_preset(name: str, *, hyperparameters: Mapping[str, Any] | str | None = None, **changes: Any) -> Preset:
    """A preset with some of its numbers replaced; None leaves a number as it is.

    Parameters
    ----------
    name
        Of the preset.
    hyperparameters
        Some of its hyperparameters, as `lcd.experiments.settings.Hyperparameters.changed` takes them.
    **changes
        Other fields.

    Raises
    ------
    ValueError
        If there is no such preset, or it cannot have such a number.
    """
    if text("A preset", name) not in PRESETS:
        raise ValueError(f"Unknown preset {short(name)}: choose one of {', '.join(PRESETS)}.")
    preset, given = PRESETS[name], {key: value for key, value in changes.items() if value is not None}
    if hyperparameters is not None:
        given["hyperparameters"] = preset.hyperparameters.changed(hyperparameters)
    return replace(preset, **given)


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


TRIED_GAMES, TRIED_STEPS = 8, 8
"""Number of games and steps on which the labels of a given teacher are checked before training."""


def checked_teacher(teacher: GivenTeacher, options: GameOptions) -> GivenTeacher:
    """Check before training that a teacher can act in the game, and find the view that it acts on.

    It plays a few steps, in which its labels must be distributions over the actions.

    Parameters
    ----------
    teacher
        The teacher.
    options
        The game in which it is to be imitated.

    Returns
    -------
    GivenTeacher
        With its view, and for one that is imported, with the checksum of its labels in its identity.

    Raises
    ------
    ValueError
        If it cannot be loaded, takes no view of the game or other actions, its weights or labels are not finite, or its
        card names another game or mode.
    """
    from lcd.agents import EncoderName, EncoderPolicy
    from lcd.agents.teacher import check_finite
    from lcd.teachers.library import card_of

    policy, card = teacher.load(options)
    made = card.get("run")
    if has_fitted_values(card):
        raise ValueError(
            f"The teacher {teacher.name} has learned what another returns, and not to act: choose another."
        )
    acted_on = VIEWS.get(str(made.get("view"))) if isinstance(made, Mapping) else None
    if acted_on is None or acted_on.drawn_as == acted_on.name:
        view = _view_of(policy, teacher, options)
    else:
        acted_on.of_game(options)
        view = acted_on.name
    known = None if teacher.path is None else card_of(teacher.path, teacher.checksum)
    cards = [card] if known is None else [card, {"game": known.game, "distribution_mode": known.distribution_mode}]
    for each in cards:
        check_made_for(each, options, f"The teacher {teacher.name}")
    if isinstance(policy, nn.Module):
        check_finite(policy, f"The teacher {teacher.name}")
    try:
        labels = _labels_in_play(policy, options, view)
    except ValueError:
        raise
    except Exception as error:  # of many types: it may be the user's code
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(f"The teacher {teacher.name} fails in its first steps ({reason}).") from error
    identity = teacher.checksum
    if teacher.path is None:
        of_labels = checksum(labels.round(decimals=3).numpy().tobytes())[:12]
        identity = f"{teacher.name}{IMPORTED}{checksum_of(teacher.name, policy)}-{of_labels}"
    encoder = None
    if teacher.path is not None and view == PIXELS.name and isinstance(policy, EncoderPolicy):
        encoder = EncoderName.read(policy.encoder_name or "").architecture
    return replace(teacher, view=view, checksum=identity, encoder=encoder)


def _view_of(policy: Teacher, teacher: GivenTeacher, options: GameOptions) -> str:
    """Name of the view whose observations a teacher takes; that of one that does not say is tried."""
    number = int(family_of(options).action_space(options).n)
    actions = getattr(policy, "action_space", None)
    views = [name for name in (SEMANTIC.name, PIXELS.name) if has_view(options, name)]
    shapes = {name: policy_spaces(options, name)[0].shape for name in views}
    taken = getattr(getattr(policy, "observation_space", None), "shape", None)
    taken = getattr(policy, "observation_shape", None) if taken is None else taken
    if taken is not None:
        found = [name for name, shape in shapes.items() if shape == taken]
        if found and (actions is None or getattr(actions, "n", None) == number):
            return found[0]
        kinds = " or ".join(
            f"{'images' if name == PIXELS.name else 'the privileged view'} of shape {shape}"
            for name, shape in shapes.items()
        )
        raise ValueError(
            f"The teacher {teacher.name} takes observations of shape {taken} and has the actions {short(actions)}; a "
            f"teacher must take {kinds} and choose among {number} actions."
        )
    reasons = []
    for name in views:
        try:
            _labels_in_play(policy, options, name, steps=1)
        except Exception as error:  # of many types: it is the user's code
            reasons.append(f"{name}: {' '.join(str(error).split())[:200]}")
        else:
            return name
    raise ValueError(f"The teacher {teacher.name} takes no view of the game ({'; '.join(reasons)}).")


def _labels_in_play(policy: Teacher, options: GameOptions, view: str, steps: int = TRIED_STEPS) -> torch.Tensor:
    """Labels of a teacher that plays a few steps, shape (steps, games, actions), checked."""
    from lcd.agents.rollout import channels_first
    from lcd.agents.teacher import checked_labels

    env = make_vec_env(options, TRIED_GAMES, view)
    actions, found = int(family_of(options).action_space(options).n), []
    try:
        observations = env.reset()
        for _ in range(steps):
            found.append(checked_labels(policy, channels_first(torch.as_tensor(observations)), actions))
            observations = env.step(found[-1].argmax(dim=1).numpy())[0]
    finally:
        env.close()
    return torch.stack(found)


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


def _named_teacher(teacher: Any) -> Path:
    """A file, or ``module:name``.

    Raises
    ------
    ValueError
        If it is an object, which the processes that carry out runs could not make again.
    """
    if is_teacher(teacher):
        raise ValueError(
            f"A teacher is given as a file or as 'module:name', not as an object of {type(teacher).__name__}, which "
            "other processes could not make again: save it, or name what makes it."
        )
    return path("teacher", teacher)


def plan_diagnosis(
    game: Any,
    preset: Preset,
    *,
    teacher: Path | str | None = None,
    train_teacher: bool = False,
    random: float | None = None,
    best: float | None = None,
    algorithm: str | None = None,
    **settings: Any,
) -> GamePlan:
    """Plan the runs that diagnose a game, after checking the teacher, the encoder and the algorithm.

    Raises
    ------
    ValueError
        If an argument is invalid, the teacher cannot act in the game, or encoder or algorithm are not available.
    """
    if not isinstance(train_teacher, bool):
        raise ValueError(f"train_teacher is true or false, not {short(train_teacher)}.")
    if teacher is not None and train_teacher:
        raise ValueError(f"The teacher {teacher} is given, and one is to be trained as well: choose one of the two.")
    encoded = settings.get("semantic") == EXPERT_VIEW
    if encoded:
        settings["semantic"] = None
    options = chosen_options(game, **settings)
    if options.num_levels:
        preset = replace(preset, num_levels=options.num_levels)
    encoded = encoded or not has_view(options, SEMANTIC.name)
    given = None if teacher is None else GivenTeacher.from_text(_named_teacher(teacher))
    if given is None and not (train_teacher or encoded):
        given = reference_teacher(options)
    if given is not None:
        given = checked_teacher(given, options)
        if encoded and given.view != PIXELS.name:
            raise ValueError(f"The teacher {given.name} acts on a privileged view, and the game is to have none.")
    check_encoder(preset.encoder, options)
    plan = plan_game(
        options, preset, teacher=given, train_teacher=train_teacher, random=random, best=best, encoded=encoded
    )
    return plan if algorithm is None else with_algorithm(plan, text("The algorithm", algorithm))
