"""Which errors are the user's to mend, and how a command ends with them."""

from __future__ import annotations

BAD_INPUT, FAILURE = 2, 1


def exit_status(error: Exception) -> int | None:
    """Exit status of a command that ended with an error whose message is one clear sentence.

    Parameters
    ----------
    error
        What was raised.

    Returns
    -------
    int or None
        2 for bad input, 1 for a failure while running, None for an error that is the program's own.
    """
    from agents import TrainingDiverged
    from lcd.execution import RunFailed
    from lcd.store import StoreError

    if isinstance(error, (RunFailed, StoreError, TrainingDiverged, OSError)):
        return FAILURE
    return BAD_INPUT if isinstance(error, ValueError) else None
