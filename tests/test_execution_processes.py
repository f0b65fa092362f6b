"""Plans in processes: killed, interrupted and resumed, in threads, notebooks and plain scripts."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from alike import without_times
from pretending import TellingItsEnvironment, some_runs
from tiny import GAME

from lcd.experiments import processes
from lcd.experiments.execution import Event, RunFailed, execute
from lcd.experiments.plan import Plan
from lcd.experiments.processes import _failure, _Worker
from lcd.experiments.store import LEASES, Store
from lcd.io.child_processes import hidden_script
from lcd.studies.finished_runs import read_diagnosis

pytestmark = pytest.mark.costly("lcd/cli/*.py")

pytest_plugins = ["trained"]

is_leased = Store.is_leased


def test_workers_have_the_environment_of_the_moment(tmp_path, monkeypatch):
    """The server that forks them keeps that of its own beginning, without credentials that came since."""
    monkeypatch.setattr(processes.Job, "of", lambda *arguments: TellingItsEnvironment())
    (run,) = some_runs(1)
    for value in ("first", None, "second"):
        if value is None:
            monkeypatch.delenv("LCD_TEST_VARIABLE")
        else:
            monkeypatch.setenv("LCD_TEST_VARIABLE", value)
        local = processes.LocalProcesses(Store(tmp_path), 1)
        local.start(run, {})
        told = []
        while local.running:
            told += [report for report in local.wait() if not report.ended]
        assert [report.progress for report in told] == [value]


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


@pytest.mark.parametrize(("code", "cause"), [(-9, "signal 9 (SIGKILL)"), (-40, "signal 40 (unnamed)"), (3, "status 3")])
def test_how_a_worker_ended_is_told_where_signals_have_other_names(game_plan, code, cause, monkeypatch):
    ended = _Worker(game_plan.cells[0], SimpleNamespace(exitcode=code), None)
    assert cause in _failure(ended)
    monkeypatch.delattr(signal, "SIGKILL")  # as on Windows
    assert cause in _failure(ended)


def test_two_threads_carry_out_the_same_plan(copied, game_plan):
    """As two notebooks in one process do: neither takes the other's workspace, nor the script's own module."""
    missing = [run for run in game_plan.runs if run.learning == "rl" and not run.keep_best][:2]
    for run in missing:
        shutil.rmtree(copied.folder(run))
    script, before = sys.modules["__main__"], copied.load(game_plan.cells[-1])
    events: list[Event] = []
    with ThreadPoolExecutor(2) as both:
        plan = Plan((game_plan,))
        carried = [both.submit(execute, plan, Store(copied.root), workers=1, listener=events.append) for _ in range(2)]
        for each in carried:
            each.result()
    finished = [event.run.name for event in events if event.kind == "finished"]
    assert sorted(finished) == sorted(run.name for run in missing)  # each by one of them
    assert sys.modules["__main__"] is script
    for run in missing:
        assert (copied.folder(run) / "progress.csv").stat().st_size > 0
        copied.load(run)
    assert copied.load(game_plan.cells[-1]).seconds == before.seconds
    assert list((copied.root / ".unfinished").iterdir()) == []


def test_a_run_that_is_carried_out_elsewhere_is_waited_for_and_taken_over(copied, game_plan, monkeypatch):
    """As on the machine of another survey: it holds the run's lease until it ends, finished or not."""
    monkeypatch.setattr("lcd.experiments.execution.LOOK_AGAIN", 0.05)
    run, other = game_plan.cells[:2]
    for each in (run, other):
        shutil.rmtree(copied.folder(each))
    code = (
        "import sys, time; from lcd.experiments.store import Store; from lcd.io.files import held; from pathlib import "
        "Path\nPath(sys.argv[1]).parent.mkdir(exist_ok=True)\n"
        "with held(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    lock = copied.root / LEASES / f"{run.name}.lock"
    holder = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True)
    events: list[Event] = []

    def kill_the_holder_at_the_end_of_the_other(event: Event) -> None:
        events.append(event)
        if event == Event("finished", other):
            assert copied.is_leased(run)
            holder.kill()

    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        execute(Plan((game_plan,)), copied, workers=1, listener=kill_the_holder_at_the_end_of_the_other)
    finally:
        holder.kill()
        holder.communicate()
    told = [(event.kind, event.run) for event in events if event.kind not in ("progress", "reused")]
    assert told == [
        ("elsewhere", run),
        ("started", other),
        ("finished", other),
        ("started", run),
        ("finished", run),
    ]
    assert not copied.is_leased(run)


def test_a_worker_that_begins_a_run_of_another_plan_leaves_it_alone(copied, game_plan, monkeypatch):
    """Two plans may look at the same moment: the worker looks again, and its run is tried once more."""
    monkeypatch.setattr("lcd.experiments.execution.LOOK_AGAIN", 0.05)
    run = game_plan.cells[0]
    shutil.rmtree(copied.folder(run))
    looks = iter([False])
    monkeypatch.setattr(Store, "is_leased", lambda store, run: next(looks, None) is None and is_leased(store, run))
    events: list[Event] = []
    with ExitStack() as kept:
        assert kept.enter_context(copied.lease(run))

        def release(event: Event) -> None:
            events.append(event)
            if event.kind == "elsewhere":
                kept.close()

        execute(Plan((game_plan,)), copied, workers=1, listener=release)
    told = [event.kind for event in events if event.kind not in ("progress", "reused")]
    assert told == ["started", "elsewhere", "started", "finished"]


def test_threads_that_start_processes_leave_the_script_where_it_is():
    script, both, found = sys.modules["__main__"], threading.Barrier(2), []

    def start():
        both.wait()
        for _ in range(100):
            with hidden_script():
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
    with hidden_script():
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
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import tiny, lcd.studies.planning as p;"
        "p.PRESETS = dict(p.PRESETS, tiny=tiny.TINY); from lcd.cli.main import main; main()"
    )
    where = ["--store", str(folder / "runs"), "--out", str(folder / "out"), "--workers", "2"]
    return [
        sys.executable,
        "-c",
        code,
        str(Path(__file__).parent),
        "diagnose",
        GAME,
        "--preset",
        "tiny",
        "--train-teacher",
        *where,
    ]


def _finished_runs(folder: Path) -> int:
    return len(list((folder / "runs").glob(f"{GAME}-*")))


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_plan_stopped_in_the_middle_and_resumed_equals_an_uninterrupted_one(finished, game_plan, tmp_path, sent):
    process = subprocess.Popen(
        _command(tmp_path),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )
    deadline = time.monotonic() + 400  # machines are shared
    try:
        while _finished_runs(tmp_path) < 2:
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
    if sent != signal.SIGKILL:
        assert "Finished runs are kept" in errors
    kept = _finished_runs(tmp_path)
    assert 2 <= kept < len(game_plan.runs)
    assert not (tmp_path / "out" / "diagnosis.json").exists()

    resumed = subprocess.run(_command(tmp_path), capture_output=True, text=True, timeout=500)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr.count("found in the store") >= kept
    assert list((tmp_path / "runs" / ".unfinished").iterdir()) == []
    uninterrupted = read_diagnosis(game_plan, finished[0], {"preset": "tiny"})
    written, expected = json.loads((tmp_path / "out" / "diagnosis.json").read_text()), uninterrupted.to_json()
    assert without_times(written) == without_times(expected)
    assert (tmp_path / "out" / "diagnosis.png").read_bytes().startswith(b"\x89PNG")
