"""A game's own share of the generators that all code of a process draws from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

TRIED_STEPS = 32
"""Steps after which a game that has not used the common generators so far is taken not to."""

OWN = 20_231_128
"""Tells the states that a level decides from those that a game makes of the same number."""

States = tuple[Any, ...]


class OwnRandomness:
    """Keeps what a game does with the generators of random, numpy and torch apart from what a learner draws.

    Many games seed them in `reset`, so that every learner, of whatever seed, would explore alike from there on, and
    some draw from them. A game gets states of its own, which its level decides anew at each reset, as it does those of
    Gymnasium's generator: a game that draws its level from the common ones has as many levels as others, and the same
    in each process. Of a game that does not use them in its first steps only resets are watched, since looking after
    the states takes as long as a fast step.
    """

    def __init__(self) -> None:
        self._own: States | None = None
        self._uses, self._tried = False, 0

    @contextmanager
    def around(self, seed: int | None = None) -> Iterator[None]:
        """A call of the game.

        Parameters
        ----------
        seed
            Of the states with which it begins; by default those with which the call before ended.
        """
        if seed is None and not self._uses and self._tried >= TRIED_STEPS:
            yield
            return
        self._tried += seed is None
        outer = _states()
        if seed is not None:
            _seed(seed)
        elif self._own is not None:
            _set_states(self._own)
        before = _states()
        try:
            yield
        finally:
            self._own = _states()
            self._uses = self._uses or not _same(before, self._own)
            _set_states(outer)


@contextmanager
def stirred() -> Iterator[None]:
    """Common generators in states of chance: what a game draws in steps that are not watched is not the same twice."""
    outer = _states()
    random.seed()
    np.random.seed()  # noqa: NPY002 (what games draw from)
    torch.seed()
    try:
        yield
    finally:
        _set_states(outer)


def _states() -> States:
    """The states of the common generators."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 (what games draw from)


def _seed(seed: int) -> None:
    """Put the generators into states that a game which seeds them itself does not happen to choose."""
    other = int(np.random.SeedSequence([seed, OWN]).generate_state(1)[0])
    random.seed(other)
    np.random.seed(other)  # noqa: NPY002
    torch.default_generator.manual_seed(other)


def _set_states(states: States) -> None:
    of_python, of_numpy, of_torch = states
    random.setstate(of_python)
    np.random.set_state(of_numpy)  # noqa: NPY002
    torch.set_rng_state(of_torch)


def _same(one: States, other: States) -> bool:
    """Whether two states are the same."""
    (name, keys, *rest), (other_name, other_keys, *others) = one[1], other[1]
    alike = one[0] == other[0] and (name, rest) == (other_name, others) and np.array_equal(keys, other_keys)
    return alike and torch.equal(one[2], other[2])
