"""Plans carried out for real, at the smallest size: interrupted, resumed, damaged and shared."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from commands import lcd
from tiny import GAME, TINY

from lcd.agents import load_policy, save_policy
from lcd.experiments.execution import MOST_FAILURES, Event, RunFailed, execute
from lcd.experiments.executor import Report
from lcd.experiments.plan import GivenTeacher, Plan, plan_game
from lcd.experiments.processes import _failure, _hidden_script, _Worker
from lcd.experiments.store import Store, StoreError, _checksum_of
from lcd.studies.pipeline import _evaluate_given, plan_diagnosis, read_diagnosis


@pytest.fixture(scope="module")
def game_plan(trained):
    return trained.plan


@pytest.fixture(scope="module")
def finished(trained):
    """A store with every run of the tiny plan."""
    return trained.store


@pytest.fixture
def copied(trained_copy):
    return trained_copy


def test_all_runs_are_made_and_reported(trained, game_plan):
    store = trained.store
    for kind in ("started", "finished"):
        named = sorted(name for told, name in trained.events if told == kind)
        assert named == sorted(run.name for run in game_plan.runs)
    assert {path.name for path in store.root.iterdir()} - {".unfinished"} == {run.name for run in game_plan.runs}
    assert list((store.root / ".unfinished").iterdir()) == []


def test_runs_record_settings_versions_and_machine(finished, game_plan):
    record = json.loads((finished.folder(game_plan.cells[0]) / "run.json").read_text())
    assert record["settings"] == game_plan.cells[0].as_dict()
    assert {"python", "torch", "stable-baselines3", "numpy"} <= record["versions"].keys()
    assert record["machine"]["threads"] == 1


def test_a_finished_plan_is_not_trained_again(finished, game_plan):
    events: list[Event] = []
    execute(Plan((game_plan,)), finished, listener=events.append)
    assert {event.kind for event in events} == {"reused"}


def test_more_seeds_train_only_the_new_ones(finished, copied):
    events: list[Event] = []
    more = plan_game(GAME, replace(TINY, seeds=3))
    executor = Elsewhere(finished, copied, ("-seed2-",))
    with pytest.raises(RunFailed):
        execute(Plan((more,)), copied, listener=events.append, executor=executor)
    assert sorted(executor.begun) == sorted(run.name for run in more.cells if run.seed == 2)
    assert {event.run.seed for event in events if event.kind == "reused"} == {0, 1}


def test_the_same_seed_gives_the_same_run(finished, game_plan, tmp_path):
    again = Store(tmp_path)
    plan = replace(game_plan, cells=tuple(run for run in game_plan.cells if run.seed == 1 and run.view == "pixels"))
    execute(Plan((plan,)), again, workers=2, threads=1)
    for run in plan.runs:
        first, second = finished.load(run), again.load(run)
        pd.testing.assert_frame_equal(first.episodes, second.episodes)
        weights = [(store.folder(run) / "policy.safetensors").read_bytes() for store in (finished, again)]
        assert weights[0] == weights[1]
        logs = [pd.read_csv(store.folder(run) / "progress.csv") for store in (finished, again)]
        logged = [log.drop(columns=["time/fps", "time/time_elapsed"]) for log in logs]
        pd.testing.assert_frame_equal(*logged)  # in the same order of columns
        assert list(logs[0].columns) == sorted(logs[0].columns)


def test_the_teachers_early_curve_is_the_cell_itself(finished, game_plan, tmp_path):
    """Training on beyond the budget, keeping the best weights, changes nothing before the budget."""
    assert game_plan.teacher_run is not None
    evaluation = next(run.evaluation for run in game_plan.cells)
    cell = replace(game_plan.teacher_run, steps=game_plan.budget, evaluation=evaluation, keep_best=False)
    execute(Plan((replace(game_plan, teacher_run=None, cells=(cell,)),)), Store(tmp_path), workers=1, threads=1)
    long = finished.load(game_plan.teacher_run).episodes
    early = long[long["step"] <= game_plan.budget].reset_index(drop=True)
    pd.testing.assert_frame_equal(early, Store(tmp_path).load(cell).episodes)


def test_all_cells_of_a_seed_are_evaluated_on_the_same_levels(finished, game_plan):
    table = read_diagnosis(game_plan, finished).episodes
    keys = ["seed", "levels", "episode"]
    first_cell = table.groupby(keys)["level_seed"].transform("first")
    assert (table["level_seed"] == first_cell).all()
    assert table.loc[table["levels"] == "training", "level_seed"].max() < 200
    assert table.loc[table["levels"] == "unseen", "level_seed"].min() >= 200


def test_the_diagnosis_adds_up(finished, game_plan):
    diagnosis = read_diagnosis(game_plan, finished)
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


def test_who_finishes_a_run_second_leaves_no_workspace(copied, game_plan):
    run = game_plan.cells[0]
    before = copied.load(run)
    with copied.workspace(run) as workspace:
        copied.finish(run, workspace, before.episodes, 2 * before.seconds, None, {"threads": 1})
        assert not workspace.exists()
    assert list((copied.root / ".unfinished").iterdir()) == []
    assert copied.load(run).seconds == before.seconds


@pytest.mark.parametrize("damage", ["table cut short", "record broken", "other settings", "weights lost"])
def test_damaged_runs_are_named_before_anything_is_trained(copied, game_plan, damage):
    assert game_plan.teacher_run is not None
    run = game_plan.teacher_run
    folder = copied.folder(run)
    if damage == "table cut short":
        text = (folder / "episodes.csv").read_text()
        (folder / "episodes.csv").write_text(text[: len(text) // 2])
    elif damage == "record broken":
        (folder / "run.json").write_text("{")
    elif damage == "other settings":
        record = json.loads((folder / "run.json").read_text())
        record["settings"]["seed"] = 99
        (folder / "run.json").write_text(json.dumps(record))
    else:
        (folder / "teacher.safetensors").unlink()
    events: list[Event] = []
    with pytest.raises(StoreError, match=run.name) as caught:
        execute(Plan((game_plan,)), copied, listener=events.append)
    assert "remove" in str(caught.value)
    assert not any(event.kind == "started" for event in events)


def rewrite(run, change):
    """Change a run's record, as somebody would who knows of its checksum."""
    record = json.loads((run / "run.json").read_text())
    change(record)
    del record["checksum"]
    record["checksum"] = _checksum_of(record)
    (run / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda record: record.pop("seconds"), "'seconds' is missing"),
        (lambda record: record.pop("settings"), "'settings' is missing"),
        (lambda record: record.pop("files"), "'files' is missing"),
        (lambda record: record.pop("rows"), "'rows' is missing"),
        (lambda record: record.pop("format"), "no record of this version"),
        (lambda record: record["machine"].pop("threads"), "'threads' is missing"),
        (lambda record: record["teacher"].pop("step"), "step"),
        (lambda record: record.update(teacher=None), "no teacher's scores"),
        (lambda record: record.update(seconds="long"), "long"),
        (lambda record: record.update(seconds=float("nan")), "nan seconds"),
        (lambda record: record.update(machine=[]), "list"),
        (lambda record: record.update(seconds=10**400), "beyond 64 bits"),
        (lambda record: record["settings"].update(encoder=3), "must be a text"),
        (lambda record: record["files"].update({"../other": "0" * 64}), "not in its folder"),
    ],
)
def test_a_record_that_lacks_something_is_one_clear_sentence(copied, game_plan, change, why):
    run = game_plan.teacher_run
    rewrite(copied.folder(run), change)
    with pytest.raises(StoreError, match=rf"^The run {run.name} is damaged \([^\n]*{why}[^\n]*remove [^\n]*\.$"):
        copied.load(run)


