"""Compare learning curves of `lcd.agents.PPO` and Stable-Baselines3's PPO with the same settings and seeds.

    python scripts/compare_learning.py --seeds 3 --steps 300k --output docs/learning_comparison.csv

Both train with Nature's encoder on 200 easy levels. The curve is the mean return of the training episodes that end
during a rollout, from ``VecMonitor``. At the end both policies are evaluated on the same episodes, on training and on
unseen levels. A run's rows are added to the CSV when it ends; the same command later skips the runs in the CSV. The
figure is written beside it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import lcd.envs  # first: it keeps the old gym's notice off the terminal

# isort: split
import numpy as np
import pandas as pd
import stable_baselines3
import torch
import typer
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from lcd.agents import PPO, evaluate
from lcd.agents.machine import keep_freed_memory
from lcd.agents.ppo import PROCGEN_SETTINGS
from lcd.cli.arguments import count
from lcd.io.files import replacing

LIBRARIES = {  # Okabe and Ito's colours, safe for colour-blind readers
    "agents": ("lcd.agents.PPO", "#0072B2", "-"),
    "sb3": ("stable_baselines3.PPO", "#D55E00", (0, (4, 2))),
}
NUM_ENVS, NUM_LEVELS = 64, 200
EVALUATION_SEED = 10_000
SETTINGS = {**PROCGEN_SETTINGS, "vf_coef": 0.5, "max_grad_norm": 0.5, "device": "cpu"}
"""Settings of both; Adam's epsilon is 1e-5 in both by default."""
N_STEPS: int = SETTINGS["n_steps"]
COLUMNS = ["game", "library", "seed", "budget", "levels", "step", "mean_return", "episodes"]


class Run(NamedTuple):
    """Identity of a training run."""

    game: str
    library: str
    seed: int
    budget: int


class TrainingReturns(BaseCallback):
    """Records the returns of the episodes that end in each rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.curve: list[tuple[int, float, int]] = []
        self._returns: list[float] = []

    def _on_step(self) -> bool:
        self._returns += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        return True

    def _on_rollout_end(self) -> None:
        mean = float(np.mean(self._returns)) if self._returns else float("nan")
        self.curve.append((self.num_timesteps, mean, len(self._returns)))
        self._returns = []


def train(run: Run, episodes: int, num_envs: int = NUM_ENVS, n_steps: int = N_STEPS) -> pd.DataFrame:
    """Train once and return the curve, with a row for each of the two final evaluations."""
    torch.set_num_threads(1)
    keep_freed_memory()  # for both: it changes no result, and this compares returns, not speed
    options = lcd.envs.ProcgenOptions(run.game, num_levels=NUM_LEVELS)
    games = lcd.envs.ProcgenVecEnv(options, num_envs, seed=run.seed)
    env = VecNormalize(VecMonitor(games), norm_obs=False, gamma=SETTINGS["gamma"])
    settings = {**SETTINGS, "n_steps": n_steps}
    if run.library == "agents":
        model: stable_baselines3.PPO = PPO(env=env, encoder="nature", seed=run.seed, **settings)
    else:
        model = stable_baselines3.PPO("CnnPolicy", env, seed=run.seed, **settings)
    returns = TrainingReturns()
    model.learn(run.budget, callback=returns)
    rows = [(*run, "training", *point) for point in returns.curve]
    for levels, chosen in (("training, final", options), ("unseen, final", options.unseen_levels(NUM_LEVELS))):
        played = evaluate(model.policy, lcd.envs.ProcgenVecEnv(chosen, num_envs), episodes, EVALUATION_SEED)
        rows.append((*run, levels, model.num_timesteps, float(played.returns.mean()), played.returns.size))
    return pd.DataFrame(rows, columns=COLUMNS)


def train_apart(run: Run, episodes: int, num_envs: int, n_steps: int) -> pd.DataFrame:
    """Train in a separate process: two processes of one thread are faster than one of two."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(train, run, episodes, num_envs, n_steps).result()


def read(path: Path) -> pd.DataFrame:
    """The rows written so far."""
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=COLUMNS)


