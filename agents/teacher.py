"""The teacher protocol, and the checks of a teacher's expert labels."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

_TOLERANCE = 1e-3
"""Largest absolute logarithm of the sum of a state's probabilities, in single precision."""

_HALF_TOLERANCE = 0.05
"""The same in half precision."""


class Teacher(Protocol):
    """Anything that gives action probabilities for observations."""

    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Logarithms of the action probabilities.

        Parameters
        ----------
        observations : torch.Tensor, shape (batch, height, width) or (batch, 3, height, width), uint8

        Returns
        -------
        torch.Tensor, shape (batch, actions), floating-point
            A distribution for each state: the exponentials of a row sum to 1.
        """
        ...


def check_can_teach(teacher: object) -> None:
    """Refuse an object without a method `log_probabilities`.

    Raises
    ------
    ValueError
        If it has none.
    """
    if not callable(getattr(teacher, "log_probabilities", None)):
        inside = getattr(getattr(teacher, "policy", None), "log_probabilities", None)
        hint = "pass its policy" if callable(inside) else "wrap it in a class that has one, or take an EncoderPolicy"
        raise ValueError(f"A teacher needs a method log_probabilities, which {type(teacher).__name__} lacks: {hint}.")


def check_finite(module: nn.Module, name: str) -> None:
    """Refuse a network whose weights are not all finite.

    Parameters
    ----------
    module
        The network.
    name
        Its name in the message, such as ``"The teacher maze.safetensors"``.

    Raises
    ------
    ValueError
        If a weight is infinite or not a number.
    """
    for key, value in module.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"{name} is damaged: {key} holds weights that are not finite. Fetch it again, or retrain it."
            )


def check_fits(teacher: Teacher, observations: torch.Tensor, actions: int) -> None:
    """Check a teacher's spaces and weights against a game.

    Parameters
    ----------
    teacher
        The teacher.
    observations : torch.Tensor, shape (batch, height, width) or (batch, 3, height, width)
        Its observations of some states.
    actions
        Number of actions in the game.

    Raises
    ------
    ValueError
        If it has no method `log_probabilities`, has other observations or actions, or weights that are not finite.
    """
    check_can_teach(teacher)
    for sentence, there, wanted in (
        ("takes observations of shape {}", "observation_space.shape", tuple(observations.shape[1:])),
        ("has {} actions", "action_space.n", actions),
    ):
        known: object = teacher
        for part in there.split("."):
            known = getattr(known, part, None)
        if known is not None and known != wanted:
            raise ValueError(
                f"The teacher {sentence.format(known)}, and the environment has {wanted}: choose another teacher."
            )
    if isinstance(teacher, nn.Module):
        check_finite(teacher, f"The teacher, a {type(teacher).__name__},")


def checked_labels(teacher: Teacher, observations: torch.Tensor, actions: int) -> torch.Tensor:
    """Query a teacher's labels of some states, and check teacher and labels.

    Returns
    -------
    torch.Tensor, shape (batch, actions), float32
        Log-probabilities of the actions.

    Raises
    ------
    ValueError
        As in `check_fits`, or if the labels are not distributions.
    """
    check_fits(teacher, observations, actions)
    return labels_for(teacher, observations, actions)


def labels_for(teacher: Teacher, observations: torch.Tensor, actions: int) -> torch.Tensor:
    """Query a teacher that fits, see `checked_labels`, and check its labels alone.

    Raises
    ------
    ValueError
        If the labels are not distributions.
    """
    with torch.no_grad():
        return distributions(shaped(teacher.log_probabilities(observations), observations, actions))


def device_of(teacher: object) -> torch.device:
    """Where a teacher that is a module has its weights; the processor for others."""
    tensors = [*teacher.parameters(), *teacher.buffers()] if isinstance(teacher, nn.Module) else []
    return tensors[0].device if tensors else torch.device("cpu")


def shaped(labels: object, observations: torch.Tensor, actions: int) -> torch.Tensor:
    """Check that labels have one row a state and one floating-point number an action; move them to the device."""
    if not isinstance(labels, torch.Tensor):
        raise ValueError(f"A teacher's log_probabilities must return a torch tensor, not a {type(labels).__name__}.")
    if labels.shape != (len(observations), actions):
        raise ValueError(
            f"The teacher gives labels of shape {tuple(labels.shape)} for {len(observations)} states in a game of "
            f"{actions} actions: log_probabilities must return one row a state and one number an action."
        )
    if not labels.is_floating_point():
        raise ValueError(f"The teacher gives labels of type {labels.dtype}: logarithms are floating-point numbers.")
    return labels.to(observations.device)


def distributions(labels: torch.Tensor) -> torch.Tensor:
    """Check that each row of labels holds the log-probabilities of a distribution, and convert to single precision.

    Parameters
    ----------
    labels : torch.Tensor, shape (batch, actions)

    Returns
    -------
    torch.Tensor, shape (batch, actions), float32
    """
    tolerance = _TOLERANCE if torch.finfo(labels.dtype).bits >= 32 else _HALF_TOLERANCE
    labels = labels.float()
    sums = labels.logsumexp(dim=1)
    if bool((sums.abs() <= tolerance).all()):  # False for NaN
        return labels
    row = int((~(sums.abs() <= tolerance)).nonzero()[0])
    if bool(labels[row].isnan().any()) or not bool(sums[row].isfinite()):
        raise ValueError(
            f"The teacher gives labels that are not finite in state {row} of the batch, such as "
            f"{[round(value, 3) for value in labels[row, :3].tolist()]}: check its weights and its observations."
        )
    total = float(labels[row].sum())
    if bool((labels[row] >= 0).all()) and abs(total - 1) <= tolerance:
        raise ValueError("The teacher gives probabilities: log_probabilities must return their logarithms.")
    raise ValueError(
        f"The teacher gives labels that are not distributions: in state {row} of the batch their exponentials sum to "
        f"{float(sums[row].exp()):.3g} instead of 1. For logits, return torch.log_softmax(logits, dim=1)."
    )
