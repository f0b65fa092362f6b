"""Plans carried out for real, at the smallest size: made, reused, shared and failed runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import GAME, TINY

from lcd.agents import evaluate, load_policy, save_policy
from lcd.envs import make_vec_env
from lcd.experiments.execution import MOST_FAILURES, Event, RunFailed, _message, execute, weights_of
from lcd.experiments.executor import Report
from lcd.experiments.given_teacher import GivenTeacher
from lcd.experiments.plan import Plan, plan_game
from lcd.experiments.run import train
from lcd.experiments.store import Store
from lcd.measurement.scores import SAMPLED, played_by
from lcd.studies.finished_runs import read_diagnosis

pytestmark = pytest.mark.costly()

pytest_plugins = ["trained"]


def test_all_runs_are_made_and_reported(finished, game_plan):
    store, events = finished
    for kind in ("started", "finished"):
        assert sorted(e.run.name for e in events if e.kind == kind) == sorted(run.name for run in game_plan.runs)
    assert {path.name for path in store.root.iterdir()} - {".unfinished", ".leases"} == {
        run.name for run in game_plan.runs
    }
    assert list((store.root / ".unfinished").iterdir()) == []


def test_runs_record_settings_versions_and_machine(finished, game_plan):
    record = json.loads((finished[0].folder(game_plan.cells[0]) / "run.json").read_text())
    assert record["settings"] == game_plan.cells[0].as_dict()
    assert {"python", "torch", "stable-baselines3", "numpy"} <= record["versions"].keys()
    assert record["machine"]["threads"] == 1


def test_a_finished_plan_is_not_trained_again(finished, game_plan):
    events: list[Event] = []
    execute(Plan((game_plan,)), finished[0], listener=events.append)
    assert {event.kind for event in events} == {"reused"}


def test_more_seeds_train_only_the_new_ones(copied, game_plan):
    events: list[Event] = []
    more = plan_game(GAME, replace(TINY, seeds=3))
    execute(Plan((more,)), copied, workers=2, threads=1, listener=events.append)
    assert {event.run.seed for event in events if event.kind == "started"} == {2}
    assert {event.run.seed for event in events if event.kind == "reused"} == {0, 1}


def test_paths_of_weights_are_absolute(copied, game_plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store(copied.root.relative_to(tmp_path))
    file = shutil.copy(store.teacher_file(game_plan.teacher_run), "teacher.safetensors")
    given = plan_game(GAME, TINY, teacher=GivenTeacher.from_file(Path(file)))
    found = weights_of(Plan((game_plan, given)), store)
    assert found[given.given_teacher.checksum] == tmp_path / file
    assert found[game_plan.teacher_run.identity] == copied.teacher_file(game_plan.teacher_run)
    assert all(path.is_absolute() for path in found.values())


def test_the_same_seed_gives_the_same_run(finished, game_plan, tmp_path):
    again = Store(tmp_path)
    plan = replace(game_plan, cells=tuple(run for run in game_plan.cells if run.seed == 1))
    execute(Plan((plan,)), again, workers=2, threads=1)
    for run in plan.runs:
        first, second = finished[0].load(run), again.load(run)
        pd.testing.assert_frame_equal(first.episodes, second.episodes)
        weights = [(store.folder(run) / "policy.safetensors").read_bytes() for store in (finished[0], again)]
        assert weights[0] == weights[1]
        logs = [pd.read_csv(store.folder(run) / "progress.csv") for store in (finished[0], again)]
        logged = [log.drop(columns=["time/fps", "time/time_elapsed"]) for log in logs]
        pd.testing.assert_frame_equal(*logged)  # in the same order of columns
        assert list(logs[0].columns) == sorted(logs[0].columns)


STAY, SHOOT = 4, 9
"""Numbers of two of Procgen's actions."""


def doing_one_thing(source, file, action):
    """A copy of a policy that takes one action nearly always."""
    policy, card = load_policy(source)
    with torch.no_grad():
        policy.action_net.bias[action] += 100
    save_policy(policy, file, card)
    return file


