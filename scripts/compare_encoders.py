"""What an encoder learns per second of computing, not per step: the choice of the default learner rests on it.

    python scripts/compare_encoders.py --seconds 200 --output docs/learner/encoders.csv
    python scripts/compare_encoders.py --device cuda --seconds 60 --output docs/learner/encoders_cuda.csv

Every encoder trains in every cell for as many seconds of one core (or of the GPU): first the script measures how many
steps a second each makes, and writes that beside the table (`..._rates.csv`); a later start uses what is written there,
so that a resumed comparison keeps its budgets. Runs are kept in the store, and the same command goes on where it
stopped. The figure is drawn from the table alone (`--draw`).

One row an evaluation: game, view, learning, encoder, seed, step, seconds (step divided by the rate), training_return,
unseen_return (by the rule of acting of every diagnosis, see docs/method.md), and the normalised score of the latter.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from envs import get_game
from lcd.display import PlanDisplay
from lcd.execution import execute, resolve_device
from lcd.files import replacing
from lcd.pipeline import reference_teacher
from lcd.plan import GamePlan, GivenTeacher, Plan
from lcd.presets import PRESETS
from lcd.scores import CELLS, Normalisation, played_by
from lcd.store import Store
from lcd.timing import steps_per_second
from lcd.training.settings import Evaluation, RunSettings

ENCODERS = (
    "nature",
    "small",
    "impala",
    "impoola",
    "residual:2,16,32,32",
    "residual:4,32,64",
    "residual:4,32,64,64",
    "residual:8,64",
)
GAMES = ("starpilot", "fruitbot", "ninja", "maze")
POINTS = 4
COLOURS = ("#000000", "#999999", "#D55E00", "#E69F00", "#009E73", "#0072B2", "#56B4E9", "#CC79A7")
"""Okabe and Ito's, safe for colour-blind readers, one an encoder."""


def settings_of(game: str, cell: str, encoder: str, seed: int, steps: int, teacher: GivenTeacher | None) -> RunSettings:
    """One run: a cell of the factorial with an encoder, evaluated at `POINTS` equal distances."""
    preset = PRESETS["standard"]
    rollout = preset.hyperparameters.rollout
    rollouts = max(POINTS, round(steps / rollout))
    ends = tuple(round(part * rollouts / POINTS) * rollout for part in range(POINTS + 1))
    view, learning = CELLS[cell]
    return RunSettings(
        game,
        view,
        learning,
        seed,
        ends[-1],
        Evaluation(ends, preset.evaluation_episodes, inverse_temperatures=preset.inverse_temperatures),
        encoder,
        hyperparameters=preset.hyperparameters,
        teacher=None if learning == "rl" or teacher is None else teacher.checksum,
    )


def measured(encoders: Sequence[str], device: str, path: Path) -> pd.DataFrame:
    """Steps a second of each encoder in each cell, in one thread; what the file has is not measured again."""
    rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
    known = {(row["encoder"], row["cell"], row["device"]) for row in rows}
    teacher = reference_teacher("starpilot", "easy")
    for encoder in encoders:
        for cell in CELLS:
            if (encoder, cell, device) in known:
                continue
            run = settings_of("starpilot", cell, encoder, 0, 0, teacher)
            rate = steps_per_second(run, 1, device, clock=time.process_time if device == "cpu" else time.perf_counter)
            rows.append({"encoder": encoder, "cell": cell, "device": device, "steps_per_second": round(rate, 1)})
            print(f"{encoder}, cell {cell}: {rate:,.0f} steps/s", flush=True)
            write(pd.DataFrame(rows), path)
    return pd.DataFrame(rows)


def plans(
    games: Sequence[str], encoders: Sequence[str], cells: str, seeds: int, seconds: float, rates: pd.DataFrame
) -> Iterator[tuple[GamePlan, str]]:
    """The runs of each game and encoder, seed by seed, so that an interrupted comparison is of whole seeds."""
    rate = rates.set_index(["encoder", "cell"])["steps_per_second"].to_dict()
    for seed in range(seeds):
        for game in games:
            teacher = reference_teacher(game, "easy")
            for encoder in encoders:
                runs = tuple(
                    settings_of(game, cell, encoder, seed, round(rate[encoder, cell] * seconds), teacher)
                    for cell in cells
                )
                constants = Normalisation(*get_game(game).easy, "published")
                yield GamePlan(game, runs[0].steps, constants, None, teacher, runs), encoder


