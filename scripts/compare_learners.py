"""Compare learners by returns per second of computing, not per step: the basis of the default learner.

    python scripts/compare_learners.py encoders --seconds 200
    python scripts/compare_learners.py imitation --seconds 200 --cells cd
    python scripts/compare_learners.py encoders --device cuda --seconds 60 --output docs/learner/encoders_cuda.csv

The first compares encoders in all cells (`default_encoders` with the default learner's minibatches, learning rate and
single pass), the second hyperparameters of imitation: minibatch size, epochs, learning rate, aggregated rollouts
(DAgger as published), acting by the teacher (β), width. `minutes` compares those that learn fast within a minute or
two, for the preset `quick`; `default` the best of these with the default over longer; `levels` the default learner and
IMPALA's encoder on different numbers of training levels; `credit` discounts and entropy bonuses.

Every learner trains for the same time on one core (or on the GPU): the script first measures the steps a second of
each, and writes these beside the table (``..._rates.csv``). A later start reads them, so that a resumed comparison
keeps its budgets. Learners that compute the same have the same rate. Runs are kept in the store, and the same command
resumes. ``--draw`` draws the figure from the table alone.

One row an evaluation: game, view, learning, learner, seed, step, seconds (step divided by the rate), training_return,
unseen_return (with the inverse temperature of a diagnosis, see docs/method.md), sampled_return (unseen levels, with
temperature 1), and the normalised score of unseen_return.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure
from tables import check_joins, enter

from lcd.analyses.palette import COLOURS
from lcd.envs import family_of
from lcd.envs.family import game_options
from lcd.experiments.display import PlanDisplay
from lcd.experiments.execution import execute
from lcd.experiments.given_teacher import GivenTeacher
from lcd.experiments.plan import GamePlan, Plan
from lcd.experiments.presets import PRESETS
from lcd.experiments.resources import resolve_device
from lcd.experiments.settings import Evaluation, Hyperparameters, RunSettings
from lcd.experiments.store import Store
from lcd.experiments.timing import steps_per_second
from lcd.measurement.scores import CELLS, SAMPLED, TEMPERED, played_by
from lcd.studies.teacher_checks import reference_teacher

BASE = Hyperparameters(rollout_steps=64, minibatches=16)
"""Hyperparameters that the comparisons change: minibatches of 256, three passes, a learning rate of 5e-4."""


class Learner(NamedTuple):
    """An encoder, changes to the hyperparameters `BASE`, and the number of training levels."""

    encoder: str = "nature"
    changes: Mapping[str, Any] = MappingProxyType({})
    num_levels: int = PRESETS["standard"].num_levels


DEFAULT: Mapping[str, Any] = {"minibatches": 32, "learning_rate": 1e-3, "epochs": 1}
"""Changes that make `BASE` the third default learner of docs/learner.md, which is today's but for its discount."""


LEARNERS: Mapping[str, Mapping[str, Learner]] = {
    "encoders": {
        name: Learner(name)
        for name in (
            "nature",
            "small",
            "impala",
            "impoola",
            "residual:2,16,32,32",
            "residual:4,32,64",
            "residual:4,32,64,64",
            "residual:8,64",
        )
    },
    "default_encoders": {
        name: Learner(name, DEFAULT)
        for name in ("nature", "residual:4,32,64", "residual:4,32,64,64", "residual:2,16,32,32", "impala", "impoola")
    },
    "levels": {
        f"{encoder}, {levels:,} levels": Learner(encoder, DEFAULT, levels)
        for encoder in ("nature", "impala")
        for levels in (200, 2_000, 20_000, 200_000)
    },
    "imitation": {
        "default": Learner(),
        "minibatches of 2,048": Learner(changes={"rollout_steps": 256, "minibatches": 8}),
        "minibatches of 512": Learner(changes={"minibatches": 8}),
        "minibatches of 128": Learner(changes={"minibatches": 32}),
        "one pass": Learner(changes={"epochs": 1}),
        "half the learning rate": Learner(changes={"learning_rate": 2.5e-4}),
        "twice the learning rate": Learner(changes={"learning_rate": 1e-3}),
        "15 earlier rollouts": Learner(changes={"memory": 15}),
        "teacher acts half of the time": Learner(changes={"mixing": 0.5}),
        "256 features": Learner("nature:256"),
        "1,024 features": Learner("nature:1024"),
    },
    "minutes": {
        f"minibatches of {4096 // minibatches}, rate {rate:g}, epochs {epochs}": Learner(
            changes={"minibatches": minibatches, "learning_rate": rate, "epochs": epochs}
        )
        for minibatches, rate, epochs in (
            (16, 5e-4, 3),
            (32, 1e-3, 3),
            (32, 1e-3, 2),
            (32, 1e-3, 1),
            (32, 2e-3, 1),
            (64, 1e-3, 1),
            (64, 1e-3, 2),
            (64, 2e-3, 1),
            (32, 2e-3, 2),
            (16, 2e-3, 1),
            (32, 4e-3, 1),
        )
    },
    "default": {
        f"minibatches of {4096 // minibatches}, rate {rate:g}, epochs {epochs}": Learner(
            changes={"minibatches": minibatches, "learning_rate": rate, "epochs": epochs}
        )
        for minibatches, rate, epochs in ((16, 5e-4, 3), (32, 1e-3, 1), (32, 2e-3, 1))
    },
    "credit": {
        f"discount {gamma}, entropy bonus {entropy}": Learner(changes={**DEFAULT, "gamma": gamma, "entropy": entropy})
        for gamma, entropy in ((0.999, 0.01), (0.999, 0.002), (0.99, 0.01), (0.99, 0.002), (0.98, 0.01))
    },
}
"""Learners by comparison and name."""