@pytest.mark.parametrize("text", ["[]", "null", "3", "[" * 100_000, '{"run": null}', "\xff"])
def test_what_is_no_record_is_one_clear_sentence(copied, game_plan, text):
    run = game_plan.cells[0]
    (copied.folder(run) / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(StoreError, match=rf"^The run {run.name} is damaged \([^\n]*remove [^\n]*\.$"):
        copied.load(run)


def flip(file, place):
    """Turn one bit of a file around."""
    data = bytearray(file.read_bytes())
    bit = place % (8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["run.json", "episodes.csv", "progress.csv", "policy.safetensors", "teacher.safetensors"]
)
def test_a_bit_that_flips_is_noticed_or_changes_nothing(copied, game_plan, name):
    run = game_plan.teacher_run
    file = copied.folder(run) / name
    whole, expected = file.read_bytes(), copied.load(run)
    refused = 0
    for place in np.random.default_rng(0).integers(2**31, size=40):
        flip(file, int(place))
        try:
            found = copied.load(run)
        except StoreError as error:
            assert run.name in str(error)
            assert "\n" not in str(error)
            refused += 1
        else:
            assert name == "run.json"  # blanks and capitals of a number, say
            assert replace(found, episodes=None) == replace(expected, episodes=None)
            pd.testing.assert_frame_equal(found.episodes, expected.episodes)
        file.write_bytes(whole)
    assert refused == 40 if name != "run.json" else refused > 20


def test_a_run_made_before_there_were_checksums_is_read(copied, game_plan):
    run = game_plan.cells[0]
    expected = copied.load(run)
    record = json.loads((copied.folder(run) / "run.json").read_text())
    del record["files"], record["checksum"]
    (copied.folder(run) / "run.json").write_text(json.dumps(record | {"format": "lcd.run/1"}))
    pd.testing.assert_frame_equal(copied.load(run).episodes, expected.episodes)
    (copied.folder(run) / "episodes.csv").write_text("game,step\n")
    with pytest.raises(StoreError, match="damaged"):
        copied.load(run)


def test_a_teacher_damaged_after_its_run_teaches_nobody(copied, game_plan):
    """Its weights are compared with their checksum again before each run that imitates it."""
    teacher, first = game_plan.teacher_run, next(run for run in game_plan.cells if run.learning == "rl")
    imitating = [run for run in game_plan.cells if run.learning == "imitation"]
    for run in (first, *imitating):
        shutil.rmtree(copied.folder(run))
    started = []

    def damage(event):
        if event.kind == "started":
            started.append(event.run)
        if event == Event("finished", first):
            flip(copied.teacher_file(teacher), 12_345_678)

    with pytest.raises(StoreError, match=r"teacher\.safetensors is not what was written"):
        execute(Plan((game_plan,)), copied, workers=1, threads=1, listener=damage)
    assert started == [first]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_before_anything_is_trained(copied, game_plan, tmp_path, wrong):
    policy, card = load_policy(copied.teacher_file(game_plan.teacher_run))
    with torch.no_grad():
        policy.action_net.weight[0, 0] = wrong
    save_policy(policy, tmp_path / "teacher.safetensors", card)
    with pytest.raises(ValueError, match=r"teacher\.safetensors .*action_net\.weight.*not finite"):
        plan_diagnosis(GAME, TINY, distribution_mode="easy", teacher=tmp_path / "teacher.safetensors")


def test_a_given_teacher_that_changes_after_its_plan_is_not_measured(copied, game_plan, tmp_path):
    file = tmp_path / "teacher.safetensors"
    shutil.copy(copied.teacher_file(game_plan.teacher_run), file)
    plan = plan_game(GAME, replace(TINY, seeds=1), teacher=GivenTeacher.from_file(file))
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"teacher\.safetensors is gone or has changed since"):
        _evaluate_given(plan, plan.given_teacher)


