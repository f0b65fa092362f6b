"""The parallel map: results in order, one thread a part, errors raised."""

import threading

import pytest
import torch

from lcd.agents.parallel import free_threads, parallel_map, single_threaded

CPU = torch.device("cpu")


@pytest.mark.usefixtures("three_threads")
def test_parts_run_in_parallel_each_single_threaded_with_results_in_order():
    together = threading.Barrier(3, timeout=30)  # broken, unless three parts are under way at the same time

    def part(number: int) -> tuple[int, int]:
        together.wait()
        return number, torch.get_num_threads()

    with single_threaded():
        assert list(parallel_map(part, range(6), CPU)) == [(number, 1) for number in range(6)]
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_a_single_threaded_context_frees_the_threads_and_takes_them_back():
    with pytest.raises(LookupError), single_threaded(), single_threaded():
        assert (free_threads(CPU), free_threads(torch.device("meta")), torch.get_num_threads()) == (3, 1, 1)
        raise LookupError
    assert (free_threads(CPU), torch.get_num_threads()) == (1, 3)


@pytest.mark.usefixtures("three_threads")
def test_an_error_in_a_part_reaches_the_caller():
    with pytest.raises(ZeroDivisionError), single_threaded():
        list(parallel_map(lambda number: 1 // number, [1, 0, 1], CPU))
    assert torch.get_num_threads() == 3


def workers(device: str) -> set[int]:
    """Threads that compute three parts."""
    return set(parallel_map(lambda _: threading.get_ident(), range(3), torch.device(device)))


def test_elsewhere_the_caller_computes_all_parts(three_threads):
    assert workers("cpu") == {threading.get_ident()}
    with single_threaded():
        assert workers("meta") == {threading.get_ident()}
    torch.set_num_threads(1)
    with single_threaded():
        assert workers("cpu") == {threading.get_ident()}
