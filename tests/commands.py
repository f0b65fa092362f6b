"""The command `lcd` in the process of the tests: a process of its own imports torch and reads Procgen's assets anew."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from unittest import mock

from lcd.cli.main import main


@dataclass(frozen=True)
class Ended:
    """Exit status and output of a command, named as those of a process."""

    returncode: int
    stdout: str
    stderr: str


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def lcd(*arguments: str, cwd: Path) -> Ended:
    """Carry out the command in this process; what it does not turn into a sentence and a status is raised."""
    out, err, status = StringIO(), StringIO(), 0
    with (
        working_in(cwd),
        mock.patch.object(sys, "argv", ["lcd", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Ended(status, out.getvalue(), err.getvalue())


def lcd_process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Carry out the command in a process of its own, for tests of the process itself."""
    command = [sys.executable, "-m", "lcd.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=400)
