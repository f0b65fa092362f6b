"""Processes that end with the process that started them, and start without the user's script."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def end_with_parent() -> None:
    """Watch from a thread that the process that planned the work is there, and leave when it is gone.

    Its result could not be kept any more.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


_HIDING = threading.Lock()


@contextmanager
def hidden_script() -> Iterator[None]:
    """Keep a new process from importing the user's script, which would carry out the plan once more from there.

    A process that is started looks for `__file__` and `__spec__` in `__main__`. Everything else of the script stays,
    for other threads may need it meanwhile; those that start processes themselves wait for one another.
    """
    with _HIDING:
        script = sys.modules["__main__"]
        hiding = ModuleType("__main__")
        vars(hiding).update((name, value) for name, value in vars(script).items() if name not in _LOCATING)
        sys.modules["__main__"] = hiding
        try:
            yield
        finally:
            sys.modules["__main__"] = script


_LOCATING = ("__file__", "__spec__")
"""What tells where a module comes from."""


_PRELOADED: dict[str, None] = {}


def preload(*modules: str) -> None:
    """Let new processes find modules imported already: the server that they are forked from imports them once.

    It has an effect before the first process is started; what earlier calls named is kept.
    """
    _PRELOADED.update(dict.fromkeys(modules))
    if start_method() == "forkserver":
        multiprocessing.set_forkserver_preload([*_PRELOADED])


def start_method() -> str:
    """How processes are started here: forked from a server where the system has that, else anew."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
