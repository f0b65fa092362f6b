"""The limit of a step's seconds reaches the processes that carry out runs, and does not belong to a run."""

from __future__ import annotations

import time
import weakref

import pytest

from lcd.experiments.executor import Share
from lcd.experiments.executors import make_executor
from lcd.experiments.job import CarriedOutElsewhere, Job
from lcd.experiments.plan import plan_game
from lcd.experiments.presets import PRESETS
from lcd.experiments.processes import SILENCE
from lcd.experiments.resources import Resources
from lcd.experiments.store import Store
from lcd.io.watching import WATCH, Watch
from lcd.studies.diagnosing import prepare_diagnosis

GRID = "own_games:Grid"


def test_a_run_is_watched_with_the_limit_of_its_job(monkeypatch, tmp_path):
    for name in ("limit", "ended"):
        monkeypatch.setattr(WATCH, name, getattr(WATCH, name))
    run, store, said = plan_game(GRID, PRESETS["smoke"]).cells[0], Store(tmp_path), []
    with store.lease(run), pytest.raises(CarriedOutElsewhere):
        Job.of(run, {}, Share(step_limit=7)).carry_out(store, lambda progress: None, said.append)
    assert (WATCH.limit, WATCH.ended) == (7, said.append)


def test_an_executor_gives_the_limit_to_its_jobs_and_waits_longer(tmp_path):
    executor = make_executor("local", Store(tmp_path), [], step_limit=2 * SILENCE)
    assert executor.share.step_limit == 2 * SILENCE
    assert executor._silence > executor.share.step_limit
    assert make_executor("local", Store(tmp_path), []).share == Share(executor.share.threads, device="cpu")


def test_a_limit_is_not_part_of_a_runs_identity(tmp_path):
    plans = [prepare_diagnosis(GRID, "smoke", store=tmp_path, step_limit=limit) for limit in (5, 300)]
    assert [each.resources.step_limit for each in plans] == [5, 300]
    one, other = ([run.identity for run in each.plan.runs] for each in plans)
    assert one == other


@pytest.mark.parametrize("limit", [0, -1, float("nan"), "long", 100_000])
def test_an_impossible_limit_is_refused(limit):
    with pytest.raises(ValueError, match=r"step_limit must (be|lie)"):
        Resources.checked(step_limit=limit)


class Game:
    """A game whose call takes longer than a check of the watch."""

    def described(self) -> str:
        """What is going on."""
        return "A step of a game"


def test_a_watch_does_not_keep_a_game_that_is_over():
    watch, game = Watch(), Game()
    watch.limit = 0.2
    freed = weakref.ref(game)
    with watch.over(game.described):
        time.sleep(0.1)  # five checks
    del game
    assert freed() is None


def test_a_watch_reports_each_call_that_hangs_once():
    watch, game, reports = Watch(), Game(), []
    watch.limit, watch.ended = 0.05, reports.append
    for _ in range(2):
        with watch.over(game.described):
            time.sleep(0.2)
    assert reports == ["A step of a game has not come back for 0 seconds: it hangs."] * 2
