"""Games of other packages in several processes: the same to the bit, faults named, nothing left behind."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import own_games
import pytest

from lcd.envs import make_vec_env
from lcd.envs.external.batch import ExternalBatch
from lcd.envs.external.game import GameFault
from lcd.envs.external.games import GamesHere
from lcd.envs.family import game_options
from lcd.io.watching import WATCH

pytestmark = pytest.mark.costly("envs/external/*.py")
GRID = "own_games:Grid"


def equal(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    return np.array_equal(one, other)


@pytest.fixture
def pair():
    options = game_options(GRID, num_levels=50)
    batches = [ExternalBatch(options, 5, "both", 3, processes) for processes in (0, 2)]
    yield batches
    for batch in batches:
        batch.close()


def assert_alike(batches, steps):
    rng, ends = np.random.default_rng(0), 0
    for _ in range(steps):
        actions = rng.integers(4, size=batches[0].num_envs)
        one, other = (batch.step(actions) for batch in batches)
        for name in ("observations", "rewards", "terminated", "truncated", "level_seeds", "previous_level_seeds"):
            assert equal(getattr(one, name), getattr(other, name))
            assert getattr(getattr(one, name), "dtype", None) == getattr(getattr(other, name), "dtype", None)
        assert equal(one.final_observations, other.final_observations)
        ends += len(one.final_observations)
    return ends


def test_two_processes_step_games_as_one_does(pair):
    assert equal(*(batch.observe() for batch in pair))
    assert_alike(pair, 7)
    for batch in pair:
        batch.set_next_levels(np.array([1, 4]), np.array([30, 31]))
    assert assert_alike(pair, 30) > 5
    alone = [batch.part(np.array([0, 4])) for batch in pair]
    assert_alike(alone, 20)
    for batch in pair:
        batch.begin(9)
    assert equal(*(batch.observe() for batch in pair))
    assert_alike(pair, 5)


def test_a_run_with_threads_steps_games_in_processes_and_frees_them():
    before = set(multiprocessing.active_children())
    env = make_vec_env(game_options(GRID), 4, num_threads=2)
    env.reset()
    assert len(set(multiprocessing.active_children()) - before) == 2
    env.close()
    assert set(multiprocessing.active_children()) == before
    with_one = make_vec_env(game_options(GRID), 4, num_threads=1)
    with_one.reset()
    assert isinstance(with_one._batch._games, GamesHere)
    assert set(multiprocessing.active_children()) == before
    with_one.close()


@pytest.mark.parametrize(
    ("how", "words"), [("crash", "fails in step 3 of level .* no floor"), ("nan", "a reward of nan in step 3 of level")]
)
def test_a_fault_names_step_and_level(how, words):
    said = []
    for processes in (0, 2):
        batch = ExternalBatch(game_options("own_games:Broken", env_kwargs={"how": how}), 4, "pixels", 0, processes)
        with pytest.raises(GameFault, match=words) as raised:
            for _ in range(20):
                batch.step(np.zeros(4, int))
        said.append(str(raised.value))
        batch.close()
    assert said[0] == said[1]


def test_a_game_that_ends_its_process_is_told():
    batch = ExternalBatch(game_options("own_games:Odd", num_levels=1, env_kwargs={"how": "die"}), 2, "pixels", 0, 2)
    with pytest.raises(GameFault, match=r"own_games:Odd ended its process \(exit code \d+\) in one of the levels 0:"):
        for _ in range(20):
            batch.step(np.zeros(2, int))
    batch.close()


def test_a_step_that_hangs_is_told_with_its_level(monkeypatch):
    said = []
    monkeypatch.setattr(WATCH, "limit", 0.5)
    monkeypatch.setattr(WATCH, "ended", said.append)
    batch = ExternalBatch(game_options("own_games:Odd", num_levels=1, env_kwargs={"how": "pause"}), 2, "pixels", 0, 2)
    batch.step(np.zeros(2, int))
    batch.close()
    assert set(said) == {"own_games:Odd in step 1 of level 0 has not come back for 0 seconds: it hangs."}


LEFT = """
import os, time
import numpy as np
from lcd.envs.external.batch import ExternalBatch
from lcd.envs.family import game_options
batch = ExternalBatch(game_options("own_games:Grid"), 2, "pixels", 0, 2)
print(*(share._process.pid for share in batch._games._shares), flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are listed in /proc")
def test_processes_end_with_the_one_that_started_them():
    script = subprocess.run(
        [sys.executable, "-c", LEFT], cwd=Path(own_games.__file__).parent, capture_output=True, text=True, check=True
    )
    folders = [Path("/proc", number) for number in script.stdout.split()]
    assert len(folders) == 2
    until = time.monotonic() + 10
    while any(folder.exists() for folder in folders) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(folder.exists() for folder in folders)
