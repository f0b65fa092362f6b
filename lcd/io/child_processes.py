"""Processes that end with the process that started them, and start without the user's script."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

from lcd.io.watching import WATCH

Task = TypeVar("Task")
Result = TypeVar("Result")


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


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that processes are stopped and workspaces removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(signum: int, frame: Any) -> None:
        raise SystemExit(128 + signum)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def in_processes(
    work: Callable[[Task], Result], tasks: Sequence[Task], processes: int, *, fault: type[Exception] = RuntimeError
) -> Iterator[tuple[Task, Result]]:
    """Each task with its result, as soon as it is done; what was done before one failed is given as well.

    Parameters
    ----------
    work
        A function of a module, called with each task, in a process of its own if there are several.
    tasks
        What can be sent to a process.
    processes
        How many work at once.
    fault
        What is raised where a process ends itself because a game hangs.

    Raises
    ------
    concurrent.futures.process.BrokenProcessPool
        If a process was ended from outside. What `work` raises is raised here.
    """
    processes = min(processes, len(tasks))
    if processes <= 1:
        yield from ((task, work(task)) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")
    hanging = context.SimpleQueue()
    pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(WATCH.limit, hanging))
    try:
        with terminable():
            with hidden_script():  # processes are started as work is given to them
                waiting = {pool.submit(work, task): task for task in tasks}
            yield from _as_done(waiting)
    except BaseException as error:
        started = list((pool._processes or {}).values())  # which a shutdown forgets
        pool.shutdown(wait=False, cancel_futures=True)
        for process in started:
            process.terminate()
        if isinstance(error, BrokenProcessPool) and not hanging.empty():
            raise fault(hanging.get()) from None
        raise
    pool.shutdown()


def _as_done(waiting: Mapping[Future[Result], Task]) -> Iterator[tuple[Task, Result]]:
    """Each task with its result, as soon as it is done, and after a failure those that are done by then."""
    given: set[Future[Result]] = set()
    try:
        for finished in as_completed(waiting):
            yield waiting[finished], finished.result()
            given.add(finished)
    except Exception:
        for each in waiting.keys() - given:
            if each.done() and not each.cancelled() and each.exception() is None:
                yield waiting[each], each.result()
        raise


def _begin(step_limit: float, hanging: multiprocessing.SimpleQueue[str]) -> None:
    """What a process does before its first task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that planned the work decides when it ends
    end_with_parent()

    def hangs(sentence: str) -> None:
        hanging.put(sentence)
        os._exit(1)

    WATCH.limit, WATCH.ended = step_limit, hangs
