"""What a teacher is, and what is found out about one before anybody learns from it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

_TOLERANCE = 1e-3
"""How far from 0 the logarithm of the sum of a state's probabilities may be, in single precision."""

_OF_HALVES = 0.05
"""The same of teachers that answer in half precision."""


class Teacher(Protocol):
    """Anything that gives action probabilities for what it sees."""

    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Logarithms of the action probabilities.

        Parameters
        ----------
        observations : torch.Tensor, shape (batch, height, width) or (batch, 3, height, width), uint8

        Returns
        -------
        torch.Tensor, shape (batch, actions), floating-point
            Of each state a distribution: the exponentials of a row add up to 1.
        """
        ...


def check_can_teach(teacher: object) -> None:
    """Refuse what has no method `log_probabilities`.

    Raises
    ------
    ValueError
        If it has none.
    """
    if not callable(getattr(teacher, "log_probabilities", None)):
        inside = getattr(getattr(teacher, "policy", None), "log_probabilities", None)
        hint = "pass its policy" if callable(inside) else "wrap it in a class that has one, or take an EncoderPolicy"
        raise ValueError(f"A teacher has a method log_probabilities, which a {type(teacher).__name__} has not: {hint}.")


def check_finite(module: nn.Module, name: str) -> None:
    """Refuse a network whose weights are not all numbers.

    Parameters
    ----------
    module
        The network.
    name
        What the message calls it, such as ``"The teacher maze.safetensors"``.

    Raises
    ------
    ValueError
        If a weight is infinite or not a number.
    """
    for key, value in module.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"{name} is damaged: {key} holds weights that are not finite. Fetch it again, or train it anew."
            )


def check_fits(teacher: Teacher, observations: torch.Tensor, actions: int) -> None:
    """Refuse a teacher that by what it says of itself, or by its weights, cannot teach in a game.

    Parameters
    ----------
    teacher
        The teacher.
    observations : torch.Tensor, shape (batch, height, width) or (batch, 3, height, width)
        What it sees in some states.
    actions
        Number of actions in the game.

    Raises
    ------
    ValueError
        If it has no method `log_probabilities`, is made for other observations or actions, or its weights are not
        finite.
    """
    check_can_teach(teacher)
    for name, there, wanted in (
        ("sees observations of shape", "observation_space.shape", tuple(observations.shape[1:])),
        ("chooses among actions, in number", "action_space.n", actions),
    ):
        known: object = teacher
        for part in there.split("."):
            known = getattr(known, part, None)
        if known is not None and known != wanted:
            raise ValueError(f"The teacher {name} {known}, and the environment has {wanted}: choose another teacher.")
    if isinstance(teacher, nn.Module):
        check_finite(teacher, f"The teacher, a {type(teacher).__name__},")


def checked_labels(teacher: Teacher, observations: torch.Tensor, actions: int) -> torch.Tensor:
    """Ask a teacher for its labels of some states, and refuse one that cannot teach in the game.

    Returns
    -------
    torch.Tensor, shape (batch, actions), float32
        The logarithms of the action probabilities.

    Raises
    ------
    ValueError
        As in `check_fits`, or if what it gives are no distributions.
    """
    check_fits(teacher, observations, actions)
    with torch.no_grad():
        return distributions(shaped(teacher.log_probabilities(observations), observations, actions))


def shaped(labels: object, observations: torch.Tensor, actions: int) -> torch.Tensor:
    """Refuse labels that are not one row a state with one floating-point number an action; move them to the states."""
    if not isinstance(labels, torch.Tensor):
        raise ValueError(f"A teacher's log_probabilities gives a torch tensor, not a {type(labels).__name__}.")
    if labels.shape != (len(observations), actions):
        raise ValueError(
            f"The teacher gives labels of shape {tuple(labels.shape)} for {len(observations)} states in a game of "
            f"{actions} actions: log_probabilities must give one row a state and one number an action."
        )
    if not labels.is_floating_point():
        raise ValueError(f"The teacher gives labels of type {labels.dtype}: logarithms are floating-point numbers.")
    return labels.to(observations.device)


def distributions(labels: torch.Tensor) -> torch.Tensor:
    """Refuse labels whose rows are no logarithms of distributions; those in other precision come in single precision.

    Parameters
    ----------
    labels : torch.Tensor, shape (batch, actions)

    Returns
    -------
    torch.Tensor, shape (batch, actions), float32
    """
    tolerance = _TOLERANCE if torch.finfo(labels.dtype).bits >= 32 else _OF_HALVES
    labels = labels.float()
    sums = labels.logsumexp(dim=1)
    if bool((sums.abs() <= tolerance).all()):  # also no, where a sum is not a number
        return labels
    row = int((~(sums.abs() <= tolerance)).nonzero()[0])
    if bool(labels[row].isnan().any()) or not bool(sums[row].isfinite()):
        raise ValueError(
            f"The teacher gives labels that are not numbers in state {row} of the batch, such as "
            f"{[round(value, 3) for value in labels[row, :3].tolist()]}: check its weights and what it sees."
        )
    total = float(labels[row].sum())
    if bool((labels[row] >= 0).all()) and abs(total - 1) <= tolerance:
        raise ValueError("The teacher gives probabilities: log_probabilities must give their logarithms.")
    raise ValueError(
        f"The teacher gives labels that are no distributions: in state {row} of the batch their exponentials add up to "
        f"{float(sums[row].exp()):.3g} instead of 1. Of logits, give torch.log_softmax(logits, dim=1)."
    )