def rows_of(plan: GamePlan, encoder: str, store: Store, rates: pd.DataFrame) -> Iterator[dict[str, object]]:
    """The evaluations of a plan's runs that are finished."""
    letters = {cell: letter for letter, cell in CELLS.items()}
    rate = rates.set_index(["encoder", "cell"])["steps_per_second"].to_dict()
    for run in plan.cells:
        if not store.has(run):
            continue
        episodes = played_by(store.load(run).episodes)
        cell = letters[run.view, run.learning]
        means = episodes.pivot_table(index="step", columns="levels", values="return")
        for step, returns in means.iterrows():
            yield {
                "game": run.game,
                "view": run.view,
                "learning": run.learning,
                "encoder": encoder,
                "seed": run.seed,
                "step": step,
                "seconds": round(int(step) / rate[encoder, cell], 1),  # type: ignore[call-overload]
                "training_return": round(returns["training"], 4),
                "unseen_return": round(returns["unseen"], 4),
                "score": round(plan.normalisation.score(returns["unseen"]), 4),
            }


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        table.to_csv(partial, index=False)


def draw(table: pd.DataFrame, unit: str) -> Figure:
    """Unseen return over seconds: a row a cell, a column a game, a line an encoder (mean over seeds)."""
    games, encoders = list(dict.fromkeys(table["game"])), list(dict.fromkeys(table["encoder"]))
    colour = dict(zip(encoders, COLOURS, strict=False))
    figure = Figure(figsize=(3.1 * len(games), 2.5 * len(CELLS) + 0.6), layout="constrained")
    panels = figure.subplots(len(CELLS), len(games), squeeze=False, sharex=True)
    for row, (letter, (view, learning)) in zip(panels, CELLS.items(), strict=True):
        for panel, game in zip(row, games, strict=True):
            cell = table[(table["game"] == game) & (table["view"] == view) & (table["learning"] == learning)]
            for encoder, curve in cell.groupby("encoder", sort=False):
                means = curve.groupby("step")[["seconds", "unseen_return"]].mean()
                panel.plot(means["seconds"], means["unseen_return"], color=colour[str(encoder)], lw=1.6, label=encoder)
            panel.set_title(f"{game}: {letter} ({view}, {learning})", fontsize=9)
            panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[-1]:
        panel.set_xlabel(f"seconds of {unit}")
    for row in panels:
        row[0].set_ylabel("return on unseen levels")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return figure


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Final normalised score of each encoder in each cell, mean over games, and over the two kinds of learning."""
    last = table.loc[table.groupby(["game", "view", "learning", "encoder", "seed"])["step"].idxmax()]
    cells = last.pivot_table(index="encoder", columns=["learning", "view"], values="score", sort=False)
    return cells.assign(mean=cells.mean(axis=1)).round(3)


def main() -> None:
    """Measure, train what is missing, write the table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=list(GAMES), help="Procgen games")
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), help="names, see lcd diagnose --encoder")
    parser.add_argument("--cells", default="abcd", help="letters of the cells, all by default")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=200.0, help="of one core, or of the GPU, for each run")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("--workers", type=int, default=None, help="processes; by default what is fastest")
    parser.add_argument("--store", type=Path, default=Path("lcd-runs"))
    parser.add_argument("--draw", action="store_true", help="only draw what the table holds")
    parser.add_argument("--output", type=Path, default=Path("docs/learner/encoders.csv"))
    options = parser.parse_args()
    output: Path = options.output
    if not options.draw:
        device = resolve_device(options.device)
        rates = measured(options.encoders, device, output.with_name(f"{output.stem}_rates.csv"))
        rates, store = rates[rates["device"] == device], Store(options.store)
        chosen = options.games, options.encoders, options.cells, options.seeds, options.seconds, rates
        found = list(plans(*chosen))
        plan = Plan(tuple(replace(each) for each, _ in found))
        try:
            with PlanDisplay(plan) as display:
                execute(plan, store, workers=options.workers, threads=1, device=device, listener=display)
        finally:
            rows = [row for each, encoder in found for row in rows_of(each, encoder, store, rates)]
            if rows:
                write(pd.DataFrame(rows), output)
    table = pd.read_csv(output)
    draw(table, "the GPU" if "cuda" in output.stem else "one core").savefig(output.with_suffix(".png"), dpi=110)
    print(summary(table).to_string())


if __name__ == "__main__":
    main()
