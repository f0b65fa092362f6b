"""Work side by side: in order, on one thread each, and loud about errors."""

import threading

import pytest
import torch

from lcd.agents.parallel import free_threads, side_by_side, working_alone

CPU = torch.device("cpu")


@pytest.mark.usefixtures("three_threads")
def test_parts_run_at_once_each_on_one_thread_and_come_back_in_order():
    together = threading.Barrier(3, timeout=30)  # broken, unless three parts are under way at the same time

    def part(number: int) -> tuple[int, int]:
        together.wait()
        return number, torch.get_num_threads()

    with working_alone():
        assert list(side_by_side(part, range(6), CPU)) == [(number, 1) for number in range(6)]
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_who_works_alone_leaves_the_threads_to_others_and_takes_them_back():
    with pytest.raises(LookupError), working_alone(), working_alone():
        assert (free_threads(CPU), free_threads(torch.device("meta")), torch.get_num_threads()) == (3, 1, 1)
        raise LookupError
    assert (free_threads(CPU), torch.get_num_threads()) == (1, 3)


@pytest.mark.usefixtures("three_threads")
def test_an_error_in_a_part_reaches_the_caller():
    with pytest.raises(ZeroDivisionError), working_alone():
        list(side_by_side(lambda number: 1 // number, [1, 0, 1], CPU))
    assert torch.get_num_threads() == 3


def workers(device: str) -> set[int]:
    """Threads that compute three parts."""
    return set(side_by_side(lambda _: threading.get_ident(), range(3), torch.device(device)))


def test_elsewhere_the_caller_computes_all_parts(three_threads):
    assert workers("cpu") == {threading.get_ident()}
    with working_alone():
        assert workers("meta") == {threading.get_ident()}
    torch.set_num_threads(1)
    with working_alone():
        assert workers("cpu") == {threading.get_ident()}
