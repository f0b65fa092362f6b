import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

with suppress(ImportError):  # the oldest versions are tried without it
    from hypothesis import settings

    settings.register_profile("full", max_examples=200)  # of make test-slow
    settings.register_profile("few", max_examples=50)
    settings.load_profile("few")

pytest_plugins = ["costly"]


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


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The finished runs of the tiny plan, trained once for all tests of a test run; they are for reading only."""
    from tiny import shared_folder, tiny_runs

    return tiny_runs(shared_folder(tmp_path_factory.getbasetemp()) / "tiny")


@pytest.fixture
def trained_copy(trained, tmp_path):
    """The same runs where commands keep them by default, to add to and to damage."""
    from lcd.experiments.store import Store
    from lcd.io.files import DEFAULT_STORE

    return Store(shutil.copytree(trained.store.root, tmp_path / DEFAULT_STORE))


@pytest.fixture
def short_timing(monkeypatch):
    """Speeds are measured for a moment only."""
    monkeypatch.setattr("lcd.experiments.timing.SECONDS", 0.02)


@pytest.fixture
def tiny_preset(monkeypatch):
    """The tiny plan's preset, by the name `tiny`, for commands and plans of surveys in this process."""
    from tiny import TINY

    from lcd.experiments.presets import PRESETS

    monkeypatch.setattr("lcd.studies.planning.PRESETS", {**PRESETS, "tiny": TINY})
    return "tiny"
