"""Runs as jobs of Slurm, through submitit, a job each.

The jobs write into the store, which all machines must share. A job that is preempted, or reaches its time limit, takes
a checkpoint of its run and requeues itself. Jobs outlive the driver: a later one finds their runs leased and waits for
them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lcd.experiments.executor import Report, Share
from lcd.experiments.job import CarriedOutElsewhere, Job, failure_of, last_line
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.io.files import replacing, token
from lcd.io.limits import MOST_WORKERS, STEP_LIMIT, short
from lcd.io.untrusted import read_bytes, read_json

JOBS = ".jobs"
"""Folder of the store with the runs' progress and, in a folder for each submission, the files and logs of its jobs."""

MINUTES = 240
"""Time limit of a job: shorter ones begin earlier, and a run goes on in as many as it takes."""

SIGNAL_SECONDS = 120
"""How long before its time limit Slurm signals a job: a checkpoint waits for a rollout and its evaluation."""

NEVER = "launch failed"
"""In the reason why a job waits: it cannot begin on its node, and Slurm holds it for ever."""

TIMEOUTS = 1000
"""How often a run may reach its time limit."""

PROGRESS_SECONDS = 2.0
"""Time between two reports of a job."""

LOOK_SECONDS = 15.0
"""Time between two looks at Slurm's queue."""

RETRY_SECONDS = 30.0
"""Time between a refused submission and the next one."""

PATIENCE_SECONDS = 600.0
"""How long Slurm may refuse jobs while none is queued, if it has taken some before: its controller may restart."""

GRACE_SECONDS = 40.0
"""Time that cancelled jobs have to end: Slurm kills them after its KillWait, 30 seconds by default."""

LARGEST_LOG = 64 * 2**20
"""Limit of the bytes of a job's log that is read for its last line."""


class SlurmRun:
    """Body of a job: carries out one run, and can stop at a checkpoint.

    Parameters
    ----------
    job
        The run.
    store
        Where the finished run goes.
    progress
        File for reports.
    """

    def __init__(self, job: Job, store: Store, progress: Path) -> None:
        self.job, self.store, self.progress = job, store, progress
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def __call__(self) -> str:
        """Carry out the run in a thread, so that this one hears signals.

        Returns
        -------
        str
            Why the run failed; ``"elsewhere"`` if somebody else carries it out; or nothing.
        """
        from lcd.experiments.checkpoint import RunStopped

        self._stop = stop = threading.Event()
        outcome, stopped = [""], threading.Event()

        def work() -> None:
            try:
                self.job.carry_out(self.store, self._report, self._hangs, stop=stop)
            except CarriedOutElsewhere:
                outcome[0] = ELSEWHERE
            except RunStopped:
                stopped.set()
            except Exception as error:  # whatever it is, the driver must learn of it
                outcome[0] = failure_of(error, self.store, self.job.run)

        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
        self._thread = threading.Thread(target=work)
        self._thread.start()
        while self._thread.is_alive():
            self._thread.join(0.2)
        while stopped.is_set() and not self.store.has(self.job.run):
            time.sleep(0.2)  # until Slurm requeues the job or kills it: one that ends by itself would be over
        return outcome[0]

    def checkpoint(self) -> Any:
        """Stop the run at a checkpoint, and say what the next job is to call; submitit calls this on a signal."""
        from submitit.helpers import DelayedSubmission

        if self._stop is not None and self._thread is not None:
            self._stop.set()
            self._thread.join(SIGNAL_SECONDS)
        return DelayedSubmission(SlurmRun(self.job, self.store, self.progress))

    __submitit_checkpoint__ = checkpoint
    """The name from submitit 1.6 on."""

    def _report(self, progress: Any) -> None:
        with suppress(OSError):
            if self.progress.exists() and time.time() - self.progress.stat().st_mtime < PROGRESS_SECONDS:
                return
            with replacing(self.progress) as file:
                file.write_text(json.dumps(asdict(progress)))

    def _hangs(self, sentence: str) -> None:
        self.progress.with_suffix(".failed").write_text(sentence)
        os._exit(1)


ELSEWHERE = "elsewhere"


class _Refused(ValueError):
    """Slurm takes no jobs, for the present or with these settings."""


