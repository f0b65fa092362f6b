"""Work in several processes."""

from __future__ import annotations

import os
from concurrent.futures.process import BrokenProcessPool

import pytest

from lcd.io.child_processes import in_processes


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


def test_a_process_that_is_ended_from_outside_is_told():
    with pytest.raises(BrokenProcessPool):
        list(in_processes(os._exit, [3, 4], 2))
