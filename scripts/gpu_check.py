"""Whether a GPU learns what a CPU learns, and whether it does so in the way that is meant for it.

    python scripts/gpu_check.py probe --device cuda --output gpu_probe.json
    python scripts/gpu_check.py curves --devices cpu cuda --output docs/learner/gpu_check.csv

The first trains two rollouts of each kind of learner and says of each: whether its rollout and its gradient were
recorded as CUDA graphs, or why not; how far a recorded gradient is from one that is computed step by step, in units of
its length; and how much of the GPU's memory it took, beside what `lcd.experiments.gpu` estimates. The exit status is 1
where something was not recorded that should be, a gradient differs, or the estimate is too low.

The second trains students of starpilot from label maps with the same seeds on either device. Numbers are drawn and
rounded differently there, so runs differ as two seeds do: the means over the seeds must not. One row an evaluation:
device, seed, step, unseen_return. Runs are kept, and the same command goes on where it stopped; rows of devices that
this machine lacks stay, so that the CPU's half can be made beforehand. The figure is drawn beside the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lcd  # noqa: F401, first: it keeps the old gym's notice off the terminal

# isort: split
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy import stats

from lcd.agents import PPO, DAgger
from lcd.agents.machine import bfloat16_is_fast
from lcd.experiments.execution import execute
from lcd.experiments.gpu import bytes_of_run
from lcd.experiments.plan import Plan
from lcd.experiments.presets import PRESETS, Preset
from lcd.experiments.resources import resolve_device
from lcd.experiments.run import learner
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.io.files import replacing
from lcd.measurement.scores import SAMPLED, played_by
from lcd.studies.planning import plan_diagnosis

GAME = "starpilot"
ENCODERS = ("nature", "residual:4,32,64", "impala")
FARTHEST = 0.02
"""Largest distance of two gradients, in bfloat16, as a share of their length."""

COLOURS = {"cpu": "#0072B2", "cuda": "#D55E00"}
COLUMNS = ["device", "seed", "step", "unseen_return"]


def probe_run(encoder: str, learning: str, name: str) -> RunSettings:
    """A run of two rollouts with the hyperparameters of a preset."""
    steps = 2 * PRESETS[name].hyperparameters.rollout
    preset = replace(PRESETS[name], encoder=encoder, seeds=1, steps=steps, evaluations=1)
    cells = plan_diagnosis(GAME, preset, distribution_mode="easy", teacher=None).cells
    return next(run for run in cells if (run.view, run.learning) == ("pixels", learning))


def probe(encoder: str, learning: str, device: str, preset: str) -> dict[str, Any]:
    """Train two rollouts, and tell how; see the module's docstring."""
    run = probe_run(encoder, learning, preset)
    half = bfloat16_is_fast(torch.device(device))
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    teacher = None
    if learning == "imitation":
        stand_in = replace(run, view="semantic", learning="rl", teacher=None)
        made, env = learner(stand_in, None, device, 0)
        teacher = made.policy
        env.close()
    model, env = learner(run, teacher, device, 0)  # type: ignore[arg-type]
    model.learn(2 * run.hyperparameters.rollout)
    acting, computing = model.actor.drawing, model.recorded_gradient.computing
    found = {
        "encoder": encoder,
        "learning": learning,
        "device": device,
        "rollouts recorded": bool(acting.recordings),
        "gradients recorded": bool(computing.recordings),
        "refused": acting.refused or computing.refused,
        "gradient differs by": difference(model),
        "estimated MB": round(bytes_of_run(run, half) / 2**20),
        "used MB": round(gpu_bytes() / 2**20) if device == "cuda" else 0,
    }
    env.close()
    return found


def gpu_bytes() -> int:
    """Memory of the GPU that this process has taken at its most, its context included, where it is alone there."""
    free, total = torch.cuda.mem_get_info()
    return total - free - torch.cuda.memory_reserved() + torch.cuda.max_memory_reserved()


def difference(model: PPO) -> float:
    """Length of the difference between a recorded gradient and one computed step by step, as a share of its length."""
    if isinstance(model, DAgger):
        assert model.teacher is not None
        model._labels = model.rollout_buffer.label(model.teacher)  # type: ignore[attr-defined]
    model.policy.set_training_mode(True)
    batch = next(iter(model._minibatches()))
    found = []
    for computed in (lambda: model.recorded_gradient(batch, 0.2), lambda: model.gradient(batch, 0.2)):
        computed()
        gradients = [parameter.grad.flatten() for parameter in model.policy.parameters() if parameter.grad is not None]
        found.append(torch.cat(gradients).double().clone())
    return float((found[0] - found[1]).norm() / found[1].norm())


def is_wrong(row: dict[str, Any]) -> bool:
    """Whether something is not as it is meant to be; on a CPU nothing is recorded."""
    if not row["gradient differs by"] <= FARTHEST:
        return True
    recorded = row["rollouts recorded"] and row["gradients recorded"]
    return row["device"] == "cuda" and (not recorded or row["used MB"] > row["estimated MB"])