def test_a_worker_that_dies_is_reported_and_finished_runs_are_kept(copied, game_plan):
    missing = game_plan.cells[-2:]
    for run in missing:
        shutil.rmtree(copied.folder(run))

    def kill_the_first(event: Event) -> None:
        if event.kind == "progress" and event.run == missing[0]:
            import multiprocessing

            (victim,) = [p for p in multiprocessing.active_children() if p.name == missing[0].name]
            os.kill(victim.pid, signal.SIGKILL)

    with pytest.raises(RunFailed, match="SIGKILL") as caught:
        execute(Plan((game_plan,)), copied, workers=1, threads=1, listener=kill_the_first)
    assert list(caught.value.failures) == [missing[0].name]
    assert [run for run in game_plan.runs if not copied.has(run)] == [missing[0]]  # the others go on
    assert list((copied.root / ".unfinished").iterdir()) == []
    execute(Plan((game_plan,)), copied, workers=1, threads=1)  # and a later start tries it again
    assert copied.has(missing[0])


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

    def start(self, run, teacher_file):
        assert teacher_file is None or teacher_file.is_file()
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
    executor = Elsewhere(finished, store)
    execute(Plan((game_plan,)), store, executor=executor)
    assert sorted(executor.begun) == sorted(run.name for run in game_plan.runs)
    assert executor.ended


