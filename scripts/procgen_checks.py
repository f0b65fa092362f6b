"""Test predictions about the demands of Procgen's games: with plainer rendering, and on harder levels.

    python scripts/procgen_checks.py --output docs/procgen_checks.csv

The games with plain rendering (`lcd survey procgen-plain`) and in the original one (`lcd survey procgen-easy`) come
from the tables in the package. On hard levels only the runs that are needed are trained: the policy-learning demand
stands between the two learners on label maps, so `procgen-hard`'s learners from pixels are left out (`lcd survey
procgen-hard` trains them as well, and finds these runs in the store). Finished runs are kept, and the same command
resumes from them. Each game's rows replace its earlier ones in the folder, so that several machines can share the games
(--games).

One row a (game, change, demand): the demand before and after, the difference with its 95 % limits, the
predicted direction, whether the interval supports it, refutes it or leaves it open, and the score of cell d before and
after, which is the upper limit of a floor-limited demand.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from tables import enter

import lcd
from lcd.experiments.display import PlanDisplay
from lcd.experiments.execution import execute
from lcd.experiments.plan import Plan
from lcd.experiments.store import Store
from lcd.measurement.demands import CONTRASTS, Contrast
from lcd.measurement.intervals import cell_samples, contrast_interval
from lcd.measurement.rule import NEGLIGIBLE
from lcd.measurement.scores import PRIMARY, cell_scores, learning_curves, mean_curves, played_by
from lcd.studies.finished_runs import normalisation_of
from lcd.studies.survey.plan import Survey

PREDICTIONS = {
    ("plain", "perceptual"): "falls",
    ("plain", "policy"): "stays",
    ("hard", "policy"): "rises",
}
LEARNERS = {"imitation": ("taught", "#56B4E9", "--"), "rl": ("from reward", "#0072B2", "-")}


def changes(before: pd.DataFrame, after: pd.DataFrame, change: str) -> pd.DataFrame:
    """Compare the demands of the games that two tables of scores share.

    Label maps are the same however a game is drawn, and so runs that see no frame may be shared between the two: the
    difference is taken cell by cell, and a cell that is the same on both sides adds no error. A demand whose cells are
    not in both tables is left out.
    """
    rows = []
    for game in [name for name in before["game"].unique() if name in set(after["game"])]:
        sides = [cell_samples(scores[scores["game"] == game], *PRIMARY) for scores in (before, after)]
        (old, old_errors), (new, new_errors) = sides
        pairs = zip(old, new, strict=True)
        same = [len(one) == len(two) and np.allclose(one, two, rtol=0, atol=1e-6) for one, two in pairs]
        for demand in ("perceptual", "policy"):
            weights = np.array(CONTRASTS[demand].weights)
            if any(len(cells[place]) == 0 for cells in (old, new) for place in np.flatnonzero(weights)):
                continue
            means = [float(weights @ [cell.mean() if len(cell) else 0.0 for cell in cells]) for cells in (old, new)]
            differing = np.where(same, 0.0, weights)  # tables are rounded
            of_both = Contrast((*(-differing).tolist(), *differing.tolist()))
            found = contrast_interval([*old, *new], [*old_errors, *new_errors], of_both)
            predicted = PREDICTIONS.get((change, demand), "")
            outcome = _borne_out(predicted, found.low, found.high)
            reached = [float(cells[-1].mean()) for cells in (old, new)]
            rows.append(
                (game, change, demand, *means, means[1] - means[0], found.low, found.high, predicted, outcome, *reached)
            )
    columns = ["game", "change", "demand", "before", "after", "difference", "low", "high", "predicted", "found"]
    columns += ["reached_before", "reached_after"]
    return pd.DataFrame(rows, columns=columns)


def _borne_out(predicted: str, low: float, high: float) -> str:
    holds = {"falls": high < 0, "rises": low > 0, "stays": low > -NEGLIGIBLE and high < NEGLIGIBLE}
    fails = {"falls": low > 0, "rises": high < 0, "stays": low > NEGLIGIBLE or high < -NEGLIGIBLE}
    return "" if not predicted else "yes" if holds[predicted] else "no" if fails[predicted] else "open"


def measure_hard(names: Sequence[str], store: Store) -> Iterator[dict[str, pd.DataFrame]]:
    """Curves and scores of the learners on label maps of hard levels, game by game."""
    games = [
        replace(plan, cells=tuple(run for run in plan.cells if run.view == "semantic"))
        for plan in Survey.read("procgen-hard").only(names).plan.games
    ]
    for game in games:
        plan = Plan((game,))
        with PlanDisplay(plan) as display:
            execute(plan, store, listener=display)
        episodes = played_by(pd.concat([store.load(run).episodes for run in game.cells], ignore_index=True))
        constants = normalisation_of(game, store)
        curves = learning_curves(episodes, constants)
        yield {"curves": curves, "scores": cell_scores(episodes, constants, game.budget)}


def draw(easy: pd.DataFrame, hard: pd.DataFrame) -> Figure:
    """Draw the learners on label maps on easy and on hard unseen levels, a column a game."""
    games = list(hard["game"].unique())
    figure = Figure(figsize=(1.5 + 2.6 * len(games), 4.6), layout="constrained")
    panels = figure.subplots(2, len(games), sharex=True, sharey="col", squeeze=False)
    for row, (mode, curves) in zip(panels, (("easy", easy), ("hard", hard)), strict=True):
        for panel, game in zip(row, games, strict=True):
            chosen = (curves["game"] == game) & (curves["levels"] == "unseen") & (curves["view"] == "semantic")
            for learning, (name, colour, line) in LEARNERS.items():
                of_one = mean_curves(curves[chosen & (curves["learning"] == learning)])
                panel.fill_between(of_one["step"], of_one["low"], of_one["high"], color=colour, alpha=0.15, lw=0)
                panel.plot(of_one["step"], of_one["mean"], line, color=colour, label=name)
            panel.axhline(0, color="#999999", lw=0.8)
            panel.set_title(f"{game}, {mode}", loc="left", fontsize=10)
            panel.spines[["top", "right"]].set_visible(False)
            panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    figure.supylabel("normalised score, with the range of the seeds", fontsize=10)
    figure.supxlabel("environment steps, on label maps", fontsize=10)
    return figure


def main() -> None:
    """Train what is missing, compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="CSV file to write")
    parser.add_argument("--hard", type=Path, default=Path("docs/procgen-hard"), help="tables and figure of hard levels")
    parser.add_argument("--games", help="train for these games only, or for none with ''")
    parser.add_argument("--store", type=Path, default=Path("lcd-runs"), help="folder of the runs")
    options = parser.parse_args()
    names = Survey.read("procgen-hard").games if options.games is None else [*filter(None, options.games.split(","))]
    if names:
        for tables in measure_hard(names, Store(options.store)):
            for name, rows in tables.items():
                enter(rows.round(6), options.hard / f"{name}.csv", ("game",))
    curves, scores = (pd.read_csv(options.hard / f"{name}.csv") for name in ("curves", "scores"))
    base, plain = (lcd.load_reference(f"procgen-{name}") for name in ("easy", "plain"))
    compared = (changes(base.scores, plain.scores, "plain"), changes(base.scores, scores, "hard"))
    table = pd.concat(compared, ignore_index=True)
    print(table.round(3).to_string(index=False))
    if options.output:
        table.round(6).to_csv(options.output, index=False)
    draw(base.curves, curves).savefig(options.hard / "curves.png", dpi=100)


if __name__ == "__main__":
    main()
