"""Train plain PPO and published improvements of it on a game, for equally many steps, and compare their returns.

    python scripts/improvement_study.py bossfight --steps 1000000 --seeds 3
    python scripts/improvement_study.py maze --improvements replayed-levels curriculum --view semantic
    python scripts/improvement_study.py bossfight --improvements my_ideas:SHARPER
    python scripts/improvement_study.py bigfish --improvements decoupled --preset paper --steps 25000000 --device cuda
    python scripts/improvement_study.py bossfight --draw

All run with the encoder and the hyperparameters of one preset, from reward, on 200 training levels. Runs are kept in
the store, and the same command resumes. ``--draw`` draws the figure from the table alone.

One row an evaluation: game, view, improvement (``none`` for plain PPO), seed, step, training_return, unseen_return
(with the inverse temperature of a diagnosis, see docs/method.md), sampled_return (unseen levels, with temperature 1),
score (unseen_return, normalised), and hours, the core-hours of the whole run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from tables import check_joins, enter

from lcd.analyses.palette import COLOURS
from lcd.envs import GameOptions, family_of
from lcd.envs.family import game_options
from lcd.envs.views import PIXELS
from lcd.experiments.display import PlanDisplay
from lcd.experiments.execution import execute
from lcd.experiments.improvements import IMPROVEMENTS, get_improvement, import_improvement
from lcd.experiments.plan import GamePlan, Plan, evaluated_steps
from lcd.experiments.presets import PRESETS, Preset
from lcd.experiments.settings import Evaluation, RunSettings
from lcd.experiments.store import Store
from lcd.measurement.scores import SAMPLED, TEMPERED, played_by
from lcd.studies.validation.improving import improved_run

PLAIN = "none"
"""Name of PPO without an improvement."""

POLICY = tuple(name for name, each in IMPROVEMENTS.items() if each.kind == "policy")


def known(name: str) -> str:
    """The name of an improvement, one of your own too, that needs no encoder which is pretrained first."""
    try:
        improvement = get_improvement(import_improvement(name))
        if improvement.encoder is None:
            return improvement.name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    raise argparse.ArgumentTypeError(f"{name} pretrains an encoder first: lcd validate measures it.")


def settings_of(options: GameOptions, view: str, improvement: str, seed: int, preset: Preset) -> RunSettings:
    """One run: PPO with an improvement, or plain."""
    ends = evaluated_steps(preset)
    plain = RunSettings(
        options.relevant_to(view, "rl"),
        view,
        "rl",
        seed,
        ends[-1],
        Evaluation(ends, preset.evaluation_episodes, inverse_temperatures=preset.inverse_temperatures),
        preset.encoder,
        hyperparameters=preset.hyperparameters,
    )
    return plain if improvement == PLAIN else improved_run(plain, get_improvement(improvement))


def planned(game: str, view: str, improvements: Sequence[str], preset: Preset) -> dict[str, GamePlan]:
    """The runs of each improvement, and of plain PPO first."""
    options = game_options(game, num_levels=preset.num_levels)
    constants = family_of(options).normalisation(options)
    plans = {}
    for name in (PLAIN, *improvements):
        runs = tuple(settings_of(options, view, name, seed, preset) for seed in range(preset.seeds))
        plans[name] = GamePlan(game, runs[0].steps, constants, None, None, runs)
    return plans


def rows_of(plan: GamePlan, improvement: str, store: Store) -> Iterator[dict[str, object]]:
    """Evaluations of a plan's finished runs."""
    for run in plan.cells:
        if not store.has(run):
            continue
        stored = store.load(run)
        tempered, sampled = (
            played_by(stored.episodes, rule)
            .pivot_table(index="step", columns="levels", values="return")
            .to_dict("index")
            for rule in (TEMPERED, SAMPLED)
        )
        for step, returns in tempered.items():
            unseen = returns["unseen"]
            yield {
                "game": run.game,
                "view": run.view,
                "improvement": improvement,
                "seed": run.seed,
                "step": step,
                "training_return": round(returns["training"], 4),
                "unseen_return": round(unseen, 4),
                "sampled_return": round(sampled[step]["unseen"], 4),
                "score": None if plan.normalisation is None else round(plan.normalisation.score(unseen), 4),
                "hours": round(stored.core_hours, 3),
            }