def curve(device: str, preset: Preset, store: Store, workers: int | None) -> pd.DataFrame:
    """Train the students on a device, and give their returns on unseen levels, as they sample."""
    plan = plan_diagnosis(GAME, preset, distribution_mode="easy", teacher=None)
    runs = tuple(run for run in plan.cells if (run.view, run.learning) == ("semantic", "imitation"))
    execute(Plan((replace(plan, cells=runs),)), store, workers=workers, device=device)
    rows = []
    for run in runs:
        played = played_by(store.load(run).episodes, SAMPLED)
        means = played[played["levels"] == "unseen"].groupby("step")["return"].mean()
        rows += [(device, run.seed, step, round(value, 4)) for step, value in means.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def difference_of_devices(table: pd.DataFrame) -> tuple[float, float, float]:
    """Mean return over the training on the GPU less that on the CPU, with a 95 % interval over seeds (Welch)."""
    means = table.groupby(["device", "seed"])["unseen_return"].mean()
    cuda, cpu = (means[device].to_numpy() for device in ("cuda", "cpu"))
    limits = stats.ttest_ind(cuda, cpu, equal_var=False).confidence_interval()
    return float(np.mean(cuda) - np.mean(cpu)), float(limits.low), float(limits.high)


def draw(table: pd.DataFrame) -> Figure:
    """Curves of every seed, and their mean, on each device."""
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    for device, mine in table.groupby("device"):
        curves = mine.pivot_table(index="step", columns="seed", values="unseen_return")
        colour = COLOURS[str(device)]
        axes.plot(curves.index, curves, color=colour, lw=0.8, alpha=0.5)
        axes.plot(curves.index, curves.mean(axis=1), color=colour, lw=2, label=f"{device}, {curves.shape[1]} seeds")
    axes.set(xlabel="environment steps", ylabel="return, unseen levels", title=f"{GAME}: label maps, imitation")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def compare(devices: Sequence[str], preset: Preset, folder: Path, output: Path, workers: int | None) -> int:
    """Make the rows that are missing, draw them, and say whether the devices differ; gives the exit status."""
    table = pd.read_csv(output) if output.is_file() else pd.DataFrame(columns=COLUMNS)
    for device in devices:
        rows = curve(device, preset, Store(folder / device), workers)
        parts = [part for part in (table[table["device"] != device], rows) if len(part)]
        table = pd.concat(parts, ignore_index=True)
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output) as partial:
            table.to_csv(partial, index=False)
    draw(table).savefig(output.with_suffix(".png"), dpi=130)
    if set(table["device"]) != {"cpu", "cuda"}:
        print(f"There are rows of {', '.join(sorted(set(table['device'])))} alone: nothing is compared yet.")
        return 0
    mean, low, high = difference_of_devices(table)
    print(f"The GPU's mean return is {mean:+.2f} above the CPU's, 95 % interval {low:.2f} to {high:.2f}.")
    return 0 if low <= 0 <= high else 1


def main() -> None:
    """Probe, or compare curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    probing = parts.add_parser("probe", help="what is recorded, and what memory it takes")
    probing.add_argument("--device", default="cuda")
    probing.add_argument("--encoders", nargs="+", default=list(ENCODERS))
    probing.add_argument("--preset", choices=PRESETS, default="standard", help="whose hyperparameters are taken")
    probing.add_argument("--output", type=Path, default=Path("gpu_probe.json"))
    comparing = parts.add_parser("curves", help="learning curves on both devices")
    comparing.add_argument("--devices", nargs="+", choices=("cpu", "cuda"), default=["cpu", "cuda"])
    comparing.add_argument("--steps", type=int, default=131_072)
    comparing.add_argument("--seeds", type=int, default=3)
    comparing.add_argument("--evaluations", type=int, default=8)
    comparing.add_argument("--preset", choices=PRESETS, default="standard")
    comparing.add_argument("--workers", type=int, default=None)
    comparing.add_argument("--store", type=Path, default=Path("lcd-runs/gpu-check"), help="a folder for each device")
    comparing.add_argument("--output", type=Path, default=Path("docs/learner/gpu_check.csv"))
    options = parser.parse_args()
    try:
        for device in [options.device] if options.part == "probe" else options.devices:
            resolve_device(device)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if options.part == "curves":
        preset = replace(
            PRESETS[options.preset],
            steps=options.steps,
            seeds=options.seeds,
            evaluations=options.evaluations,
            inverse_temperatures=(1.0,),
        )
        sys.exit(compare(options.devices, preset, options.store, options.output, options.workers))
    rows = []
    for encoder in options.encoders:
        for learning in ("rl", "imitation"):
            rows.append(probe(encoder, learning, options.device, options.preset))
            print(json.dumps(rows[-1]), flush=True)
            options.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if any(map(is_wrong, rows)) else 0)


if __name__ == "__main__":
    main()
