import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tests share the machine with each other's worker processes."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def three_threads():
    """As many threads of torch, as long as the test lasts."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)
