"""Runs the main function of a script in this process."""

from __future__ import annotations

import sys
from types import ModuleType
from unittest import mock


def run_script(script: ModuleType, *arguments: object) -> int:
    """Exit status of a script with these arguments."""
    with mock.patch.object(sys, "argv", [script.__file__, *map(str, arguments)]):
        try:
            script.main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
