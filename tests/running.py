"""Runs the main function of a script in this process."""

from __future__ import annotations

import signal
import subprocess
import sys
from types import ModuleType
from unittest import mock


def run_script(script: ModuleType, *arguments: object) -> int:
    """Exit status of a script with these arguments; it leaves the handlers of signals as they were."""
    before = {sent: signal.getsignal(sent) for sent in (signal.SIGINT, signal.SIGTERM)}
    try:
        with mock.patch.object(sys, "argv", [script.__file__, *map(str, arguments)]):
            status = script.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        for sent, handler in before.items():
            signal.signal(sent, handler)
    return status or 0


def run_script_apart(script: ModuleType, *arguments: object) -> None:
    """Run a script in a process of its own, because it changes this one; it must succeed."""
    command = [sys.executable, str(script.__file__), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