GAMES = ("starpilot", "fruitbot", "ninja", "maze")
POINTS = 4

FREE = {"learning_rate": 0.0, "gamma": 0.0, "gae_lambda": 0.0, "clip_range": 0.0, "entropy": 0.0}
"""Hyperparameters that cost no time."""


def computing(learner: Learner) -> Learner:
    """The same for learners whose steps cost the same."""
    return learner._replace(changes={**learner.changes, **FREE}, num_levels=0)


def settings_of(
    game: str,
    cell: str,
    learner: Learner,
    seed: int,
    steps: int,
    teacher: GivenTeacher | None,
    episodes: int = PRESETS["standard"].evaluation_episodes,
) -> RunSettings:
    """One run: a cell of the factorial with a learner, evaluated at `POINTS` equal distances."""
    preset = PRESETS["standard"]
    hyper = replace(BASE, **learner.changes)
    rollouts = max(POINTS, round(steps / hyper.rollout))
    ends = tuple(round(part * rollouts / POINTS) * hyper.rollout for part in range(POINTS + 1))
    view, learning = CELLS[cell]
    return RunSettings(
        game_options(game, num_levels=learner.num_levels),
        view,
        learning,
        seed,
        ends[-1],
        Evaluation(ends, episodes, inverse_temperatures=preset.inverse_temperatures),
        learner.encoder,
        hyperparameters=hyper,
        teacher=None if learning == "rl" or teacher is None else teacher.checksum,
    )


Rates = Mapping[tuple[str, str], float]
"""Steps a second of each learner, by its name, in each cell, by its letter."""


def measured(
    learners: Mapping[str, Learner], cells: str, device: str, path: Path, only: Sequence[str] | None = None
) -> Rates:
    """Steps a second in one thread; rates in the file, also those of others that compute the same, stay.

    Parameters
    ----------
    learners
        All learners of a comparison, by name.
    cells, device
        What is measured.
    path
        The file.
    only
        Names of those that are measured; by default all.
    """
    rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
    known = {(row["learner"], row["cell"]): float(row["steps_per_second"]) for row in rows if row["device"] == device}
    teacher = reference_teacher(game_options("starpilot"))
    clock = time.process_time if device == "cpu" else time.perf_counter
    for name in only or learners:
        for cell in cells:
            if (name, cell) in known:
                continue
            alike = (each for each, other in learners.items() if computing(other) == computing(learners[name]))
            same = next((known[each, cell] for each in alike if (each, cell) in known), None)
            if same is None:
                settings = settings_of("starpilot", cell, learners[name], 0, 0, teacher)
                same = steps_per_second(settings, 1, device, clock=clock)
            known[name, cell] = rate = round(same, 1)
            rows.append({"learner": name, "cell": cell, "device": device, "steps_per_second": rate})
            print(f"{name}, cell {cell}: {rate:,.0f} steps/s", flush=True)
            enter(pd.DataFrame(rows), path, ("learner", "cell", "device"))
    return known


def plans(
    games: Sequence[str],
    learners: Mapping[str, Learner],
    cells: str,
    seeds: int,
    seconds: float,
    rates: Rates,
    episodes: int,
) -> Iterator[tuple[GamePlan, str]]:
    """The runs of each game and learner, seed by seed, so that an interrupted comparison has complete seeds."""
    for seed in range(seeds):
        for game in games:
            options = game_options(game)
            teacher, constants = reference_teacher(options), family_of(options).normalisation(options)
            assert constants is not None
            for name, learner in learners.items():
                runs = tuple(
                    settings_of(game, cell, learner, seed, round(rates[name, cell] * seconds), teacher, episodes)
                    for cell in cells
                )
                yield GamePlan(game, runs[0].steps, constants, None, teacher, runs), name


def rows_of(plan: GamePlan, learner: str, store: Store, rates: Rates) -> Iterator[dict[str, object]]:
    """Evaluations of a plan's finished runs."""
    letters = {cell: letter for letter, cell in CELLS.items()}
    assert plan.normalisation is not None, "it is published"
    for run in plan.cells:
        if not store.has(run):
            continue
        episodes = store.load(run).episodes
        tempered, sampled = (
            played_by(episodes, rule).pivot_table(index="step", columns="levels", values="return").to_dict("index")
            for rule in (TEMPERED, SAMPLED)
        )
        for step, returns in tempered.items():
            yield {
                "game": run.game,
                "view": run.view,
                "learning": run.learning,
                "learner": learner,
                "seed": run.seed,
                "step": step,
                "seconds": round(int(str(step)) / rates[learner, letters[run.view, run.learning]], 1),
                "training_return": round(returns["training"], 4),
                "unseen_return": round(returns["unseen"], 4),
                "sampled_return": round(sampled[step]["unseen"], 4),
                "score": round(plan.normalisation.score(returns["unseen"]), 4),
            }


