"""The store with every run of the tiny plan as fixtures of their own names; a plugin of pytest."""

from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def game_plan(trained):
    return trained.plan


@pytest.fixture(scope="session")
def finished(trained):
    """A store with every run of the tiny plan, for reading only, and the events of making it."""
    events = [SimpleNamespace(kind=kind, run=SimpleNamespace(name=name)) for kind, name in trained.events]
    return trained.store, events


@pytest.fixture
def copied(trained_copy):
    return trained_copy
