"""A store with every run of the tiny plan, trained once for all tests that a process runs; a plugin of pytest."""

import shutil

import pytest
from tiny import GAME, TINY

from lcd.experiments.execution import Event, execute
from lcd.experiments.plan import Plan, plan_game
from lcd.experiments.store import Store


@pytest.fixture(scope="session")
def game_plan():
    return plan_game(GAME, TINY)


@pytest.fixture(scope="session")
def finished(game_plan, tmp_path_factory):
    """A store with every run of the tiny plan, and the events of making it."""
    store = Store(tmp_path_factory.mktemp("store"))
    events: list[Event] = []
    execute(Plan((game_plan,)), store, workers=2, threads=1, listener=events.append)
    return store, events


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished[0].root, tmp_path / "store")
    return Store(tmp_path / "store")
