"""Terminal output: time estimates, and tables of a diagnosis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from lcd.agents import EncoderName
from lcd.experiments.display import duration, of_role, steps_text
from lcd.experiments.plan import Plan
from lcd.experiments.resources import Resources
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.experiments.timing import expected_seconds, kind_of, measure_speeds
from lcd.io.console import plain_console
from lcd.measurement.verdict import Verdict
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.survey.budget import REFERENCE, UNITS, Choice

if TYPE_CHECKING:
    from lcd.studies.game_encoders import GameEncoder


@contextmanager
def measuring() -> Iterator[Callable[[RunSettings], None]]:
    """Show, while speeds are measured, whose is: what it gives is called with each run."""
    with plain_console(stderr=True).status("measuring how fast runs train", speed=0.5) as status:
        yield lambda run: status.update(
            Text(f"measuring how fast this machine trains: {run.view} + {run.learning}, {run.encoder}")
        )


def budget_lines(choice: Choice) -> tuple[Table | Text, ...]:
    """What a budget is best spent on: a table of the options that pay, and sentences."""
    unit, column = choice.budget.unit, UNITS[choice.budget.unit]
    table = Table(title="Options that decide more than every cheaper one")
    for name in ("steps", "seeds", "decided", unit, "within the budget"):
        table.add_column(name, justify="right")
    for option in choice.worthwhile.to_dict("records"):
        cost = f"{option[column]:,.3g}"
        steps, seeds = (f"{int(option[name]):,}" for name in ("steps", "seeds"))
        table.add_row(steps, seeds, f"{option['decided']:.0%}", cost, "yes" if option["within"] else "no")
    sentence = (
        f"{choice.budget} are best spent on {choice.seeds} seeds of {choice.steps:,} steps, evaluations apart: in the "
        f"survey {REFERENCE} so many decide {choice.decided:.0%} of the games."
    )
    if (better := choice.next_better) is not None:
        sentence += f" For more, at least {better[column]:,.3g} {unit} are needed."
    remedy = f"Give --steps {choice.steps} --seeds {choice.seeds} instead of --budget to carry it out."
    return table, Text(sentence), *map(Text, choice.cautions), Text(remedy)


def estimate_table(
    plan: Plan, store: Store, resources: Resources, further: Sequence[tuple[str, RunSettings]] = ()
) -> tuple[Table, str]:
    """Table of a plan's missing runs with their speed where they are to be carried out, and a summary sentence.

    Parameters
    ----------
    plan
        The plan.
    store
        Where finished runs are; these are left out.
    resources
        With what the runs are to be carried out.
    further
        Further runs, with the names of their encoders.
    """
    named = [*((_encoder_text(run.encoder), run) for run in plan.runs if not store.has(run)), *further]
    runs = [run for _, run in named]
    with measuring() as begun:
        speeds = measure_speeds(runs, store, resources, begun)
    rates, workers = speeds.rates, speeds.workers
    table = Table(title="Plan: steps of each run, their speed, and the time of all in one worker")
    texts = ("game", "encoder", "view", "learning")
    for name in (*texts, "runs", "steps", "steps/s", "time"):
        table.add_column(name, justify="left" if name in texts else "right", overflow="fold")
    groups: dict[tuple[str, str, str, str, int], list[float]] = defaultdict(list)
    usual: dict[tuple[str, str], RunSettings] = {}
    roles = plan.roles
    for encoder, run in named:
        plain = usual.setdefault((run.view, run.learning), run)  # the cells come first
        role = (
            run.learning + of_role(roles.get(run.identity)) + "".join(f" ({each})" for each in changes_of(run, plain))
        )
        groups[run.game, encoder, run.view, role, run.steps].append(rates[kind_of(run)])
    for (*row, each), (rate, *more) in groups.items():
        count = 1 + len(more)
        table.add_row(*row, str(count), steps_text(each), f"{rate:,.0f}", duration(count * each / rate))
    steps = steps_text(sum(run.steps for run in runs))
    time_in = duration(expected_seconds(runs, rates, workers))
    shared = ""
    if 0 < speeds.share.gpus < 1:
        shared = f" ({duration(expected_seconds(runs, rates, 1))} if together they are no faster than one alone)"
    hours = sum(run.steps / rates[kind_of(run)] for run in runs) / 3600
    cost = f"{hours * speeds.share.threads:,.1f} core-hours"
    if speeds.share.gpus:
        cost += f" and {hours * speeds.share.gpus:,.1f} GPU-hours"
    return table, (
        f"{len(runs)} runs that {store} does not hold yet, {steps} steps, about "
        f"{time_in} in {workers} workers{shared}, {cost}, besides evaluations: up to "
        f"{sum(run.evaluation.episodes for run in runs):,} episodes."
    )


def _encoder_text(encoder: str) -> str:
    """Name of an encoder without its file, which each game may have its own of."""
    read = EncoderName.read(encoder)
    return encoder if read.weights is None else f"{read.architecture}@FILE{'' if read.frozen else '+tuned'}"


def pretraining_sentence(encoders: Sequence[GameEncoder]) -> str:
    """What is pretrained before the runs of a plan, in a line; empty where nothing is."""
    planned = [each.settings for each in encoders if not each.file.exists()]
    if not planned:
        return ""
    frames = f"{max(each.frames for each in planned):,} frames"
    what = "an encoder is pretrained on" if len(planned) == 1 else f"{len(planned)} encoders are pretrained on up to"
    return f"Before that, {what} {frames} on the cores of this machine, which takes a core some minutes each.\n"


def changes_of(run: RunSettings, plain: RunSettings) -> list[str]:
    """What a run's learner has in the place of a plain one's: an improvement, and hyperparameters that differ."""
    given, usual = asdict(run.hyperparameters), asdict(plain.hyperparameters)
    changes = [f"{name}={value}" for name, value in given.items() if value != usual[name]]
    return [*([run.improvement] if run.improvement else []), *([" ".join(changes)] if changes else [])]


def next_step(folder: Path) -> str:
    """What can be done with a folder of diagnoses, or of the tables of a survey, in a sentence."""
    from lcd.studies.survey.tables import SurveyTables
    from lcd.studies.taxonomy.taxonomy import FEWEST_GAMES

    try:
        tables = SurveyTables.read(folder)
    except ValueError as error:
        if any(folder.glob("*/diagnosis.json")):
            return f"lcd taxonomy does not sort the games of {folder}: {error}"
        return f"lcd taxonomy sorts {FEWEST_GAMES} games or more, and {folder} has 0."
    if (known := len(tables.games)) < FEWEST_GAMES:
        return f"lcd taxonomy sorts {FEWEST_GAMES} games or more, and {folder} has {known}."
    if tables.scores.groupby("game")["seed"].nunique().min() < 2:
        return "lcd taxonomy sorts games of two seeds or more."
    return f"lcd taxonomy {folder} sorts the games."


def limits_text(low: float, high: float, form: str) -> str:
    """Format an interval; empty where it is unknown, as with a single seed."""
    return "" if low != low else f"{low:{form}} to {high:{form}}"


def verdict_text(verdict: Verdict) -> Text:
    """Format a verdict with its reason."""
    return Text.assemble((verdict.name, "bold"), f": {verdict.reason}")


def demand_rows(diagnosis: Diagnosis) -> Table:
    """Table of a diagnosis's demands with their intervals."""
    table = Table(title=f"{diagnosis.game}: share of the normalised score, with 95 % intervals")
    table.add_column("quantity")
    table.add_column("estimate", justify="right")
    table.add_column("95 % interval", justify="right")
    rows = {
        "perceptual demand P": diagnosis.perceptual,
        "policy-learning demand L": diagnosis.policy,
        "joint demand J": diagnosis.joint,
        "learning gap G = P + L + J": diagnosis.gap,
        "headroom 1 - d": diagnosis.headroom,
        "better perception alone brings": diagnosis.perceptual_gain,
        "better learning alone brings": diagnosis.policy_gain,
    }
    for name, interval in rows.items():
        table.add_row(name, f"{interval.estimate:.3f}", limits_text(interval.low, interval.high, ".3f"))
    return table


