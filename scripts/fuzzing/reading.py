"""Reading a file as a command does, within limits of time and memory."""

from __future__ import annotations

import contextlib
import io
import resource
import signal
import traceback
from pathlib import Path
from typing import Any

from fuzzing.kinds import Kind

SECONDS, MEMORY = 60, 3 * 2**30
"""Limits of one reading: time, and address space beside what the process has."""


class TookTooLongError(BaseException):
    """A reading did not end; no reader can catch it by mistake."""


def outcome(kind: Kind, file: Path) -> tuple[str, str]:
    """What became of a file: a column of the table, and what was said."""
    said = io.StringIO()
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, limits[1]))
    status: Any = 0
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            kind.read(file)
    except SystemExit as end:
        status = end.code or 0
    except ValueError as error:
        status = 2
        said.write(str(error))
    except TookTooLongError:
        return "faults", f"more than {SECONDS} s"
    except BaseException:
        return "faults", traceback.format_exc()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    text = said.getvalue()
    if status == 0:
        return "accepted", text
    refused = status == 2 and "Traceback" not in text and text.strip() and "\n" not in text.strip()
    if not refused or "The memory" in text:
        return "faults", f"exit status {status}: {text}"
    return "refused", text


def _too_long(number: int, frame: Any) -> None:
    raise TookTooLongError
