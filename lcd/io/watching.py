"""Finds a step or reset of somebody else's game that does not come back."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lcd.io.limits import STEP_LIMIT

CHECKS = 10
"""Times that a limit is checked before it is over."""


class Watch:
    """Watches what one thread does, from another.

    A call that keeps Python's lock, as some of compiled code do, stops this too; then the process that planned the run
    ends it for its silence, see `lcd.experiments.processes`.

    Attributes
    ----------
    limit
        Seconds that a call may take before it is taken to hang.
    ended
        What is called with a sentence, once a call, if one takes longer. A process that carries out a run ends then;
        in others a warning is written, as a user may have stopped in a debugger.
    begun
        What is called with a description of each call before it is made, where it is set.
    calls
        Number of calls that were watched so far.
    """

    def __init__(self) -> None:
        self.limit: float = STEP_LIMIT
        self.calls = 0
        self.ended: Callable[[str], None] = lambda sentence: print(sentence, file=sys.stderr, flush=True)
        self.begun: Callable[[Callable[[], str]], None] | None = None
        self._doing: tuple[float, Callable[[], str]] | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, describe: Callable[[], str]) -> Iterator[None]:
        """Watch a call; `describe` says in words what it is."""
        if self._thread is None or not self._thread.is_alive():  # not in a process that was forked
            self._thread = threading.Thread(target=self._check, daemon=True)
            self._thread.start()
        self._doing = time.monotonic(), describe
        if self.begun is not None:
            self.begun(describe)
        self.calls += 1
        try:
            yield
        finally:
            self._doing = None

    @contextmanager
    def raising(self, error: type[Exception]) -> Iterator[None]:
        """Raise an error with the sentence where a game in another process hangs, as long as the context lasts."""

        def ended(sentence: str) -> None:
            raise error(sentence)

        kept, self.ended = self.ended, ended
        try:
            yield
        finally:
            self.ended = kept

    def _check(self) -> None:
        reported = -math.inf
        while True:
            time.sleep(self.limit / CHECKS)
            reported = self._look(reported)  # a function of its own, so that no game is held while this sleeps

    def _look(self, reported: float) -> float:
        """Report a call that hangs: when it began, or else what was given, the beginning of the last one reported."""
        doing = self._doing
        if doing is None or doing[0] == reported or time.monotonic() - doing[0] <= self.limit:
            return reported
        self.ended(f"{doing[1]()} has not come back for {self.limit:.0f} seconds: it hangs.")
        return doing[0]


WATCH = Watch()
"""The watch of this process: games of other packages step in one thread."""