class SlurmJobs:
    """Carries out runs as jobs of Slurm: an `Executor`. Runs that begin together are one job array.

    Parameters
    ----------
    store
        Where finished runs go; on a disk that all machines share.
    workers
        Most runs in Slurm's queue.
    cpus
        Cores of a job, which are torch's threads too.
    gpus
        GPUs of a job; by default 1 where the device is ``"cuda"``.
    minutes
        Time limit of a job.
    device
        Where torch computes: ``"auto"`` is a GPU if jobs have one.
    step_limit
        Seconds after which a step of another package's game is taken to hang.
    cluster
        ``"slurm"``, or ``"local"`` for processes of this machine in Slurm's place.
    options
        Further options of ``sbatch``: partition, account, qos, mem.

    Raises
    ------
    ValueError
        If there is no Slurm on this machine.
    """

    def __init__(
        self,
        store: Store,
        *,
        workers: int | None = None,
        cpus: int = 1,
        gpus: int | None = None,
        minutes: int = MINUTES,
        device: str = "auto",
        step_limit: float = STEP_LIMIT,
        cluster: str = "slurm",
        **options: str,
    ) -> None:
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise ValueError(
                "Slurm's command sbatch is not on this machine: start this on a login node of the cluster."
            )
        if gpus is None:
            gpus = int(device == "cuda")
        device = device if device != "auto" else "cuda" if gpus else "cpu"
        self.share = Share(cpus, float(gpus), device, step_limit)
        self._store, self._most = store, workers or MOST_WORKERS
        self._folder = store.root.absolute() / JOBS
        self._cluster = cluster
        self._parameters: dict[str, Any] = {
            "name": "lcd",
            "timeout_min": minutes,
            "cpus_per_task": cpus,
            "gpus_per_node": gpus,
            "slurm_signal_delay_s": min(SIGNAL_SECONDS, 30 * minutes),
        }
        if cluster == "slurm":
            self._parameters |= {f"slurm_{name}": value for name, value in options.items()}
        self._submitter(self._folder)  # wrong options are refused now, not at the first submission
        self._waiting: list[SlurmRun] = []
        self._accepted = False
        self._refused: list[float] = []  # when, since Slurm last took jobs
        self._jobs: dict[Any, SlurmRun] = {}
        self._told: dict[str, float] = {}
        self._missing: set[str] = set()
        self._looked = time.monotonic()

    @property
    def running(self) -> int:
        """Number of runs that have been handed over and not ended."""
        return len(self._waiting) + len(self._jobs)

    @property
    def free(self) -> int:
        """Number of runs that may be handed over."""
        return self._most - self.running

    def _submitter(self, folder: Path) -> Any:
        """What submits jobs whose files are to lie in a folder."""
        import submitit

        made = submitit.AutoExecutor(folder, cluster=self._cluster, slurm_max_num_timeout=TIMEOUTS)
        made.update_parameters(**self._parameters)
        return made

    def start(self, run: RunSettings, weights: Mapping[str, Path]) -> None:
        """Keep a run for the next array."""
        job = Job.of(run, weights, self.share)
        self._waiting.append(SlurmRun(job, self._store.absolute(), self._folder / f"{run.name}.json"))

    @contextmanager
    def _submission(self) -> Iterator[Any]:
        """What submits the jobs of one submission, in a folder of its own, for other drivers write beside it.

        Raises
        ------
        _Refused
            If Slurm refuses them; their folder is removed.
        """
        import submitit

        folder = self._folder / token()
        try:
            yield self._submitter(folder)
        except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            why = " ".join(str(getattr(error, "stderr", None) or error).split())
            raise _Refused(
                f"Slurm takes no jobs with these settings (--executor), or does not answer: {why}"
            ) from error

    def _submit(self) -> None:
        """Submit the runs that wait, or one of them after a refusal: a limit may leave room for less than an array.

        Raises
        ------
        _Refused
            If Slurm refuses the first submission; or, while none of the jobs is queued, a later one for too long.
        """
        if self._refused and time.monotonic() - self._refused[-1] < RETRY_SECONDS:
            return
        handed = self._waiting[:1] if self._refused else list(self._waiting)
        for each in handed:
            for suffix in (".json", ".failed"):
                each.progress.with_suffix(suffix).unlink(missing_ok=True)
        try:
            with self._submission() as submitter:
                if len(handed) == 1:
                    jobs = [submitter.submit(handed[0])]
                else:
                    with submitter.batch():
                        jobs = [submitter.submit(each) for each in handed]
        except _Refused:
            self._refused.append(time.monotonic())
            lasting = self._refused[-1] - self._refused[0] > PATIENCE_SECONDS
            if not self._jobs and (lasting or not self._accepted):
                raise
            return
        del self._waiting[: len(handed)]
        self._jobs |= dict(zip(jobs, handed, strict=True))
        self._accepted = True
        self._refused.clear()
        self._looked = time.monotonic()

    def wait(self) -> Iterator[Report]:
        """What runs have reported since, and which of them have ended."""
        if self._waiting:
            self._submit()
        time.sleep(0.5)
        queued = self._queued()
        for job, each in list(self._jobs.items()):
            yield from self._progress(each)
            ended = job.paths.result_pickle.exists()
            if not ended and self._may_be_there(job, queued):
                continue
            del self._jobs[job]
            outcome = self._outcome(job) if ended else self._lost(job, each)
            failure = "" if outcome in ("", ELSEWHERE) else f"The run {each.job.run.name} failed: {outcome}"
            if self._store.has(each.job.run):
                self._forget(job, each)
            yield Report(each.job.run, ended=True, failure=failure, elsewhere=outcome == ELSEWHERE)

    def _queued(self) -> dict[str, str] | None:
        """Jobs that Slurm knows, and why each waits; None between two looks."""
        if self._cluster != "slurm" or time.monotonic() - self._looked < LOOK_SECONDS:
            return None
        self._looked = time.monotonic()
        asked = ["squeue", "--noheader", "--array", "--format=%F_%K|%r", "--user", str(os.getuid())]
        done = subprocess.run(asked, capture_output=True, text=True)
        if done.returncode:
            return None  # the controller is busy, or restarts: jobs are not lost by that
        lines = (line.split("|", 1) for line in done.stdout.splitlines() if "|" in line)
        return {job.strip().removesuffix("_N/A"): why.strip() for job, why in lines}

    def _may_be_there(self, job: Any, queued: dict[str, str] | None) -> bool:
        """Whether a job without a result may still have one: twice it must be missing, for disks can be late."""
        if self._cluster != "slurm":
            return not job.done()
        if queued is None:
            return True
        if NEVER in queued.get(job.job_id, ""):
            job.cancel(check=False)
            return False
        if job.job_id in queued or job.job_id not in self._missing:
            (self._missing.discard if job.job_id in queued else self._missing.add)(job.job_id)
            return True
        return False

    def _progress(self, each: SlurmRun) -> Iterator[Report]:
        from lcd.experiments.evaluation import Progress

        try:
            written = each.progress.stat().st_mtime
            if self._told.get(each.job.run.name) == written:
                return
            progress = Progress(**read_json(each.progress))
        except (OSError, ValueError, TypeError):
            return
        self._told[each.job.run.name] = written
        yield Report(each.job.run, progress=progress)

    def _outcome(self, job: Any) -> str:
        """What a job that has ended says of its run."""
        import submitit

        try:
            return str(job.result())
        except submitit.core.utils.FailedJobError as error:
            return f"its job {job.job_id} ended with {short(str(error).strip().splitlines()[-1])}."

    def _lost(self, job: Any, each: SlurmRun) -> str:
        """Why a job is gone that has left no result."""
        with suppress(OSError, ValueError):
            return read_bytes(each.progress.with_suffix(".failed"), LARGEST_LOG).decode(errors="replace")
        with suppress(OSError, ValueError, IndexError):
            log = read_bytes(job.paths.stderr, LARGEST_LOG).decode(errors="replace")
            last = log.strip().splitlines()[-1]
            return (
                f"its job {job.job_id} is gone from Slurm's queue; its log {job.paths.stderr} ends with {short(last)}."
            )
        return (
            f"its job {job.job_id} is gone from Slurm's queue, and has written no log: it was cancelled, or could not "
            "be launched on its node, whose slurmd.log says why."
        )

    def _forget(self, job: Any, each: SlurmRun) -> None:
        """Remove the files of a job whose run is finished."""
        self._remove(job)
        each.progress.unlink(missing_ok=True)

    def _remove(self, job: Any) -> None:
        """Remove the files of a job, and the folder of its submission with those of the last one."""
        paths = job.paths
        for path in (paths.submitted_pickle, paths.result_pickle, paths.stdout, paths.stderr, paths.submission_file):
            path.unlink(missing_ok=True)
        for link in paths.folder.glob(".submission_file_*"):  # to the submission's file
            link.unlink(missing_ok=True)
        with suppress(OSError):
            paths.folder.rmdir()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in a job, and remove the job and its files.

        Raises
        ------
        OSError
            If the job failed.
        """
        from submitit.core.utils import FailedJobError

        with self._submission() as submitter:
            job = submitter.submit(function, *arguments)
        try:
            return job.result()
        except FailedJobError as error:
            raise OSError(f"The Slurm job {job.job_id} failed: {last_line(error)}.") from error
        finally:
            with suppress(Exception):
                job.cancel(check=False)
            self._remove(job)

    def end(self) -> None:
        """Cancel the jobs that have not ended."""
        for job in self._jobs:
            with suppress(Exception):
                job.cancel(check=False)
        deadline = time.monotonic() + GRACE_SECONDS
        while any(self._store.is_leased(each.job.run) for each in self._jobs.values()) and time.monotonic() < deadline:
            time.sleep(0.2)
        self._waiting.clear()
        self._jobs.clear()
