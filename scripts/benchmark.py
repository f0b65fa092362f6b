"""Benchmark the agents' training speed against other libraries, in one interleaved run.

    python scripts/benchmark.py --output docs/benchmark.csv

Every contender trains in a fresh process, for the memory settings of one would help or hurt the next. A round measures
each contender once, and rounds follow one another (A B C A B C ...), so that a machine that drifts drifts for all of
them; a ratio is taken within each round and between the medians over rounds. What comes before the clock starts, the
first rollout and its updates, is not counted. Nothing else should run meanwhile: two programs of two threads on two
cores slow each other tenfold. Processor time in the CSV shows it.

    python scripts/benchmark.py --device cuda --output docs/benchmark_cuda.csv

measures on a GPU, for Nature, the presets' default encoder and IMPALA: Stable-Baselines3's PPO, a plain PPO, one run,
and as many runs at once as `lcd.experiments.resources.chosen_workers` lets a plan have, with the share of the GPU's
own matrix products that their networks use. Rollouts have 256 steps there.

All of them play the same game in the same vector environment with 64 games, minibatches of 2,048 and 3 epochs. With the
Nature encoder a rollout has 256 steps. With larger ones it has 32 and one minibatch: the work a step is the same, and
256 steps would take Stable-Baselines3 four minutes each; ``--whole`` measures 256 there too. A frozen encoder is
measured twice, the second time without cached features.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import lcd.envs  # noqa: F401, first: it keeps the old gym's notice off the terminal

# isort: split
from benchmarking.contenders import ALL_CONTENDERS, COMPARISONS, CONTENDERS, MEMORY_TARGET_MB, Contender, gpu_contenders
from benchmarking.measuring import NUM_ENVS, PRODUCTS, Measurement, measure
from rich.console import Console
from rich.table import Table

from lcd.experiments.host import usable_cores
from lcd.experiments.plan import plan_game
from lcd.experiments.presets import PRESETS
from lcd.experiments.resources import chosen_workers, resolve_device

SHORT, LONG = 32, 256
MOST_AT_ONCE = 1_000
"""Runs of a plan so large that its number of runs bounds nothing."""


def processes_and_threads(contender: Contender, options: argparse.Namespace) -> tuple[int, int]:
    """How many processes measure a contender at once, and the threads of each."""
    if contender.alone:
        return 1, options.threads
    if not options.gpu:
        return options.threads, 1
    if options.workers:
        return options.workers, max(1, options.threads // options.workers)
    preset = replace(PRESETS["paper"], encoder=contender.encoder)  # with the usual minibatches, as measured here
    return chosen_workers(options.device, plan_game(options.game, preset).cells[:1] * MOST_AT_ONCE)


def run(name: str, options: argparse.Namespace) -> Measurement:
    """Measure a contender in fresh processes that start their clocks together."""
    count, threads = processes_and_threads(ALL_CONTENDERS[name], options)
    command = [sys.executable, __file__, "--game", options.game, "--steps", str(options.steps), "--measure", name]
    command += ["--threads", str(threads), "--device", options.device, "--products", str(options.products)]
    command += [*["--whole"] * options.whole, *["--rollout", str(options.rollout)] * bool(options.rollout)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(count)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise SystemExit(f"Measuring {name!r} failed before it began; its message is above.")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate()[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(process.returncode for process in processes):
        raise SystemExit(f"Measuring {name!r} failed; its message is above.")
    parts = [Measurement(**json.loads(answer)) for answer in answers]
    return Measurement(
        sum(part.steps_per_second for part in parts),
        max(part.seconds for part in parts),
        sum(part.cpu_seconds for part in parts),
        max(part.peak_mb for part in parts),
        sum(part.gflops for part in parts),
        sum(part.gpu_mb for part in parts),
        count,
    )


def spread(values: list[float], digits: int = 0) -> str:
    """Smallest, median and largest value."""
    return " / ".join(f"{value:,.{digits}f}" for value in (min(values), median(values), max(values)))


def report(measured: dict[str, list[Measurement]], gpu: bool = False) -> None:
    """Print the speeds and their ratios."""
    console = Console()
    peak = median([m.gflops for m in measured.get("matrix product", ())] or [0.0])
    speeds = Table("contender", "steps/s (min / median / max)", "peak memory, MB", "GFLOP/s", "of matrix product")
    if gpu:
        speeds.add_column("memory of the GPU, MB")
        speeds.add_column("processes")
    for name, results in measured.items():
        gflops = median(m.gflops for m in results)
        cells = [spread([m.steps_per_second for m in results]), f"{max(m.peak_mb for m in results):,.0f}"]
        cells += [f"{gflops:,.0f}" if gflops else "", f"{gflops / peak:.0%}" if gflops and peak else ""]
        if gpu:
            cells += [f"{max(m.gpu_mb for m in results):,.0f}", str(results[-1].processes)]
        speeds.add_row(name, *cells)
    console.print(speeds)
    ratios = Table("ratio", "of medians", "of each round (min / median / max)", "target", "")
    for name, numerator, denominator, target in COMPARISONS:
        if numerator not in measured or denominator not in measured:
            continue
        pairs = zip(measured[numerator], measured[denominator], strict=False)
        each = [a.steps_per_second / b.steps_per_second for a, b in pairs]
        over, under = (median(m.steps_per_second for m in measured[key]) for key in (numerator, denominator))
        value = over / under
        met = ""
        if target:
            sign, bound = target.split()
            met = "met" if (value >= float(bound) if sign == ">=" else value <= float(bound)) else "missed"
        ratios.add_row(name, f"{value:.2f}", spread(each, 2), target, met)
    if "agents, nature" in measured and not gpu:
        memory = max(m.peak_mb for m in measured["agents, nature"])
        met = "met" if memory <= MEMORY_TARGET_MB else "missed"
        ratios.add_row("peak memory of agents, nature", f"{memory:,.0f} MB", "", f"<= {MEMORY_TARGET_MB}", met)
    console.print(ratios)


def main() -> None:
    """Measure the contenders in turn and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", default="coinrun")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=None, help="rounds; by default 3, on a GPU 1")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="contenders whose name contains one of these")
    parser.add_argument(
        "--steps", type=int, default=None, help="environment steps a measurement, to whole rollouts; by default 32,768"
    )
    parser.add_argument("--threads", type=int, default=None, help="threads of a contender; by default 2, on a GPU all")
    parser.add_argument("--workers", type=int, default=None, help="runs of a plan at once; by default what fills a GPU")
    parser.add_argument("--contenders", choices=("cpu", "gpu"), help="which are measured; by default the device's")
    parser.add_argument("--whole", action="store_true", help="measure 256 steps a rollout with IMPALA too")
    parser.add_argument("--rollout", type=int, default=None, help="steps of a game in a rollout; by default as above")
    parser.add_argument("--products", type=int, default=PRODUCTS, help="matrix products to compute")
    parser.add_argument("--output", type=Path, help="CSV file to write, one row a measurement")
    parser.add_argument("--measure", choices=ALL_CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        resolve_device(options.device)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    on_gpu = options.device == "cuda"
    options.gpu = on_gpu if options.contenders is None else options.contenders == "gpu"
    options.whole = options.whole or on_gpu
    options.steps = options.steps or (65_536 if on_gpu else 32_768)
    options.threads = options.threads or (usable_cores() if on_gpu else 2)
    options.repeats = options.repeats or (1 if on_gpu else 3)
    contenders = gpu_contenders() if options.gpu else CONTENDERS
    if options.measure:
        contender = ALL_CONTENDERS[options.measure]
        short = contender.encoder != "nature" and not options.whole
        steps = min(options.steps, SHORT * NUM_ENVS) if short else options.steps
        n_steps = options.rollout or (SHORT if short else LONG)
        found = measure(
            contender, options.game, steps, n_steps, options.threads, options.device, matrix_products=options.products
        )
        print(json.dumps(asdict(found)))
        return
    names = [name for name in contenders if not options.only or any(text in name for text in options.only)]
    if not names:
        parser.error(f"No contender's name contains any of {options.only}: there are {', '.join(contenders)}.")
    measured: dict[str, list[Measurement]] = {name: [] for name in names}
    rows = []
    try:  # an interrupted run reports what it has measured
        for repeat in range(options.repeats):
            for name in names:
                print(f"round {repeat + 1} of {options.repeats}: {name}", file=sys.stderr, flush=True)
                measured[name].append(run(name, options))
                print(f"    {measured[name][-1].steps_per_second:,.0f} steps/s", file=sys.stderr, flush=True)
                row = {"round": repeat, "contender": name, "game": options.game} | asdict(contenders[name])
                numbers = {key: round(value, 2) for key, value in asdict(measured[name][-1]).items()}
                if not options.gpu:
                    del numbers["gpu_mb"], numbers["processes"]
                rows.append(row | numbers)
                if options.output:
                    with options.output.open("w", newline="") as file:
                        writer = csv.DictWriter(file, rows[0])
                        writer.writeheader()
                        writer.writerows(rows)
    finally:
        report({name: results for name, results in measured.items() if results}, options.gpu)


if __name__ == "__main__":
    main()