@pytest.mark.parametrize("better", [0, 1])
def test_a_teacher_begins_with_the_candidate_that_returns_most(finished, game_plan, tmp_path, better):
    files = [finished[0].weights_file(each) for each in game_plan.candidates]
    run = game_plan.teacher_run  # with more episodes, in some of which shooting pays
    run = replace(run, evaluation=replace(run.evaluation, num_envs=16))
    actions = [STAY, STAY]
    actions[better] = SHOOT
    alike = [
        doing_one_thing(file, tmp_path / f"{number}.safetensors", action)
        for number, (file, action) in enumerate(zip(files, actions, strict=True))
    ]
    result = train(run, tmp_path, candidates=alike, device="cpu")
    env = make_vec_env(run.options, run.evaluation.num_envs, run.view)
    returns = [
        evaluate(load_policy(file)[0], env, run.evaluation.episodes_per_env, run.seed).returns.ravel().tolist()
        for file in alike
    ]
    env.close()
    assert np.mean(returns[better]) > np.mean(returns[1 - better])  # or the test says nothing
    table = played_by(result.episodes, SAMPLED)
    begin = table[(table["step"] == 0) & (table["levels"] == "training")]
    assert begin["return"].tolist() == returns[better]


def test_candidates_of_another_plan_are_refused(finished, game_plan, tmp_path):
    run, files = game_plan.teacher_run, [finished[0].weights_file(each) for each in game_plan.candidates]
    other = finished[0].weights_file(next(each for each in game_plan.cells if each.view == "pixels"))
    with pytest.raises(ValueError, match="has changed since the run was planned"):
        train(run, tmp_path, candidates=[files[0], other], device="cpu")
    with pytest.raises(ValueError, match="has 2 candidates, not 1"):
        train(run, tmp_path, candidates=files[:1], device="cpu")


def test_all_cells_of_a_seed_are_evaluated_on_the_same_levels(finished, game_plan):
    table = read_diagnosis(game_plan, finished[0]).episodes
    keys = ["seed", "levels", "episode"]
    first_cell = table.groupby(keys)["level_seed"].transform("first")
    assert (table["level_seed"] == first_cell).all()
    assert table.loc[table["levels"] == "training", "level_seed"].max() < 200
    assert table.loc[table["levels"] == "unseen", "level_seed"].min() >= 200


def test_the_diagnosis_adds_up(finished, game_plan):
    diagnosis = read_diagnosis(game_plan, finished[0])
    parts = diagnosis.perceptual, diagnosis.policy, diagnosis.joint
    assert sum(part.estimate for part in parts) == pytest.approx(diagnosis.gap.estimate)
    assert diagnosis.teacher is not None
    assert set(diagnosis.curves["step"]) == {0, 256, 512}


def test_a_run_that_another_process_finishes_meanwhile_is_not_trained_again(copied, game_plan, tmp_path):
    first, second = game_plan.cells[:2]
    shutil.rmtree(copied.folder(first))
    elsewhere = copied.folder(second).rename(tmp_path / second.name)
    events: list[Event] = []

    def finish_the_second(event: Event) -> None:
        events.append(event)
        if event == Event("started", first):
            elsewhere.rename(copied.folder(second))

    execute(Plan((game_plan,)), copied, workers=1, threads=1, listener=finish_the_second)
    assert [event.run for event in events if event.kind == "started"] == [first]
    assert events[-1] == Event("reused", second)


class Elsewhere:
    """An executor that carries out each run at once, by copying what another store holds of it, or fails."""

    def __init__(self, source: Store, target: Store, failing: tuple[str, ...] = ()) -> None:
        self.source, self.target, self.failing = source, target, failing
        self.begun: list[str] = []
        self.reports: list[Report] = []
        self.ended = False

    @property
    def running(self):
        return len(self.reports)

    @property
    def free(self):
        return 2 - self.running

    def start(self, run, weights):
        assert set(weights) == set(run.needs) and all(file.is_file() for file in weights.values())
        self.begun.append(run.name)
        if any(word in run.name for word in self.failing):
            self.reports.append(Report(run, ended=True, failure=f"The machine of {run.name} is on fire."))
            return
        shutil.copytree(self.source.folder(run), self.target.folder(run))
        self.reports.append(Report(run, ended=True))

    def wait(self):
        reports, self.reports = self.reports, []
        return reports

    def end(self):
        self.ended = True


