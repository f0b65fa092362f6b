"""Draws from torch's global generators that leave them as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw as after ``torch.manual_seed``, and then put the global generators back.

    ``torch.manual_seed`` also seeds the generators of all GPUs, which `torch.random.fork_rng` puts back only where it
    is told of them.
    """
    if not torch.cuda.is_initialized():  # then nothing is drawn there, and to ask for its state would begin to use it
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
        return
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.manual_seed(seed)
        yield
