"""Plans carried out as jobs of a real Slurm of this machine, and of stand-ins for one: submitit's, and scripts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import local_slurm
import pandas as pd
import pytest
from running import run_script
from scripted_slurm import ScriptedSlurm

from lcd.experiments.execution import Event, RunFailed, execute
from lcd.experiments.executors import make_executor, minutes_of
from lcd.experiments.plan import GamePlan, Plan
from lcd.experiments.settings import RunSettings
from lcd.experiments.slurm_jobs import JOBS, SlurmJobs
from lcd.experiments.store import LEASES, UNFINISHED, Store

pytestmark = pytest.mark.costly("lcd/experiments/*.py", "scripts/local_slurm.py")

pytest.importorskip("submitit")
pytest_plugins = ["trained"]
needs_slurm = pytest.mark.skipif(
    any(local_slurm.program(name) is None for name in local_slurm.PROGRAMS) or os.getuid() != 0,
    reason="needs root, and apt-get install slurmctld slurmd slurm-client munge",
)


def of_one(plan: GamePlan, run: RunSettings) -> Plan:
    """A plan of a single run."""
    return Plan((replace(plan, teacher_run=None, candidates=(), cells=(run,)),))


@pytest.fixture
def short_folder():
    """A folder whose path leaves room for those of Slurm's sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="lcd-") as name:
        yield Path(name)


@pytest.fixture
def long_run(game_plan):
    """A run of many rollouts, which takes long enough to be stopped in its middle."""
    return replace(
        game_plan.cells[0], steps=40 * 128, evaluation=replace(game_plan.cells[0].evaluation, steps=(0, 40 * 128))
    )


def assert_same_runs(runs, store, expected):
    for run in runs:
        first, second = store.load(run), expected.load(run)
        pd.testing.assert_frame_equal(first.episodes, second.episodes)
        weights = [(each.folder / "policy.safetensors").read_bytes() for each in (first, second)]
        assert weights[0] == weights[1]


def nothing_left(store: Store) -> None:
    assert not list((store.root / UNFINISHED).glob("*"))
    assert not list((store.root / LEASES).glob("*"))


@needs_slurm
def test_jobs_of_slurm_carry_out_a_plan_and_one_that_is_preempted_comes_back(
    finished, game_plan, long_run, tmp_path, short_folder, monkeypatch
):
    with local_slurm.running_slurm(short_folder) as configuration:
        monkeypatch.setenv("SLURM_CONF", str(configuration))
        store = Store(tmp_path / "store")
        execute(Plan((game_plan,)), store, executor="slurm:time=30m,partition=low", threads=1)
        assert_same_runs(game_plan.runs, store, finished[0])

        steps: list[int] = []

        def preempt(event: Event) -> None:
            if event.kind == "progress":
                if not steps:
                    asked = ["sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"]
                    subprocess.run(asked, check=True, capture_output=True)
                steps.append(event.progress.step)

        executor = make_executor("slurm", store, [long_run])
        execute(of_one(game_plan, long_run), store, executor=executor, listener=preempt)
        log = short_folder / "slurmctld.log"
        assert "requeu" in log.read_text().lower()
        assert len(steps) > 1
        assert steps == sorted(set(steps))  # it went on from its checkpoint
    alone = Store(tmp_path / "alone")
    execute(of_one(game_plan, long_run), alone, workers=1, threads=1)
    assert_same_runs([long_run], store, alone)
    nothing_left(store)


@needs_slurm
def test_what_slurm_refuses_or_loses_is_told(game_plan, long_run, tmp_path, short_folder, monkeypatch):
    monkeypatch.setattr("lcd.experiments.slurm_jobs.LOOK_SECONDS", 1.0)
    with local_slurm.running_slurm(short_folder) as configuration:
        monkeypatch.setenv("SLURM_CONF", str(configuration))
        with pytest.raises(ValueError, match="Slurm takes no jobs with these settings"):
            execute(of_one(game_plan, long_run), Store(tmp_path / "refused"), executor="slurm:partition=none")

        def cancel(event: Event) -> None:
            if event.kind == "progress":
                subprocess.run(["scancel", "--user", str(os.getuid())], check=True)

        store = Store(tmp_path / "store")
        with pytest.raises(RunFailed, match=r"is gone from Slurm's queue"):
            execute(of_one(game_plan, long_run), store, executor="slurm", listener=cancel)

        def interrupt(event: Event) -> None:
            if event.kind == "progress":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            execute(of_one(game_plan, long_run), store, executor="slurm", listener=interrupt)
        nothing_left(store)
        assert store.checkpoint_file(long_run).is_file()