def test_another_executor_carries_out_a_plan(finished, game_plan, tmp_path):
    store = Store(tmp_path)
    executor = Elsewhere(finished[0], store)
    execute(Plan((game_plan,)), store, executor=executor)
    assert sorted(executor.begun) == sorted(run.name for run in game_plan.runs)
    assert executor.ended


def test_runs_that_fail_are_told_at_the_end_and_tried_again(finished, game_plan, tmp_path):
    store, events = Store(tmp_path), []
    failing = [run.name for run in game_plan.cells if (run.view, run.learning) == ("pixels", "rl")]
    with pytest.raises(
        RunFailed, match=rf"^{len(failing)} of \d+ runs failed\. .*on fire.*Finished runs are kept"
    ) as caught:
        execute(
            Plan((game_plan,)), store, listener=events.append, executor=Elsewhere(finished[0], store, tuple(failing))
        )
    assert sorted(caught.value.failures) == sorted(failing)
    assert sorted(event.run.name for event in events if event.kind == "failed") == sorted(failing)
    assert sorted(run.name for run in game_plan.runs if not store.has(run)) == sorted(failing)
    again = Elsewhere(finished[0], store)
    execute(Plan((game_plan,)), store, executor=again)
    assert sorted(again.begun) == sorted(failing)


def test_runs_that_fail_alike_are_reported_once():
    failures = {name: f"The run {name} failed: no memory." for name in ("a1", "b2", "c3")}
    message = _message(failures | {"d4": "The machine of d4 is on fire."}, 9)
    assert message == (
        "4 of 9 runs failed. The run a1 failed: no memory. 2 others likewise. The machine of d4 is on fire. "
        "Finished runs are kept."
    )


def test_without_a_teacher_nobody_imitates(finished, game_plan, tmp_path):
    store = Store(tmp_path)
    with pytest.raises(RunFailed, match="cannot begin, for") as caught:
        execute(Plan((game_plan,)), store, executor=Elsewhere(finished[0], store, ("-teacher-",)))
    imitating = [run.name for run in game_plan.cells if run.learning == "imitation"]
    assert sorted(caught.value.failures) == sorted([game_plan.teacher_run.name, *imitating])


def test_what_fails_all_runs_is_told_after_a_few(finished, game_plan, tmp_path):
    cells = tuple(replace(game_plan.cells[0], seed=seed) for seed in range(9))
    plan = Plan((replace(game_plan, teacher_run=None, candidates=(), cells=cells),))
    executor = Elsewhere(finished[0], Store(tmp_path), ("-rl-",))
    with pytest.raises(RunFailed, match=r"\d more runs? (was|were) not begun after that"):
        execute(plan, Store(tmp_path), executor=executor)
    assert MOST_FAILURES <= len(executor.begun) < MOST_FAILURES + 3


def test_a_game_that_fails_does_not_keep_others_from_being_carried_out(finished, game_plan, tmp_path):
    first = replace(game_plan.cells[0], options=replace(game_plan.cells[0].options, game="coinrun"))
    cells = tuple(replace(first, seed=seed) for seed in range(9))
    broken = replace(game_plan, teacher_run=None, candidates=(), cells=cells)
    store = Store(tmp_path)
    executor = Elsewhere(finished[0], store, tuple(run.name for run in cells))
    with pytest.raises(RunFailed, match=r"not begun after that") as caught:
        execute(Plan((broken, game_plan)), store, executor=executor)
    assert MOST_FAILURES <= len(caught.value.failures) < MOST_FAILURES + 3
    assert all(store.has(run) for run in game_plan.runs)


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"threads": -1}])
def test_there_is_no_work_without_workers(game_plan, tmp_path, wrong):
    with pytest.raises(ValueError, match="must be at least 1, not"):
        execute(Plan((game_plan,)), Store(tmp_path), **wrong)