def append(path: Path, rows: pd.DataFrame) -> None:
    """Add a run's rows, atomically for readers of the file."""
    parts = [part for part in (read(path), rows) if len(part)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        pd.concat(parts).sort_values(COLUMNS[:6]).round({"mean_return": 4}).to_csv(partial, index=False)


def smoothed(curves: pd.DataFrame, rollouts: int) -> pd.DataFrame:
    """Moving average of returns over rollouts, weighted by episodes, shape (steps, seeds)."""
    sums = curves.assign(total=curves["mean_return"] * curves["episodes"])
    window: dict[str, Any] = {"window": rollouts, "center": True, "min_periods": 1}
    total, count = (
        sums.pivot_table(index="step", columns="seed", values=values, aggfunc="sum").rolling(**window).sum()
        for values in ("total", "episodes")
    )
    return total / count


def draw(table: pd.DataFrame, rollouts: int = 3) -> Figure:
    """Curves of every seed and their median, one panel a game."""
    games = list(dict.fromkeys(table["game"]))
    figure = Figure(figsize=(4 * len(games), 3.8), layout="constrained")
    panels = figure.subplots(1, len(games), squeeze=False)[0]
    for panel, game in zip(panels, games, strict=True):
        for library, (name, colour, style) in LIBRARIES.items():
            mine = table[(table["game"] == game) & (table["library"] == library)]
            if mine.empty:
                continue
            curves = smoothed(mine[mine["levels"] == "training"], rollouts)
            label = f"{name}, {curves.shape[1]} seed{'s' * (curves.shape[1] > 1)}"
            panel.plot(curves.index, curves.median(axis=1), color=colour, linestyle=style, lw=2, label=label)
            panel.plot(curves.index, curves, color=colour, linestyle=style, lw=0.7, alpha=0.5)
        panel.set_title(game)
        panel.set_xlabel("environment steps")
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, fontsize=8, loc="best")
    panels[0].set_ylabel("mean return on training levels\n(thick: median of the seeds, thin: each)")
    return figure


def number(text: str) -> int:
    """A number of steps such as 500k or 2M."""
    try:
        return count(text)
    except typer.BadParameter as error:
        raise argparse.ArgumentTypeError(error.message) from None


def missing(table: pd.DataFrame, options: argparse.Namespace) -> Iterator[Run]:
    """Runs that the table lacks, the slower library first so that the workers finish together."""
    done = {Run(*row) for row in table[COLUMNS[:4]].drop_duplicates().itertuples(index=False, name=None)}
    for library, game, seed in product(sorted(LIBRARIES, reverse=True), options.games, range(options.seeds)):
        run = Run(game, library, seed, options.steps)
        if run not in done:
            yield run


def main() -> None:
    """Train the missing runs and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=["starpilot", "bigfish", "coinrun"], choices=lcd.envs.GAMES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=number, default=300_000, help="steps a run, such as 300k")
    parser.add_argument("--episodes", type=int, default=4, help="evaluation episodes of each game at the end")
    parser.add_argument("--num-envs", type=int, default=NUM_ENVS, help="games that a run plays at once")
    parser.add_argument("--rollout-steps", type=int, default=N_STEPS, help="steps of a game in a rollout")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread that train at once")
    parser.add_argument("--output", type=Path, default=Path("docs/learning_comparison.csv"))
    options = parser.parse_args()
    sizes = options.episodes, options.num_envs, options.rollout_steps
    if options.output == parser.get_default("output") and sizes != tuple(
        parser.get_default(name) for name in ("episodes", "num_envs", "rollout_steps")
    ):
        parser.error("the committed table has runs of the usual sizes: name another with --output")
    runs = list(missing(read(options.output), options))
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    pool = ThreadPoolExecutor(options.workers)
    try:
        futures = {pool.submit(train_apart, run, *sizes): run for run in runs}
        for count, future in enumerate(as_completed(futures), start=1):
            rows = future.result()
            append(options.output, rows)
            final = ", ".join(f"{row.levels} {row.mean_return:.2f}" for row in rows.tail(2).itertuples())
            print(
                f"{count} of {len(runs)}: {' '.join(map(str, futures[future]))}: {final}", file=sys.stderr, flush=True
            )
    finally:
        pool.shutdown(cancel_futures=True)
        table = read(options.output)
        table = table[(table["budget"] == options.steps) & table["game"].isin(options.games)]
        if len(table):
            draw(table).savefig(options.output.with_suffix(".png"), dpi=150)
    final = table[table["levels"] != "training"]
    print(
        final.pivot_table(
            index=["game", "levels"], columns="library", values="mean_return", aggfunc=["mean", "min", "max"]
        ).round(2)
    )


if __name__ == "__main__":
    main()
