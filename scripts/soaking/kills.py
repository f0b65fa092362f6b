"""SIGKILL to a survey's processes at random moments; what it leaves must be what an undisturbed one does."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lcd.io.files import checksum
from soaking.surveys import Place, differing, end_session, results, trainers
from soaking.table import Row, say

LARGEST_WAIT = 600.0
"""Seconds after which a command that should have ended is taken to hang."""


def kills(count: int, draw: random.Random, undisturbed: Place, workers: int) -> Iterator[list[Row]]:
    """Kill a survey again and again, and compare what it leaves with that of an undisturbed one."""
    victims = {name: Row("kills", name) for name in ("the planning process", "a training process", "all processes")}
    plans = Row("kills", "surveys that ended all the same")
    rows = [*victims.values(), plans]
    whole = undisturbed.carry_out(workers)
    expected = results(undisturbed)
    say(f"kills: an undisturbed survey of {len(undisturbed.runs)} runs takes {whole:.0f} s")
    while sum(row.tried for row in victims.values()) < count:
        place = replace(undisturbed, folder=Path(tempfile.mkdtemp(prefix="disturbed-", dir=undisturbed.folder.parent)))
        while True:
            before = {name: checksum(path / "run.json") for name, path in place.runs.items()}
            process = place.start(workers)
            try:
                more = sum(row.tried for row in victims.values()) < count
                try:
                    process.wait(draw.expovariate(4 / whole) if more else LARGEST_WAIT + 3 * whole)
                except subprocess.TimeoutExpired:
                    row = kill(process, victims, draw)
                else:
                    row = plans
                    row.tried += 1
            finally:
                end_session(process)
            after = {name: checksum(path / "run.json") for name, path in place.runs.items()}
            wrong = [name for name in before if before[name] != after.get(name)]
            if "Traceback" in place.errors() or (row is plans and process.returncode):
                wrong.append(place.errors().strip()[-2000:])
            if row is plans:
                wrong += differing(expected, results(place))
            row.lost += len(wrong)
            row.unchanged += not wrong
            done = sum(each.tried for each in victims.values())
            say(
                f"kills: {done} of {count}, {row.what}; {len(after)} runs are finished"
                + "".join(f"\n  LOST {each}" for each in wrong)
            )
            yield rows
            if row is plans:
                break


def kill(process: subprocess.Popen[str], victims: dict[str, Row], draw: random.Random) -> Row:
    """Send SIGKILL to one of a command's processes, or to all, and wait until all of them are gone."""
    name = draw.choice(list(victims))
    working = trainers(process.pid)
    if name == "a training process" and not working:
        name = "the planning process"
    if name == "all processes":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        victim = draw.choice(working) if name == "a training process" else process.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    try:
        process.wait(LARGEST_WAIT)
        deadline = time.monotonic() + 60
        while session_lives(process.pid):  # who trains for a plan that is gone ends by itself
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("the training processes", 60)
            time.sleep(0.05)
    except subprocess.TimeoutExpired as error:
        victims[name].lost += 1
        say(f"  LOST {error}: it goes on after {name} was killed")
    victims[name].tried += 1
    return victims[name]


def session_lives(session: int) -> bool:
    """Whether any process of a session is alive."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(group) == session and state != "Z":
                return True
    return False
