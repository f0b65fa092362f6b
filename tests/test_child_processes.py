"""Work in several processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from lcd.envs.external.game import GameFault
from lcd.io.child_processes import in_processes
from lcd.io.watching import WATCH


@pytest.mark.parametrize("processes", [1, 2])
def test_each_task_comes_with_its_result(processes):
    assert sorted(in_processes(int, ["3", "1", "2"], processes)) == [("1", 1), ("2", 2), ("3", 3)]
    assert list(in_processes(int, [], processes)) == []


def test_a_single_task_stays_in_this_process():
    ((_, worked_in),) = in_processes(eval, ["__import__('os').getpid()"], 4)
    assert worked_in == os.getpid()


def test_what_was_done_before_a_failure_is_given():
    given = []
    with pytest.raises(ValueError, match="'x'"):
        for pair in in_processes(int, ["1", "2", "x"], 2):
            given.append(pair)
    assert ("1", 1) in given


def test_a_process_that_is_ended_from_outside_breaks_the_work_off():
    with pytest.raises(BrokenProcessPool):
        list(in_processes(os._exit, [3, 4], 2))


def hang(seconds):
    with WATCH.over(lambda: f"A step of {seconds} seconds"):
        time.sleep(seconds)


def test_a_game_that_hangs_in_a_process_is_named(monkeypatch):
    monkeypatch.setattr(WATCH, "limit", 1.0)
    began = time.monotonic()
    with pytest.raises(GameFault, match="A step of 60 seconds has not come back for 1 seconds: it hangs"):
        list(in_processes(hang, [60, 60], 2, fault=GameFault))
    assert time.monotonic() - began < 50


def test_sigterm_ends_the_processes():
    code = (
        "import os, signal, sys, threading, time\n"
        "from lcd.io.child_processes import in_processes\n"
        "threading.Timer(3, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "list(in_processes(time.sleep, [60, 61], 2))\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (128 + 15, "")
    assert time.monotonic() - began < 50
