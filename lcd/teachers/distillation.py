"""Learning an expert's decisions from labelled states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents import EncoderPolicy
from agents.gradient import Statistics, leave_gradient
from envs.actions import NUM_ACTIONS, ActionClasses
from lcd.teachers.demonstrations import Demonstrations

BATCH_SIZE = 256
LEARNING_RATE = 1e-3


class LabelledClasses(NamedTuple):
    """Label maps with the chances of each class of actions, shape (batch, classes)."""

    observations: torch.Tensor
    chances: torch.Tensor


def class_chances(values: NDArray[np.floating], classes: ActionClasses, temperature: float) -> torch.Tensor:
    """What an expert would do that prefers the better action, the more so the better it is.

    Parameters
    ----------
    values : numpy.ndarray, shape (n, 15)
        Expected return of each action.
    classes
        Groups of actions that do the same.
    temperature
        Difference in return that makes a factor of e.

    Returns
    -------
    torch.Tensor, shape (n, classes), float32
        Chances that sum to 1.
    """
    first_of_class = [members[0] for members in classes]
    return torch.softmax(torch.from_numpy(np.asarray(values)[:, first_of_class]).float() / temperature, dim=1)


def class_log_probabilities(log_probabilities: torch.Tensor, classes: ActionClasses) -> torch.Tensor:
    """Logarithms of the chances of doing what each class of actions does, shape (batch, classes)."""
    return torch.stack([log_probabilities[:, list(members)].logsumexp(dim=1) for members in classes], dim=1)


def distil(
    policy: EncoderPolicy,
    demonstrations: Sequence[Demonstrations],
    *,
    temperature: float,
    epochs: int,
    seed: int = 0,
) -> dict[str, float]:
    """Train a policy to act as an expert does in labelled states.

    Actions that do the same are one to the loss, which is the Kullback-Leibler divergence from the policy's classes of
    actions to the expert's.

    Parameters
    ----------
    policy
        Is changed in place; it says which actions do the same.
    demonstrations
        The states.
    temperature
        See `class_chances`.
    epochs
        Passes over the states.
    seed
        Of their order.

    Returns
    -------
    dict
        ``"loss"`` and ``"agreement"`` (share of states in which policy and expert prefer the same), means over the last
        pass, each state seen before the update that it takes part in.
    """
    observations = torch.from_numpy(np.concatenate([shown.observations for shown in demonstrations]))
    classes = policy.action_classes or tuple((action,) for action in range(NUM_ACTIONS))
    chances = class_chances(np.concatenate([shown.action_values for shown in demonstrations]), classes, temperature)
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE, eps=1e-5, fused=True)
    batches = -(-len(observations) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * batches + 1)
    part_size = getattr(policy.features_extractor, "images_at_once", BATCH_SIZE)

    def loss(batch: LabelledClasses) -> tuple[torch.Tensor, Statistics]:
        student = class_log_probabilities(policy.log_probabilities(batch.observations), classes)
        divergence = (torch.special.xlogy(batch.chances, batch.chances) - batch.chances * student).sum(dim=1).mean()
        agreement = (student.argmax(dim=1) == batch.chances.argmax(dim=1)).float().mean()
        return divergence, {"loss": divergence.detach(), "agreement": agreement}

    policy.set_training_mode(True)
    generator = torch.Generator().manual_seed(seed)
    totals: dict[str, float] = {}
    for _ in range(epochs):
        totals = {"loss": 0.0, "agreement": 0.0}
        for rows in _minibatches(len(observations), generator):
            statistics = leave_gradient(parameters, LabelledClasses(observations[rows], chances[rows]), part_size, loss)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            for name in totals:
                totals[name] += float(statistics[name]) * len(rows) / len(observations)
    policy.set_training_mode(False)
    return totals


def _minibatches(size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    yield from torch.randperm(size, generator=generator).split(BATCH_SIZE)
