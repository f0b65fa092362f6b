"""Exit statuses and messages of errors that a user can correct."""

from __future__ import annotations

import errno
import os
import tempfile
from concurrent.futures.process import BrokenProcessPool

BAD_INPUT, FAILURE = 2, 1

_LONGEST = 2_000  # signs of a message

_FULL = tuple(getattr(errno, name) for name in ("ENOSPC", "EDQUOT") if hasattr(errno, name))

_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)
"""Faults of the path that was named."""


def exit_status(error: Exception) -> int | None:
    """Exit status for an error whose message is one clear sentence.

    Parameters
    ----------
    error
        What was raised.

    Returns
    -------
    int or None
        2 for bad input, 1 for a failure while running, None for a bug of the program.
    """
    from lcd.agents import TrainingDiverged
    from lcd.envs.external.game import GameFault
    from lcd.experiments.execution import RunFailed
    from lcd.experiments.store import StoreError
    from lcd.studies.finished_runs import NothingLearned

    if isinstance(error, StoreError):  # what a folder holds that was named
        return BAD_INPUT
    if isinstance(error, OSError) and error.errno in _PATHS:
        return BAD_INPUT
    failures = (RunFailed, NothingLearned, GameFault, TrainingDiverged, OSError, MemoryError, BrokenProcessPool)
    if isinstance(error, failures) or _is_of_gpu(error):
        return FAILURE
    return BAD_INPUT if isinstance(error, ValueError) else None


def _is_of_gpu(error: Exception) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError)


def sentence(error: Exception) -> str:
    """Message of an error as one sentence on one line; errors of the system name their path.

    Parameters
    ----------
    error
        What was raised.
    """
    if isinstance(error, MemoryError):
        return "The memory is exhausted: use fewer --workers, or smaller files."
    if isinstance(error, BrokenProcessPool):
        return "A process was ended from outside, perhaps as the memory is exhausted: use fewer --workers."
    if _is_of_gpu(error):
        return "The memory of the GPU is exhausted: use a smaller network or fewer images at once, or --device cpu."
    if not isinstance(error, OSError) or error.errno is None:
        text = "".join(sign if sign.isprintable() else " " for sign in str(error))
        text = " ".join(text.split()) or type(error).__name__
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    if error.errno in _FULL:
        where = error.filename or f"what is being written, or for temporary files in {_temporary()}"
        return f"There is no space left on the disk for {where}: free some and start the same command again."
    said = error.strerror or type(error).__name__
    return f"{said}." if error.filename is None else f"{error.filename} cannot be used ({said}): name another."


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # where there is no room in any
        return os.environ.get("TMPDIR", "TMPDIR")
