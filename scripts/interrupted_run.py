"""Whether a run that is killed again and again ends as one that never was: weights, episodes and log, bit for bit.

    python scripts/interrupted_run.py --kills 100

A run trains in a process of its own and takes a checkpoint every second. It is killed (SIGKILL) at random moments, also
while it loads, evaluates or writes, and started again, until it is finished. Then the next begins, until as many
signals were sent as are asked for. `soak.py` enters what was found into its table as the part `resume`.
"""

from __future__ import annotations

import argparse
import csv
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from lcd.agents import load_policy
from lcd.envs import ProcgenOptions
from lcd.experiments.run import train
from lcd.experiments.settings import Evaluation, Hyperparameters, RunSettings
from lcd.teachers.library import shipped_teacher

TIMES = ("time/fps", "time/time_elapsed")
"""Columns of the log that differ from run to run."""

HYPERPARAMETERS = Hyperparameters(
    num_envs=32,
    rollout_steps=32,
    minibatches=4,
    epochs=3,
    learning_rate=5e-4,
    gamma=0.999,
    gae_lambda=0.95,
    clip_range=0.2,
    entropy=0.01,
    mixing=0.0,
    memory=0,
)
"""Of the run; those of a preset may change, and then the committed table could not be made again."""

ROLLOUTS = 40

LONGEST = 1800.0
"""Seconds after which a run that nobody kills is taken to hang."""


def settings(rollouts: int) -> RunSettings:
    """A run of imitation from pixels: two drawings of each game, a teacher, a twin to be restored."""
    steps = rollouts * HYPERPARAMETERS.rollout
    evaluation = Evaluation((0, steps // 2, steps), 8, inverse_temperatures=(1.0, 2.0))
    return RunSettings(
        ProcgenOptions("coinrun", num_levels=200),
        "pixels",
        "imitation",
        0,
        steps,
        evaluation,
        hyperparameters=HYPERPARAMETERS,
        teacher="shipped",
    )


def carry_out(folder: Path, rollouts: int) -> None:
    """Train in a new workspace, from the checkpoint if there is one, and leave the results in ``folder/done``."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=folder) as workspace:
        teacher = load_policy(shipped_teacher("coinrun")[0])[0]
        place = Path(workspace) / "run"
        place.mkdir()
        result = train(
            settings(rollouts),
            place,
            teacher=teacher,
            device="cpu",
            checkpoint=folder / "run.pt",
            checkpoint_seconds=1.0,
        )
        result.episodes.to_csv(place / "episodes.csv", index=False)
        place.rename(folder / "done")


def outcome(folder: Path) -> dict[str, list[Any]]:
    """What a finished run left, file by file and row by row, without times."""
    with (folder / "done" / "progress.csv").open(newline="") as file:
        log = [{name: value for name, value in row.items() if name not in TIMES} for row in csv.DictReader(file)]
    return {
        "progress.csv": log,
        "episodes.csv": (folder / "done" / "episodes.csv").read_text().splitlines(),
        "policy.safetensors": [(folder / "done" / "policy.safetensors").read_bytes()],
    }


def difference(expected: dict[str, list[Any]], found: dict[str, list[Any]]) -> str:
    """The first row of each file in which two outcomes differ, in words; empty where none does."""
    parts = []
    for name, rows in expected.items():
        if rows == found[name]:
            continue
        pairs = zip_longest(rows, found[name])
        row, (wanted, got) = next((row, pair) for row, pair in enumerate(pairs) if pair[0] != pair[1])
        if isinstance(wanted, bytes):
            parts.append(name)
        elif isinstance(wanted, dict) and isinstance(got, dict):
            columns = {key: (value, got.get(key)) for key, value in wanted.items() if value != got.get(key)}
            parts.append(f"{name}, row {row}: {columns}")
        else:
            parts.append(f"{name}, row {row}: {wanted!r}, {got!r}")
    return "; ".join(parts)


def start(folder: Path, rollouts: int) -> subprocess.Popen[bytes]:
    """Begin the run, or go on with it, in a process of its own."""
    errors = (folder / "errors.txt").open("w")
    with errors:
        command = [sys.executable, __file__, "--child", str(folder), "--rollouts", str(rollouts)]
        return subprocess.Popen(command, stderr=errors)


def rows(kills: int, seed: int, rollouts: int = ROLLOUTS) -> Iterator[dict[str, Any]]:
    """Kill runs, and tell after each that ended: signals sent so far, runs compared, those that differed, and why."""
    draw = random.Random(seed)
    found: dict[str, Any] = {"kills": 0, "runs": 0, "lost": 0, "examples": []}
    with tempfile.TemporaryDirectory() as temporary:
        undisturbed = Path(temporary) / "undisturbed"
        undisturbed.mkdir()
        began = time.monotonic()
        if start(undisturbed, rollouts).wait(LONGEST):
            raise RuntimeError((undisturbed / "errors.txt").read_text())
        whole = time.monotonic() - began
        expected = outcome(undisturbed)
        while found["kills"] < kills:
            folder = Path(temporary) / f"disturbed-{found['runs']}"
            folder.mkdir()
            while not (folder / "done").exists():
                process = start(folder, rollouts)
                more = found["kills"] < kills
                try:
                    process.wait(draw.uniform(0, whole / 2) if more else LONGEST)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    found["kills"] += 1
                if process.returncode not in (0, -signal.SIGKILL):
                    found["examples"].append(f"{folder.name} ended: {(folder / 'errors.txt').read_text()[-2000:]}")
                    break
            found["runs"] += 1
            if not (folder / "done").exists():
                found["lost"] += 1
            elif different := difference(expected, outcome(folder)):
                found["lost"] += 1
                found["examples"].append(f"{folder.name} differs from the undisturbed run in {different}")
            yield found


def main() -> None:
    """Kill runs and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="SIGKILLs to send")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS, help="of the run")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        carry_out(options.child, options.rollouts)
        return
    found: dict[str, Any] = {}
    reported = 0
    for found in rows(options.kills, options.seed, options.rollouts):
        print(f"{found['kills']} kills, {found['runs']} runs, {found['lost']} of them differ", flush=True)
        for example in found["examples"][reported:]:
            print(f"  LOST {example}", flush=True)
        reported = len(found["examples"])
    sys.exit(int(bool(found.get("lost"))))


if __name__ == "__main__":
    main()
