"""Parallel map over threads of the CPU, with torch single-threaded in each."""

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
    """Number of threads that `parallel_map` uses: within `single_threaded` torch's number before it, elsewhere one.

    On other devices than a CPU it is always one.
    """
    return (_threads_left_free.get() or 1) if device.type == "cpu" else 1


def thread_share(size: int, device: torch.device) -> int:
    """Size of the parts, at least 1, that gives each of the `free_threads` one part."""
    return max(1, math.ceil(size / free_threads(device)))


@contextmanager
def single_threaded() -> Iterator[None]:
    """Set torch to one thread within a context, which frees the others for `parallel_map`.

    After a multi-threaded operation the worker threads of OpenMP spin for some milliseconds. They would delay the parts
    of a `parallel_map` that starts meanwhile.
    """
    threads = torch.get_num_threads()
    left_free = _threads_left_free.set(_threads_left_free.get() or threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _threads_left_free.reset(left_free)


@contextmanager
def one_thread() -> Iterator[None]:
    """Set torch and `parallel_map` to one thread within a context, for work beside which other processes do the like.

    What is computed is then the same however many cores there are.
    """
    threads = torch.get_num_threads()
    left_free = _threads_left_free.set(1)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _threads_left_free.reset(left_free)


def parallel_map(function: Callable[[Part], Result], parts: Iterable[Part], device: torch.device) -> Iterator[Result]:
    """Map a function over parts, in parallel threads; results come in order.

    On a CPU, one thread a part is faster than all threads within each small operation: they synchronise once at the end
    instead of after every operation. So within `single_threaded` each part runs in one of the `free_threads`. Outside,
    with one thread, and on another device it is the plain ``map``, and torch's operations are multi-threaded as usual.
    """
    threads, before = free_threads(device), torch.get_num_threads()
    if threads == 1:
        yield from map(function, parts)
        return

    def alone(part: Part) -> Result:
        torch.set_num_threads(1)  # for every part, because MKL has one setting for all threads
        return function(part)

    try:
        yield from _pool(threads).map(alone, parts)
    finally:
        torch.set_num_threads(before)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "lcd-part")
