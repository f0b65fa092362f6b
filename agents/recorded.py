"""Functions of tensors that a GPU records once and replays as one launch.

A forward pass of 64 frames, or the gradient of a small minibatch, is hundreds of small kernels: the processor needs
longer to launch them than the GPU to compute them. A CUDA graph launches them all at once.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

Tensors = tuple[torch.Tensor, ...]
Function = Callable[..., Tensors]
Recorder = Callable[[Function, Tensors], Function]

WARM_UPS = 3
"""Calls before a function is recorded, in which libraries choose their kernels and tables are made; torch's own
``make_graphed_callables`` makes as many."""

MOST_SHAPES = 3
"""Recordings of one function at a time; each keeps memory of its own, and further shapes are computed as they come."""

MOST_CHANGES = 3
"""How often what a function reads besides its tensors may change before it is no longer recorded: to record it takes as
long as some dozens of calls."""

_log = logging.getLogger(__name__)

Marked = TypeVar("Marked", bound=Callable[..., object])

_RECORDABLE: set[object] = set()


def recordable(function: Marked) -> Marked:
    """Mark a method as one that does the same operations whatever the numbers are, and waits for none of them.

    The mark is of this function alone: a subclass that overrides the method is not recorded until it says so itself.
    """
    _RECORDABLE.add(function)
    return function


def is_recordable(function: object) -> bool:
    """Whether `recordable` has marked a function."""
    return getattr(function, "__func__", function) in _RECORDABLE


class Recorded:
    """A function of tensors that is recorded when it is first called on a GPU, and replayed from then on.

    It must do the same operations for all numbers, wait for none of them, and change nothing but what it gives. What
    it gives is overwritten by the next call. Where it cannot be recorded, or on a CPU, it is called as it is.

    Parameters
    ----------
    function
        Takes tensors, which need no gradient themselves, and gives a tuple of tensors.
    recorder
        Records it; by default as a CUDA graph.

    Attributes
    ----------
    refused : str
        Why it is not recorded; empty as long as nothing was in the way.
    """

    def __init__(self, function: Function, recorder: Recorder | None = None) -> None:
        self._function, self._recorder = function, recorder
        self._recordings: dict[Hashable, Function] = {}
        self._constants: Hashable = None
        self._changes = -1  # the first constants are no change
        self.refused = ""

    def __call__(self, *tensors: torch.Tensor, constants: Hashable = ()) -> Tensors:
        """What the function gives for some tensors.

        Parameters
        ----------
        *tensors
            Its arguments. There is a recording for each of their shapes, types and memory layouts.
        constants
            Whatever else the function reads that is no tensor: with other constants it is recorded anew, and what was
            recorded with the last ones is forgotten.
        """
        if self.refused or (self._recorder is None and not tensors[0].is_cuda):
            return self._function(*tensors)
        if self._changes < 0 or constants != self._constants:
            self._change(constants)
        key = tuple((tensor.shape, tensor.dtype, tensor.stride()) for tensor in tensors)
        if key not in self._recordings and not self._record(key, tensors):
            return self._function(*tensors)
        return self._recordings[key](*tensors)

    @property
    def recordings(self) -> int:
        """How many there are."""
        return len(self._recordings)

    def _change(self, constants: Hashable) -> None:
        self._recordings.clear()
        self._constants, self._changes = constants, self._changes + 1
        if self._changes > MOST_CHANGES:
            self._refuse("what it reads besides its tensors goes on changing")

    def _refuse(self, reason: str) -> None:
        self.refused = reason
        self._recordings.clear()
        _log.info("not recorded as a CUDA graph: %s", reason)

    def _record(self, key: Hashable, tensors: Tensors) -> bool:
        if self.refused or len(self._recordings) == MOST_SHAPES:
            return False
        try:
            self._recordings[key] = (self._recorder or record_graph)(self._function, tensors)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._refuse(" ".join(str(error).split())[:200] or type(error).__name__)
            return False
        return True


def record_graph(function: Function, tensors: Tensors) -> Function:
    """Record a function as a CUDA graph.

    Parameters
    ----------
    function
        See `Recorded`.
    tensors
        Arguments of the shapes, types and layouts that it will be called with, on a GPU.

    Returns
    -------
    callable
        Copies its arguments to where the recording reads them, replays it and gives the recording's own results.

    Raises
    ------
    RuntimeError
        If the function waits for the GPU, or does something else that cannot be recorded.
    """
    held = tuple(tensor.clone() for tensor in tensors)
    current, side = torch.cuda.current_stream(), torch.cuda.Stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):  # as torch's documentation of CUDA graphs asks for
        for _ in range(WARM_UPS - 1):
            function(*held)
        with _waiting_refused():  # found out now, for a recording that fails leaves more to be mended
            function(*held)
    current.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            outputs = function(*held)
    except RuntimeError:
        _mend(current)
        raise

    def replay(*arguments: torch.Tensor) -> Tensors:
        for place, argument in zip(held, arguments, strict=True):
            place.copy_(argument, non_blocking=True)
        graph.replay()
        return outputs

    return replay


@contextmanager
def _waiting_refused() -> Iterator[None]:
    """Raise a RuntimeError where the processor waits for the GPU; torch finds most of such places, not all."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that this is a prototype
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)


def _mend(stream: torch.cuda.Stream) -> None:
    """Bring torch back from a recording that failed: it leaves its own stream, and a generator that still records."""
    torch.cuda.set_stream(stream)
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    if hasattr(generator, "graphsafe_set_state"):  # torch 2.4 and later
        generator.graphsafe_set_state(generator.clone_state())
