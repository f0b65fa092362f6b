"""Gradient steps on a GPU whose statistics are read once an epoch, not after every minibatch.

To read a number is to wait for the device, which meanwhile has nothing to do. But a loss that is no number must not
reach the weights before anybody reads it: the device itself then skips the step, and all steps after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.optim import Adam, Optimizer

from lcd.agents.acting import acts_recorded, places
from lcd.agents.gradient import Statistics
from lcd.agents.recorded import Recorded, is_recordable

if TYPE_CHECKING:
    from lcd.agents.ppo import PPO

Batch = TypeVar("Batch")

DECISIVE = ("loss", "grad_norm")
"""Statistics that decide whether training has diverged."""


def can_skip(optimizer: Optimizer) -> bool:
    """Whether an optimiser skips its step where a flag on the device says so: Adam, fused, as mixed precision uses it.

    ``torch.amp.GradScaler`` sets the same flag for the same reason.
    """
    return isinstance(optimizer, Adam) and all(group.get("fused") for group in optimizer.param_groups)


@contextmanager
def skipping(optimizer: Optimizer, device: torch.device) -> Iterator[torch.Tensor]:
    """Let an optimiser leave the weights as they are while a flag is not 0.

    Yields
    ------
    torch.Tensor, shape (), float32
        The flag, 0 at first.
    """
    flag = torch.zeros((), device=device)
    optimizer.found_inf = flag  # type: ignore[attr-defined]
    try:
        yield flag
    finally:
        del optimizer.found_inf  # type: ignore[attr-defined]


def steps_of_epoch(
    optimizer: Optimizer, minibatches: Iterable[Batch], gradient: Callable[[Batch], Statistics], device: torch.device
) -> list[dict[str, float]]:
    """Make a step for each minibatch, and none from the first on whose loss or gradient is no number.

    Parameters
    ----------
    optimizer
        One that `can_skip`.
    minibatches
        What is learned from.
    gradient
        Accumulates a minibatch's gradient into ``.grad`` and gives scalars for the log, `DECISIVE` among them.
    device
        Where they are.

    Returns
    -------
    list of dict
        The scalars of each minibatch, read all together.
    """
    rows: list[torch.Tensor] = []
    names: list[str] = []
    with skipping(optimizer, device) as flag:
        for batch in minibatches:
            statistics = gradient(batch)
            names = list(statistics)
            rows.append(torch.stack(list(statistics.values())))
            finite = torch.stack([statistics[name] for name in DECISIVE]).isfinite().all()
            flag.masked_fill_(~finite, 1.0)
            optimizer.step()
    if not rows:
        return []
    return [dict(zip(names, numbers, strict=True)) for numbers in torch.stack(rows).tolist()]


class RecordedGradient:
    """A learner's gradient of a minibatch, recorded where a GPU can record its network and its loss.

    Parameters
    ----------
    learner
        Its loss is recorded if it is marked `lcd.agents.recorded.recordable`.
    """

    def __init__(self, learner: PPO) -> None:
        self._learner, self._clip_range, self._batch_type = learner, 0.0, tuple
        self._names: list[str] = []
        self._reached: list[torch.nn.Parameter] = []
        self.computing = Recorded(self._compute)
        if not (acts_recorded(learner.policy) and is_recordable(learner.minibatch_loss)):
            self.computing.refused = "the encoder or the loss does not do the same operations in every state"

    def __call__(self, batch: Any, clip_range: float) -> Statistics:
        """Accumulate a minibatch's gradient, clipped, into ``.grad``; gives scalars for the log."""
        learner = self._learner
        self._clip_range, self._batch_type = clip_range, type(batch)
        limit = learner.clip_range_vf and learner.clip_range_vf(learner._current_progress_remaining)  # type: ignore[operator]
        constants = (
            (type(batch), clip_range, limit, learner.ent_coef, learner.vf_coef, learner.max_grad_norm),
            learner.policy.training,
            learner.part_size,
            places(learner.policy),
        )
        numbers, *gradients = self.computing(*batch, constants=constants)
        for parameter, gradient in zip(self._reached, gradients, strict=True):
            parameter.grad = gradient
        return dict(zip(self._names, numbers.unbind(), strict=True))

    def _compute(self, *columns: torch.Tensor) -> tuple[torch.Tensor, ...]:
        statistics = self._learner.gradient(self._batch_type._make(columns), self._clip_range)  # type: ignore[attr-defined]
        self._names = list(statistics)
        parameters = self._learner.trained_parameters
        reached = {parameter: parameter.grad for parameter in parameters if parameter.grad is not None}
        self._reached = list(reached)
        return torch.stack(list(statistics.values())), *reached.values()