def test_runs_that_fail_are_told_at_the_end_and_tried_again(finished, game_plan, tmp_path):
    store, events = Store(tmp_path), []
    failing = [run.name for run in game_plan.cells if run.learning == "rl"]
    with pytest.raises(
        RunFailed, match=rf"^{len(failing)} of \d+ runs failed\. .*on fire.*Finished runs are kept"
    ) as caught:
        execute(Plan((game_plan,)), store, listener=events.append, executor=Elsewhere(finished, store, tuple(failing)))
    assert sorted(caught.value.failures) == sorted(failing)
    assert sorted(event.run.name for event in events if event.kind == "failed") == sorted(failing)
    assert sorted(run.name for run in game_plan.runs if not store.has(run)) == sorted(failing)
    again = Elsewhere(finished, store)
    execute(Plan((game_plan,)), store, executor=again)
    assert sorted(again.begun) == sorted(failing)


def test_without_a_teacher_nobody_imitates(finished, game_plan, tmp_path):
    store = Store(tmp_path)
    with pytest.raises(RunFailed, match="has no teacher") as caught:
        execute(Plan((game_plan,)), store, executor=Elsewhere(finished, store, ("-teacher-",)))
    imitating = [run.name for run in game_plan.cells if run.learning == "imitation"]
    assert sorted(caught.value.failures) == sorted([game_plan.teacher_run.name, *imitating])


def test_what_fails_all_runs_is_told_after_a_few(finished, game_plan, tmp_path):
    plan = Plan(
        (
            replace(
                game_plan, teacher_run=None, cells=tuple(replace(game_plan.cells[0], seed=seed) for seed in range(9))
            ),
        )
    )
    executor = Elsewhere(finished, Store(tmp_path), ("-rl-",))
    with pytest.raises(RunFailed):
        execute(plan, Store(tmp_path), executor=executor)
    assert MOST_FAILURES <= len(executor.begun) < MOST_FAILURES + 3


@pytest.mark.parametrize(("code", "cause"), [(-9, "signal 9 (SIGKILL)"), (-40, "signal 40 (unnamed)"), (3, "status 3")])
def test_how_a_worker_ended_is_told_where_signals_have_other_names(game_plan, code, cause, monkeypatch):
    ended = _Worker(game_plan.cells[0], SimpleNamespace(exitcode=code), None)
    assert cause in _failure(ended)
    monkeypatch.delattr(signal, "SIGKILL")  # as on Windows
    assert cause in _failure(ended)


@pytest.mark.parametrize("loss", ["gone", "changed"])
def test_a_teacher_that_is_lost_on_the_way_is_reported(game_plan, finished, tmp_path, loss):
    file = tmp_path / "teacher.safetensors"
    shutil.copy(finished.teacher_file(game_plan.teacher_run), file)
    plan = plan_game(GAME, replace(TINY, seeds=1), teacher=GivenTeacher.from_file(file))
    plan = replace(plan, cells=tuple(run for run in plan.cells if run.learning == "imitation"))
    if loss == "gone":
        file.unlink()
    else:
        other = load_policy(file)[0]
        with torch.no_grad():
            next(other.parameters()).add_(1)
        save_policy(other, file, {})
    with pytest.raises(RunFailed, match=rf"teacher\.safetensors .*{loss}"):
        execute(Plan((plan,)), Store(tmp_path / "runs"), workers=2, threads=1)


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"threads": -1}])
def test_there_is_no_work_without_workers(game_plan, tmp_path, wrong):
    with pytest.raises(ValueError, match="must be at least 1, not"):
        execute(Plan((game_plan,)), Store(tmp_path), **wrong)


