"""Parts of one computation side by side, a thread of the processor for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def side_by_side(function: Callable[[Part], Result], parts: Iterable[Part], device: torch.device) -> Iterator[Result]:
    """Results of a function for each part, in order.

    On a CPU, a thread that does all of a part's small operations alone is faster than all threads sharing each of them:
    they wait for each other at the end of the computation instead of at the end of every operation. So each part has
    one of the ``torch.get_num_threads()`` threads. On another device, and with one thread, it is the plain ``map``.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield from map(function, parts)
        return

    def alone(part: Part) -> Result:
        torch.set_num_threads(1)  # every time, for MKL has one setting for all threads
        return function(part)

    try:
        yield from _pool(threads).map(alone, parts)
    finally:
        torch.set_num_threads(threads)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "lcd-part")