def _with_limits(row: Mapping[Hashable, Any], name: str, form: str) -> str:
    """Format a number with its limits, without those that are unknown."""
    number, low, high = (row[key] for key in (name, f"{name}_low", f"{name}_high"))
    limits = "" if low != low else f" [{low:{form}}, {high:{form}}]"
    return "unknown" if number != number else f"{number:{form}}{limits}"


def ablation_rows(found: pd.DataFrame) -> Table:
    """The result of an encoder ablation as a table: gains and the shares of the demand recovered."""
    table = Table(title="Other encoders: gains in the normalised score, with 95 % intervals")
    table.add_column("encoder", overflow="fold")  # names may differ in their ends only
    for name in ("learning", "score", "gain", "label maps gain", "share of it"):
        table.add_column(name, justify="left" if name == "learning" else "right")
    for row in found.to_dict("records"):
        columns = (("gain", ".3f"), ("demand", ".3f"), ("share", ".0%"))
        parts = (_with_limits(row, name, form) for name, form in columns)
        table.add_row(row["encoder"].replace("+", "\n+"), row["learning"], f"{row['score']:.3f}", *parts)
    return table


def ladder_rows(steps: pd.DataFrame) -> Table:
    """The steps of a ladder as a table."""
    table = Table(title="The ladder: what each further help brings, in the normalised score, with 95 % intervals")
    for name in ("chain", "step", "without", "with", "gain"):
        table.add_column(name, justify="left" if name in ("chain", "step") else "right")
    for row in steps.to_dict("records"):
        scores = (f"{row[name]:.3f}" for name in ("without", "with_help"))
        table.add_row(row["chain"], row["step"], *scores, _with_limits(row, "gain", ".3f"))
    return table


def baseline_rows(found: pd.DataFrame) -> Table:
    """The baselines as a table."""
    table = Table(title="Baselines: scores of blind learners, and the share of the teacher that a view can hold")
    for name in ("baseline", "view", "learning", "value", "95 % interval"):
        table.add_column(name, justify="right" if name in ("value", "95 % interval") else "left")
    for row in found.to_dict("records"):
        limits = limits_text(row["low"], row["high"], ".3f")
        table.add_row(row["baseline"], row["view"], row["learning"], f"{row['value']:.3f}", limits)
    return table
