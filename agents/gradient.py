"""Accumulation of a minibatch's gradient over parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch

from lcd.agents.parallel import parallel_map, thread_share

Statistics = dict[str, torch.Tensor]

Batch = TypeVar("Batch", bound=NamedTuple)


def accumulate_gradient(
    parameters: Sequence[torch.nn.Parameter],
    batch: Batch,
    part_size: int,
    loss: Callable[[Batch], tuple[torch.Tensor, Statistics]],
) -> Statistics:
    """Accumulate the gradient of a minibatch's mean loss into ``.grad``.

    On a CPU, within `single_threaded`, the minibatch is split over threads. Gradients are added in the order of the
    parts, so the sum does not depend on timing.

    Parameters
    ----------
    parameters
        Trained parameters.
    batch
        Tensors with the samples along their first axis.
    part_size
        Largest number of samples in one forward pass, which bounds the memory.
    loss
        From a part to its mean loss, a scalar, and scalars for the log.

    Returns
    -------
    dict
        The scalars, averaged over the minibatch.
    """
    first = batch[0]
    size, device = len(first), first.device
    part_size = min(part_size, thread_share(size, device))

    def gradients_of(columns: tuple[torch.Tensor, ...]) -> tuple[tuple[torch.Tensor | None, ...], Statistics]:
        share = len(columns[0]) / size
        value, statistics = loss(type(batch)._make(columns))
        gradients = torch.autograd.grad(value * share, parameters, allow_unused=True)
        return gradients, {name: value * share for name, value in statistics.items()}

    for parameter in parameters:
        parameter.grad = None
    total: Statistics = defaultdict(lambda: torch.zeros((), device=device))
    parts = zip(*(column.split(part_size) for column in batch), strict=True)
    for gradients, statistics in parallel_map(gradients_of, parts, device):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        for name, value in statistics.items():
            total[name] += value
    return total