def draw(table: pd.DataFrame) -> Figure:
    """Return over steps on training and on unseen levels, a line an improvement (mean over seeds)."""
    figure = Figure(figsize=(9.2, 3.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, levels in zip(panels, ("training", "unseen"), strict=True):
        for number, (name, rows) in enumerate(table.groupby("improvement", sort=False)):
            means = rows.groupby("step")[f"{levels}_return"].mean()
            style = "--" if number >= len(COLOURS) else "-"
            panel.plot(means.index / 1000, means, lw=1.5, label=name, color=COLOURS[number % len(COLOURS)], ls=style)
        panel.set_title(f"{table['game'].iloc[0]} ({table['view'].iloc[0]}), {levels} levels", fontsize=9)
        panel.set_xlabel("thousands of steps")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("return")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    return figure


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Last returns of each improvement and their gains over plain PPO, mean and standard deviation over seeds."""
    last = table.loc[table.groupby(["improvement", "seed"])["step"].idxmax()]
    columns = ["training_return", "unseen_return"]
    plain = last.loc[last["improvement"] == PLAIN, ["seed", *columns]]
    paired = last.merge(plain, on="seed", suffixes=("", "_plain"))
    for name in columns:
        paired[name.replace("return", "gain")] = paired[name] - paired[f"{name}_plain"]
    shown = [*columns, "training_gain", "unseen_gain", "hours"]
    return paired.groupby("improvement", sort=False)[shown].agg(["mean", "std"]).round(3)


def main() -> None:
    """Train the missing runs, write the table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("game", help="name of a game")
    parser.add_argument("--view", default=PIXELS.name, help="what is learned from")
    parser.add_argument("--improvements", nargs="+", type=known, default=list(POLICY), metavar="NAME")
    parser.add_argument("--preset", default="standard", choices=list(PRESETS), help="encoder and hyperparameters")
    parser.add_argument("--steps", type=int, default=1_000_000, help="environment steps of each run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--evaluations", type=int, default=10, help="along each run")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("--workers", type=int, default=None, help="processes; by default what is fastest")
    parser.add_argument("--store", type=Path, default=Path("lcd-runs"))
    parser.add_argument("--draw", action="store_true", help="only draw the table")
    parser.add_argument(
        "--output", type=Path, default=None, help="by default docs/improvements/GAME.csv, or GAME-VIEW.csv"
    )
    options = parser.parse_args()
    named = options.game if options.view == PIXELS.name else f"{options.game}-{options.view}"
    output: Path = options.output or Path("docs/improvements") / f"{named}.csv"
    if not options.draw:
        asked = {"steps": options.steps, "seeds": options.seeds, "evaluations": options.evaluations}
        preset = replace(PRESETS[options.preset], spacing="even", **asked)
        plans, store = planned(options.game, options.view, options.improvements, preset), Store(options.store)
        plan = Plan(tuple(plans.values()))
        check_joins(output, "step", max(run.steps for run in plan.runs))
        try:
            with PlanDisplay(plan) as display:
                execute(plan, store, workers=options.workers, threads=1, device=options.device, listener=display)
        finally:
            rows = [row for name, each in plans.items() for row in rows_of(each, name, store)]
            if rows:
                enter(pd.DataFrame(rows), output, ("improvement", "seed"))
    table = pd.read_csv(output)
    draw(table).savefig(output.with_suffix(".png"), dpi=110)
    print(summary(table).to_string())


if __name__ == "__main__":
    main()
