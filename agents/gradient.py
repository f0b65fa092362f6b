"""The gradient of a minibatch, as the sum over its parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch

from lcd.agents.parallel import side_by_side, thread_share

Statistics = dict[str, torch.Tensor]

Batch = TypeVar("Batch", bound=NamedTuple)


def leave_gradient(
    parameters: Sequence[torch.nn.Parameter],
    batch: Batch,
    part_size: int,
    loss: Callable[[Batch], tuple[torch.Tensor, Statistics]],
) -> Statistics:
    """Leave the gradient of a mean loss over a minibatch in the parameters.

    On a CPU, in `working_alone`, the parts are at most the minibatch's share of a thread, and the threads compute them
    side by side. The sum is taken in the order of the parts, so it does not depend on which is done first.

    Parameters
    ----------
    parameters
        What is trained.
    batch
        Tensors with the samples along their first axis.
    part_size
        Largest number of samples that pass the network at once, which bounds the memory.
    loss
        Mean loss of a part, a scalar, with scalars for the log.

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
    for gradients, statistics in side_by_side(gradients_of, parts, device):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        for name, value in statistics.items():
            total[name] += value
    return total
