"""Everything that wants a GPU, in the order of its worth, within a given time; what was done is not done again.

    python scripts/gpu_session.py --out OUT --minutes 14
    python scripts/gpu_session.py --out OUT --minutes 3 --rehearse    # the same steps on a CPU, as small as can be

1. ``probe.json``: what is recorded as a CUDA graph, whether recorded gradients are right, and what memory runs take
   (`gpu_check.py probe`).
2. ``check.csv``, ``check.png``: the same students on the GPU as on the CPU (`gpu_check.py curves`). Copy a table with
   the CPU's half there beforehand, and the GPU need not wait for a processor.
3. ``benchmark-ENCODER.csv``: peers, one run and a plan of runs (`benchmark.py --device cuda`).
4. ``store``, ``survey``: as many runs of a survey as there is time for (`lcd survey`). Finished runs are kept.

Where a command may not last as long as there is time, hold several sessions with one folder, one after the other.
A step that is ended for its time, or fails, is said to be so, and the next one begins. ``session.json`` says what was
done when; ``session.log`` holds what the steps printed. The exit status is 0 if all was done, 3 if time ran out, and 1
if a step failed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).parent
LCD = "import sys; from lcd.cli.main import main; sys.exit(main())"
GRACE_SECONDS = 15.0
"""For a step to write what it has, after it was asked to end."""

DONE, FAILED, CUT_OFF = "done", "failed", "cut off"

SMALL_PROBE = ("--encoders", "nature", "--preset", "smoke")
SMALLEST_SURVEY = 'games = ["starpilot"]\npreset = "smoke"\nseeds = 1\nsteps = 1024\nevaluations = 1\n'


@dataclass(frozen=True)
class Step:
    """Something to do.

    Attributes
    ----------
    name
        What it is called.
    command
        The program and its arguments.
    most_seconds
        Time that it may take; the whole rest of the session where there is no bound.
    """

    name: str
    command: tuple[str, ...]
    most_seconds: float = float("inf")


def steps(options: argparse.Namespace) -> Iterator[Step]:
    """What a session does."""
    out, python = options.out, sys.executable
    check, benchmark = (str(SCRIPTS / name) for name in ("gpu_check.py", "benchmark.py"))
    small = options.rehearse
    device = "cpu" if small else "cuda"
    probe = ("probe", "--device", device, "--output", str(out / "probe.json"), *(SMALL_PROBE * small))
    yield Step("probe", (python, check, *probe), 120)
    curves = ("curves", "--devices", device, "--store", str(out / "check"), "--output", str(out / "check.csv"))
    sizes = ("--preset", "smoke", "--steps", "1024", "--seeds", "2", "--evaluations", "1", "--workers", "1") * small
    yield Step("check", (python, check, *curves, *sizes), 180)
    for encoder in ("nature",) if small else options.encoders:
        measured: tuple[str, ...] = ("--only", encoder, "product", "--output", str(out / f"benchmark-{encoder}.csv"))
        if small:
            measured = ("--contenders", "gpu", "--workers", "1", "--threads", "1", "--repeats", "1", "--products", "20")
            measured += ("--only", "product", "--output", str(out / f"benchmark-{encoder}.csv"))
        yield Step(f"benchmark {encoder}", (python, benchmark, "--device", device, *measured), 240)
    plan = options.survey
    if small:
        plan = str(out / "smallest.toml")
        Path(plan).write_text(SMALLEST_SURVEY, encoding="utf-8")
    survey = ("survey", plan, "--store", str(options.store), "--out", str(out / "survey"), "--device", device)
    yield Step("survey", (python, "-c", LCD, *survey, *(["--workers", "1"] * small)))


def carry_out(step: Step, seconds: float, log: Path) -> str:
    """Carry out a step within some seconds; gives `DONE`, `FAILED` or `CUT_OFF`."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(SCRIPTS.parent), *sys.path])}
    with log.open("a", encoding="utf-8") as file:
        print(f"== {step.name}: {' '.join(step.command)}", file=file, flush=True)
        process = subprocess.Popen(
            step.command, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            return DONE if process.wait(timeout=seconds) == 0 else FAILED
        except subprocess.TimeoutExpired:
            return CUT_OFF
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a step to end, then end whatever it has left."""
    if process.poll() is None:
        process.terminate()  # which `lcd survey` takes as a wish to keep what is finished
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=GRACE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def session(options: argparse.Namespace, clock: float) -> int:
    """Carry out all steps that are not done yet; gives the exit status."""
    record_file = options.out / "session.json"
    record: dict[str, dict[str, object]] = {}
    if record_file.is_file():
        record = json.loads(record_file.read_text(encoding="utf-8"))
    end = clock + 60 * options.minutes
    for step in steps(options):
        if record.get(step.name, {}).get("outcome") == DONE:
            print(f"{step.name}: done before", flush=True)
            continue
        seconds = min(step.most_seconds, end - GRACE_SECONDS - time.monotonic())
        began = time.monotonic()
        outcome = CUT_OFF if seconds <= 0 else carry_out(step, seconds, options.out / "session.log")
        took = round(time.monotonic() - began, 1)
        record[step.name] = {"outcome": outcome, "seconds": took}
        record_file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"{step.name}: {outcome} after {took:.0f} s", flush=True)
    outcomes = {each["outcome"] for each in record.values()}
    return 1 if FAILED in outcomes else 3 if CUT_OFF in outcomes else 0


def main() -> None:
    """Hold a session."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is found")
    parser.add_argument("--minutes", type=float, default=14.0, help="time from now to the end, grace included")
    parser.add_argument("--store", type=Path, default=None, help="runs of the survey; by default OUT/store")
    parser.add_argument("--survey", default="procgen-easy", help="plan of the survey: a file, or one that is shipped")
    parser.add_argument("--encoders", nargs="+", default=["nature", "impala"], help="which are benchmarked")
    parser.add_argument("--rehearse", action="store_true", help="the same steps on a CPU, as small as can be")
    options = parser.parse_args()
    clock = time.monotonic()
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    options.store = options.store or options.out / "store"
    sys.exit(session(options, clock))


if __name__ == "__main__":
    main()
