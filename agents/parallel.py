"""Parts of one computation side by side, a thread of the processor for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")

_threads_left_free: ContextVar[int] = ContextVar("_threads_left_free", default=0)


def free_threads(device: torch.device) -> int:
    """How many threads `side_by_side` uses: in `working_alone` as many as torch had before it, elsewhere one.

    On another device than a CPU it is always one.
    """
    return (_threads_left_free.get() or 1) if device.type == "cpu" else 1


def thread_share(size: int, device: torch.device) -> int:
    """Size of the parts, at least 1, such that each of the `free_threads` has one."""
    return max(1, math.ceil(size / free_threads(device)))


@contextmanager
def working_alone() -> Iterator[None]:
    """Let this thread share no operation with others: they are left to what is done `side_by_side`.

    The helpers of an operation that threads share spin for some milliseconds, waiting for the next one. Parts that
    began meanwhile would find these processors taken, and begin late.
    """
    threads = torch.get_num_threads()
    left_free = _threads_left_free.set(_threads_left_free.get() or threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _threads_left_free.reset(left_free)


def side_by_side(function: Callable[[Part], Result], parts: Iterable[Part], device: torch.device) -> Iterator[Result]:
    """Results of a function for each part, in order.

    On a CPU, a thread that does all of a part's small operations alone is faster than all threads sharing each of them:
    they wait for each other at the end of the computation instead of at the end of every operation. So in
    `working_alone` each part has one of the `free_threads`. With one, outside, and on another device, it is the plain
    ``map``, and threads share operations as torch has them do.
    """
    threads, before = free_threads(device), torch.get_num_threads()
    if threads == 1:
        yield from map(function, parts)
        return

    def alone(part: Part) -> Result:
        torch.set_num_threads(1)  # every time, for MKL has one setting for all threads
        return function(part)

    try:
        yield from _pool(threads).map(alone, parts)
    finally:
        torch.set_num_threads(before)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "lcd-part")