def left_behind(store, run):
    """A workspace of a process that was killed."""
    receiver, sender = os.pipe()
    if not (child := os.fork()):
        holding = store.workspace(run)
        workspace = holding.__enter__()
        (workspace / "progress.csv").write_text("half a lin")
        os.write(sender, str(workspace).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(sender)
    return Path(os.read(receiver, 4096).decode())


def test_only_workspaces_that_nobody_holds_are_removed(game_plan, tmp_path):
    store, run = Store(tmp_path), game_plan.cells[0]
    dead = left_behind(store, run)
    assert (dead / "progress.csv").exists()
    assert dead.with_name(f"{dead.name}.lock").exists()
    with store.workspace(run) as held, store.workspace(run) as another:
        assert held != another
        Store(tmp_path).clear_unfinished()  # in the same thread
        with ThreadPoolExecutor(1) as other:
            other.submit(Store(tmp_path).clear_unfinished).result()
        code = "import sys; from lcd.experiments.store import Store; Store(sys.argv[1]).clear_unfinished()"
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        assert (dead.exists(), held.exists(), another.exists()) == (False, True, True)
        (another / "run.json").mkdir()
    assert list((tmp_path / ".unfinished").iterdir()) == []  # whoever fails removes its own


def test_a_container_with_the_same_host_and_process_number_does_not_remove_a_running_workspace(game_plan, tmp_path):
    """Two process namespaces that share the store, where each process is number 1."""
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no process namespaces can be made here")
    (tmp_path / "run.json").write_text(json.dumps(game_plan.cells[0].as_dict()))
    code = (
        "import json, os, sys\n"
        "from lcd.experiments.store import Store\n"
        "from lcd.experiments.settings import RunSettings\n"
        "store = Store(sys.argv[1])\n"
        "if sys.argv[2] == 'clear':\n"
        "    store.clear_unfinished()\n"
        "    print(os.getpid())\n"
        "else:\n"
        "    run = RunSettings.from_dict(json.load(open(sys.argv[2])))\n"
        "    with store.workspace(run) as workspace:\n"
        "        print(os.getpid(), flush=True)\n"
        "        input()\n"
        "        print(workspace.is_dir())\n"
    )
    command = [*unshare, sys.executable, "-c", code, str(tmp_path / "store")]
    with subprocess.Popen(
        [*command, str(tmp_path / "run.json")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as working:
        number = working.stdout.readline()
        second = subprocess.run([*command, "clear"], capture_output=True, text=True, check=True)
        assert number == second.stdout == "1\n"
        assert working.communicate("\n", timeout=60)[0] == "True\n"


def test_workspaces_of_another_machine_are_left_until_nothing_was_written_for_a_day(game_plan, tmp_path, monkeypatch):
    """It may not share its locks."""
    store = Store(tmp_path)
    monkeypatch.setattr("platform.node", lambda: "elsewhere.org")
    running, dead = (left_behind(store, game_plan.cells[0]) for _ in range(2))
    monkeypatch.setattr("platform.node", lambda: "here.org")
    for path in (dead, dead / "progress.csv", dead.with_name(f"{dead.name}.lock")):
        os.utime(path, (time.time() - 100_000,) * 2)
    store.clear_unfinished()
    assert (running.exists(), dead.exists()) == (True, False)


@pytest.mark.parametrize("name", ["notes.HOST-x", "notes", "notes.lock", ".notes.here-12", "maze.here-1234"])
def test_what_is_no_workspace_is_left_alone(tmp_path, name, monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "HOST")
    (tmp_path / ".unfinished" / name).mkdir(parents=True)
    Store(tmp_path).clear_unfinished()
    assert (tmp_path / ".unfinished" / name).is_dir()


def test_two_threads_carry_out_the_same_plan(copied, game_plan):
    """As two notebooks in one process do: neither takes the other's workspace, nor the script's own module."""
    missing = [run for run in game_plan.runs if run.learning == "rl" and not run.keep_best][:2]
    for run in missing:
        shutil.rmtree(copied.folder(run))
    script, before = sys.modules["__main__"], copied.load(game_plan.cells[-1])
    with ThreadPoolExecutor(2) as both:
        carried = [both.submit(execute, Plan((game_plan,)), Store(copied.root), workers=1) for _ in range(2)]
        for each in carried:
            each.result()
    assert sys.modules["__main__"] is script
    for run in missing:
        assert (copied.folder(run) / "progress.csv").stat().st_size > 0
        copied.load(run)
    assert copied.load(game_plan.cells[-1]).seconds == before.seconds
    assert list((copied.root / ".unfinished").iterdir()) == []


def test_threads_that_start_processes_leave_the_script_where_it_is():
    script, both, found = sys.modules["__main__"], threading.Barrier(2), []

    def start():
        both.wait()
        for _ in range(100):
            with _hidden_script():
                hiding = sys.modules["__main__"]
                found.append((hiding.__spec__, hasattr(hiding, "__file__"), hiding.__name__))
                time.sleep(0.0001)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.modules["__main__"] is script
    assert set(found) == {(None, False, "__main__")}


def test_what_a_script_defines_is_found_while_it_is_hidden(monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "of_the_script", len, raising=False)
    with _hidden_script():
        assert sys.modules["__main__"].of_the_script is len


def test_a_plain_script_can_diagnose(copied, game_plan, tmp_path):
    """Without the guard for the main module, which notebooks do not have and scripts forget."""
    run = game_plan.cells[0]
    shutil.rmtree(copied.folder(run))
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import tiny, lcd\n"
        "from lcd.experiments.execution import execute\n"
        "from lcd.experiments.plan import plan_game\n"
        f"plan = plan_game({GAME!r}, tiny.TINY)\n"
        f"execute(lcd.Plan((plan,)), lcd.Store({str(copied.root)!r}), workers=1)\n"
        "print('done')\n"
    )
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=400)
    assert result.stdout == "done\n", result.stderr
    assert copied.has(run)


def _command(folder: Path) -> list[str]:
    """The command line of the tiny plan, in a process of its own."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import tiny, lcd.studies.pipeline as p;"
        "p.PRESETS = dict(p.PRESETS, tiny=tiny.TINY); from lcd.cli.main import main; main()"
    )
    start = [sys.executable, "-c", code, str(Path(__file__).parent)]
    return [*start, "diagnose", GAME, "--preset", "tiny", "--train-teacher", *_places(folder)]


def _places(folder: Path) -> list[str]:
    return ["--store", str(folder / "runs"), "--out", str(folder / "out"), "--workers", "2"]


def _finished_runs(folder: Path) -> int:
    return len(list((folder / "runs").glob(f"{GAME}-*")))


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_plan_stopped_in_the_middle_and_resumed_equals_an_uninterrupted_one(
    finished, game_plan, tiny_preset, tmp_path, sent
):
    """The middle begins with the second seed: the runs of the first are there, as a process before left them."""
    left = [run for run in game_plan.runs if run.seed == 0]
    for run in left:
        shutil.copytree(finished.folder(run), Store(tmp_path / "runs").folder(run))
    process = subprocess.Popen(
        _command(tmp_path),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )
    deadline = time.monotonic() + 400  # machines are shared
    try:
        while _finished_runs(tmp_path) <= len(left):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
    except BaseException:
        process.kill()
        raise
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in errors
    if sent == signal.SIGINT:
        assert "Finished runs are kept" in errors
    kept = _finished_runs(tmp_path)
    assert len(left) < kept < len(game_plan.runs)
    assert not (tmp_path / "out" / "diagnosis.json").exists()

    resumed = lcd("diagnose", GAME, "--preset", tiny_preset, "--train-teacher", *_places(tmp_path), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr.count("found in the store") >= kept
    assert list((tmp_path / "runs" / ".unfinished").iterdir()) == []
    uninterrupted = read_diagnosis(game_plan, finished, {"preset": "tiny"})
    written, expected = json.loads((tmp_path / "out" / "diagnosis.json").read_text()), uninterrupted.to_json()
    assert written["settings"].pop("core_hours") > 0
    assert expected["settings"].pop("core_hours") > 0
    assert written == expected
    assert (tmp_path / "out" / "diagnosis.png").read_bytes().startswith(b"\x89PNG")
