"""Runs the main function of a script in this process."""

from __future__ import annotations

import signal
import sys
from types import ModuleType
from unittest import mock


def run_script(script: ModuleType, *arguments: object) -> int:
    """Exit status of a script with these arguments; it leaves the handlers of signals as they were."""
    before = {sent: signal.getsignal(sent) for sent in (signal.SIGINT, signal.SIGTERM)}
    try:
        with mock.patch.object(sys, "argv", [script.__file__, *map(str, arguments)]):
            script.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        for sent, handler in before.items():
            signal.signal(sent, handler)
    return 0
