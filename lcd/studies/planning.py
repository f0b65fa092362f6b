"""Planning a diagnosis: its preset, its teacher and its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lcd.envs.family import chosen_options, has_view
from lcd.envs.views import PIXELS, SEMANTIC
from lcd.experiments.given_teacher import GivenTeacher, is_teacher
from lcd.experiments.plan import GamePlan, check_encoder, plan_game, with_algorithm
from lcd.experiments.presets import PRESETS, Preset
from lcd.io.limits import path, short, text
from lcd.studies.teacher_checks import checked_teacher, reference_teacher

EXPERT_VIEW = "expert"
"""In the place of a privileged view: the frozen encoder of an expert on frames."""


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
