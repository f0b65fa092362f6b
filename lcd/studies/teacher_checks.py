"""The checks of a teacher before it is imitated, and the reference teacher of a game."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import torch
from torch import nn

from lcd.envs import GameOptions, family_of, make_vec_env
from lcd.envs.family import has_view, policy_spaces
from lcd.envs.views import PIXELS, SEMANTIC, VIEWS
from lcd.experiments.given_teacher import GivenTeacher, checksum_of
from lcd.experiments.learners import has_fitted_values
from lcd.experiments.settings import IMPORTED, check_made_for
from lcd.io.files import checksum
from lcd.io.limits import short

if TYPE_CHECKING:
    from lcd.agents import Teacher

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
