import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tests share the machine with each other's worker processes."""
    import torch

    torch.set_num_threads(1)