def test_a_job_that_is_signalled_goes_on_from_its_checkpoint(game_plan, long_run, tmp_path):
    """With submitit's own processes in the place of Slurm."""
    store, steps = Store(tmp_path / "store"), []
    executor = SlurmJobs(store, cluster="local")

    def signal_once(event: Event) -> None:
        if event.kind == "progress":
            if not steps:
                ((job, _),) = executor._jobs.items()
                (child,) = Path(f"/proc/{job.job_id}/task/{job.job_id}/children").read_text().split()
                os.kill(int(child), signal.SIGUSR2)
            steps.append(event.progress.step)

    execute(of_one(game_plan, long_run), store, executor=executor, listener=signal_once)
    assert len(set(steps)) > 1
    assert steps == sorted(steps)
    alone = Store(tmp_path / "alone")
    execute(of_one(game_plan, long_run), alone, workers=1, threads=1)
    assert_same_runs([long_run], store, alone)
    nothing_left(store)


def test_a_run_that_another_plan_carries_out_is_left_to_it(copied, game_plan, monkeypatch):
    monkeypatch.setattr("lcd.experiments.execution.LOOK_AGAIN", 0.05)
    run = game_plan.cells[0]
    kept = copied.folder(run).rename(copied.root / "kept")
    executor = SlurmJobs(copied, cluster="local")
    told: list[str] = []
    with copied.lease(run) as free:
        assert free
        monkeypatch.setattr(Store, "is_leased", lambda store, run: False)

        def finish(event: Event) -> None:
            told.append(event.kind)
            if event.kind == "elsewhere":
                kept.rename(copied.folder(run))

        execute(Plan((game_plan,)), copied, executor=executor, listener=finish)
    assert "failed" not in told
    assert told[-1] == "reused"


@pytest.mark.parametrize(("text", "minutes"), [("8h", 480), ("90", 90), ("90m", 90), ("1h30", 90), ("90min", 90)])
def test_time_limits(text, minutes):
    assert minutes_of(text) == minutes


@pytest.mark.parametrize("text", ["", "0", "soon", "-1h", "9999999h"])
def test_impossible_time_limits_are_one_sentence(text):
    with pytest.raises(ValueError, match="is no time limit"):
        minutes_of(text)


def test_without_slurm_the_executor_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="sbatch is not on this machine"):
        make_executor("slurm", Store(tmp_path), [])
    assert not Path(tmp_path / ".jobs").exists()


def test_a_job_that_slurm_cannot_launch_is_not_waited_for(tmp_path):
    class Held:
        job_id, cancelled = "7_0", False

        def cancel(self, check):
            self.cancelled = True

    jobs = SlurmJobs(Store(tmp_path), cluster="local")
    jobs._cluster, held = "slurm", Held()
    assert jobs._may_be_there(held, {"7_0": "Priority"})
    assert not held.cancelled
    assert not jobs._may_be_there(held, {"7_0": "launch failed requeued held"})
    assert held.cancelled


@pytest.fixture
def scripted_slurm(tmp_path, monkeypatch):
    slurm = ScriptedSlurm(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(slurm.folder), prepend=":")
    return slurm


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