def draw(table: pd.DataFrame, unit: str) -> Figure:
    """Unseen return over seconds: a row a game, a column a cell, a line a learner (mean over seeds)."""
    games, learners = list(dict.fromkeys(table["game"])), list(dict.fromkeys(table["learner"]))
    cells = {
        letter: (view, learning)
        for letter, (view, learning) in CELLS.items()
        if ((table["view"] == view) & (table["learning"] == learning)).any()
    }
    figure = Figure(figsize=(3.1 * len(cells) + 2.4, 2.6 * len(games) + 0.4), layout="constrained")
    panels = figure.subplots(len(games), len(cells), squeeze=False, sharex=True)
    for row, game in zip(panels, games, strict=True):
        for panel, (letter, (view, learning)) in zip(row, cells.items(), strict=True):
            cell = table[(table["game"] == game) & (table["view"] == view) & (table["learning"] == learning)]
            if cell.empty:
                panel.set_axis_off()
                continue
            for number, name in enumerate(learners):
                means = cell[cell["learner"] == name].groupby("step")[["seconds", "unseen_return"]].mean()
                style = {"color": COLOURS[number % len(COLOURS)], "ls": "--" if number >= len(COLOURS) else "-"}
                panel.plot(means["seconds"], means["unseen_return"], lw=1.5, label=name, **style)
            panel.set_title(f"{game}: {letter} ({view}, {learning})", fontsize=9)
            panel.spines[["top", "right"]].set_visible(False)
        next(panel for panel in row if panel.axison).set_ylabel("return, unseen levels")
    for column in panels.T:
        lowest = next(panel for panel in column[::-1] if panel.axison)
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel(f"seconds of {unit}")
    drawn = [panel.get_legend_handles_labels() for panel in panels.flat]
    legend = {label: handle for handles, labels in drawn for handle, label in zip(handles, labels, strict=True)}
    figure.legend(list(legend.values()), list(legend), loc="outside right upper", frameon=False, fontsize=9)
    return figure


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Final normalised score of each learner in each cell, mean over games and seeds, and over the cells.

    Of a cell, only those games count in which all of its learners were measured.
    """
    last = table.loc[table.groupby(["game", "view", "learning", "learner", "seed"])["step"].idxmax()]
    learners = last.groupby(["view", "learning"])["learner"].transform("nunique")
    last = last[last.groupby(["game", "view", "learning"])["learner"].transform("nunique") == learners]
    cells = last.pivot_table(index="learner", columns=["learning", "view"], values="score", sort=False)
    return cells.assign(mean=cells.mean(axis=1)).round(3)


def main() -> None:
    """Measure rates, train the missing runs, write the table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", choices=LEARNERS, help="what is compared")
    parser.add_argument("--games", nargs="+", default=list(GAMES), help="Procgen games")
    parser.add_argument("--only", nargs="+", default=None, help="names of learners, all by default")
    parser.add_argument("--cells", default="abcd", help="letters of the cells, all by default")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=200.0, help="of one core, or of the GPU, for each run")
    parser.add_argument(
        "--episodes",
        type=int,
        default=PRESETS["standard"].evaluation_episodes,
        help="of each evaluation, whose time is not counted; by default as many as the preset standard plays",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("--workers", type=int, default=None, help="processes; by default what is fastest")
    parser.add_argument("--store", type=Path, default=Path("lcd-runs"))
    parser.add_argument("--draw", action="store_true", help="only draw the table")
    parser.add_argument("--output", type=Path, default=None, help="by default docs/learner/COMPARISON.csv")
    options = parser.parse_args()
    output: Path = options.output or Path("docs/learner") / f"{options.comparison}.csv"
    if not options.draw:
        check_joins(output, "seconds", options.seconds)
        device = resolve_device(options.device)
        rates_file = output.with_name(f"{output.stem}_rates.csv")
        learners = LEARNERS[options.comparison]
        rates = measured(learners, options.cells, device, rates_file, options.only)
        learners = {name: learners[name] for name in options.only or learners}
        store = Store(options.store)
        found = list(
            plans(options.games, learners, options.cells, options.seeds, options.seconds, rates, options.episodes)
        )
        plan = Plan(tuple(each for each, _ in found))
        try:
            with PlanDisplay(plan) as display:
                execute(plan, store, workers=options.workers, threads=1, device=device, listener=display)
        finally:
            rows = [row for each, name in found for row in rows_of(each, name, store, rates)]
            if rows:
                enter(pd.DataFrame(rows), output, ("game", "view", "learning", "learner", "seed"))
    table = pd.read_csv(output)
    draw(table, "the GPU" if "cuda" in output.stem else "one core").savefig(output.with_suffix(".png"), dpi=110)
    print(summary(table).to_string())


if __name__ == "__main__":
    main()