def test_a_refused_submission_waits_while_jobs_are_queued_and_touches_no_other_files(
    scripted_slurm, game_plan, tmp_path, monkeypatch
):
    scripted_slurm.hold()
    jobs = SlurmJobs(Store(tmp_path / "store"))
    first, *others = game_plan.cells[:4]
    jobs.start(first, {})
    assert list(jobs.wait()) == []
    ((job, _),) = jobs._jobs.items()
    folder = tmp_path / "store" / JOBS
    before = files_in(folder)
    of_others = {job.paths.stdout, folder / "77_0_result.pkl", folder / f"{'a' * 32}.pkl", folder / "other" / "7.out"}
    scripted_slurm.write_meanwhile(of_others)
    scripted_slurm.refuse()
    for each in others:
        jobs.start(each, {})
    for _ in range(2):
        assert list(jobs.wait()) == []
    assert scripted_slurm.asked == 2  # it is not asked again at once
    assert jobs.running == 4
    assert files_in(folder) == before | of_others

    monkeypatch.setattr("lcd.experiments.slurm_jobs.RETRY_SECONDS", 0.0)
    assert list(jobs.wait()) == []
    assert scripted_slurm.asked == 3
    scripted_slurm.accept()
    for queued in (2, 4):  # a single one, then all others
        assert list(jobs.wait()) == []
        assert len(jobs._jobs) == queued
    assert scripted_slurm.asked == 5
    assert [each.job.run for each in jobs._jobs.values()] == [first, *others]


def test_a_first_submission_that_is_refused_is_an_error_and_touches_no_other_files(scripted_slurm, game_plan, tmp_path):
    jobs = SlurmJobs(Store(tmp_path / "store"))
    folder = tmp_path / "store" / JOBS
    of_others = {folder / "77_0_result.pkl", folder / f"{'a' * 32}.pkl"}
    scripted_slurm.write_meanwhile(of_others)
    scripted_slurm.refuse()
    for each in game_plan.cells[:2]:
        jobs.start(each, {})
    with pytest.raises(ValueError, match=r"Slurm takes no jobs with these settings .*QOSMaxSubmitJobPerUserLimit"):
        list(jobs.wait())
    with pytest.raises(ValueError, match="Slurm takes no jobs"):
        jobs.call(len, [])
    assert files_in(folder) == of_others


def test_a_slurm_that_took_jobs_may_refuse_others_for_a_while_and_not_for_ever(
    scripted_slurm, game_plan, tmp_path, monkeypatch
):
    monkeypatch.setattr("lcd.experiments.slurm_jobs.RETRY_SECONDS", 0.0)
    scripted_slurm.hold()
    jobs = SlurmJobs(Store(tmp_path / "store"))
    first, second = game_plan.cells[:2]
    jobs.start(first, {})
    assert list(jobs.wait()) == []
    jobs._jobs.clear()  # as if it had ended
    scripted_slurm.refuse()
    jobs.start(second, {})
    for _ in range(2):
        assert list(jobs.wait()) == []
    monkeypatch.setattr("lcd.experiments.slurm_jobs.PATIENCE_SECONDS", 0.0)
    with pytest.raises(ValueError, match="Slurm takes no jobs"):
        list(jobs.wait())


def test_a_plan_is_carried_out_though_submissions_are_refused(scripted_slurm, copied, game_plan, finished, monkeypatch):
    monkeypatch.setattr("lcd.experiments.slurm_jobs.RETRY_SECONDS", 0.0)
    runs = [run for run in game_plan.cells if run.learning == "rl"][:3]
    for run in runs:
        shutil.rmtree(copied.folder(run))
    scripted_slurm.refuse(2, 3)
    told: list[str] = []
    execute(
        Plan((game_plan,)),
        copied,
        executor=SlurmJobs(copied, workers=2),
        listener=lambda event: told.append(event.kind),
    )
    assert told.count("finished") == 3
    assert "failed" not in told
    assert scripted_slurm.asked == 4
    assert_same_runs(runs, copied, finished[0])
    assert list((copied.root / JOBS).iterdir()) == []
    nothing_left(copied)


@needs_slurm
def test_a_path_that_is_too_long_for_sockets_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="too long a path for the sockets"),
        local_slurm.running_slurm(tmp_path / ("x" * 80)),
    ):
        pass
    assert run_script(local_slurm, tmp_path / ("x" * 80)) == 2
