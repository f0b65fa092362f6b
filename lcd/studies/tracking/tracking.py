"""The tracking study, from networks to tables: what ``lcd tracking`` calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from lcd.experiments.resources import check_numbers
from lcd.io.child_processes import in_processes
from lcd.io.files import check_output, check_output_folder, replacing
from lcd.io.limits import MOST_SEEDS, listed, path, texts, whole_number
from lcd.io.untrusted import read_csv
from lcd.studies.figures import check_registered, registered
from lcd.studies.output import save_figure
from lcd.studies.tracking.analysis import differences
from lcd.studies.tracking.conditions import TESTS, Condition, check_takes
from lcd.studies.tracking.rules import rule_returns

NETWORKS = (
    "none=nature",
    "stacked=nature",
    "lstm=nature",
    "forgetful=convolutional",
    "convolutional",
    "forgetful=phase",
    "phase",
    "phase+convolutional",
)
"""Networks that are compared by default."""

MEASURED = ("weights", "seconds", "step", "test", "measure", "value")
"""Columns of an agent's rows behind those of its settings, see `lcd.studies.tracking.training.train`."""

FIGURE = "tracking"
"""Name of the figure among the entry points ``lcd.figures``."""

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TrackingResult:
    """What the study found.

    Attributes
    ----------
    measurements
        One row a (condition, step, test, measure), see `lcd.studies.tracking.training.train`.
    differences
        Differences between networks, see `lcd.studies.tracking.analysis.differences`.
    rules
        What fixed rules reach, see `lcd.studies.tracking.rules.rule_returns`.
    """

    measurements: pd.DataFrame
    differences: pd.DataFrame
    rules: pd.DataFrame


def conditions_of(
    networks: Sequence[str],
    learners: Sequence[str],
    views: Sequence[str],
    distractors: Sequence[int],
    changes: Sequence[float],
    steps: int,
    seeds: int,
    evaluations: int,
) -> tuple[Condition, ...]:
    """All combinations, seed by seed, so that whatever is finished is balanced.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    """
    whole_number("seeds", seeds, 1, MOST_SEEDS)
    named = {"learners": learners, "views": views, "networks": networks}
    learners, views, networks = (texts(name, several) for name, several in named.items())
    numbers, speeds = listed("distractors", distractors), listed("changes", changes)
    combinations = list(product(range(seeds), learners, views, numbers, speeds, networks))
    found = dict.fromkeys(
        Condition(network, learner, view, number, change, steps, evaluations, seed)  # type: ignore[arg-type]
        for seed, learner, view, number, change, network in combinations
        if not (view == "semantic" and network.startswith("stacked="))
    )
    if not found:
        raise ValueError("Nothing is left to train: frames are stacked, not label maps, so choose view pixels as well.")
    for network, view in {(each.network, each.view): None for each in found}:
        check_takes(network, view)
    return tuple(found)


def tracking(
    networks: Sequence[str] = NETWORKS,
    *,
    learners: Sequence[str] = ("imitation",),
    views: Sequence[str] = ("pixels",),
    distractors: Sequence[int] = (5, 15),
    changes: Sequence[float] = (1.0,),
    steps: int = 500_000,
    seeds: int = 3,
    evaluations: int = 4,
    out: Path | str = "tracking",
    figure: Path | str | None = None,
    workers: int | None = None,
    report: Report = lambda what, done, of: None,
) -> TrackingResult:
    """Train networks with and without memory on Tracker, and compare them; the command ``lcd tracking`` is this.

    Every agent's rows are written when it is finished, so that the same call resumes. Where calls share a folder, its
    tables are those of the last one.

    Parameters
    ----------
    networks
        See `lcd.agents.memory.networks.build_network`.
    learners, views, distractors, changes
        See `lcd.studies.tracking.conditions.Condition`; all combinations are trained, label maps without stacked
        frames.
    steps, seeds, evaluations
        Environment steps of each agent, number of seeds, and of evaluations along the way.
    out
        Folder of the tables: ``measurements.csv``, ``differences.csv``, ``rules.csv``, and a table an agent in
        ``agents``.
    figure
        Output file of the figure; by default none.
    workers
        Agents that are trained at once, each with one thread; by default 1.
    report
        Called with what has been trained, how many agents are done, and of how many.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    """
    conditions = conditions_of(networks, learners, views, distractors, changes, steps, seeds, evaluations)
    check_numbers(workers, None)
    folder = path("out", out)
    check_output_folder(folder, "--out")
    figure_file = None if figure is None else check_output(path("figure", figure), ".png", ".pdf", ".svg")
    if figure_file is not None:
        check_registered(FIGURE)
        if all(each.view != "pixels" for each in conditions):
            raise ValueError("The figure shows agents that see frames: choose view pixels as well, or leave it out.")
    agents = folder / "agents"
    agents.mkdir(parents=True, exist_ok=True)
    missing = []
    for each in conditions:
        if _file(agents, each).is_file():
            _read_agent(agents, each)  # a damaged table is named before anything is trained
        else:
            missing.append(each)
    done = len(conditions) - len(missing)
    for condition, rows in in_processes(_train, missing, workers or 1):
        with replacing(_file(agents, condition)) as partial:
            rows.to_csv(partial, index=False)
        done += 1
        report(condition.label, done, len(conditions))
    result = read_tracking(conditions, folder)
    for name, table in asdict(result).items():
        with replacing(folder / f"{name}.csv") as partial:
            table.to_csv(partial, index=False)
    if figure_file is not None:
        save_figure(registered(FIGURE)(result.measurements, result.rules), figure_file)
    return result


def read_tracking(conditions: Sequence[Condition], folder: Path) -> TrackingResult:
    """Read the rows of finished agents, and compare them with one another and with fixed rules.

    Raises
    ------
    ValueError
        If one is missing or damaged.
    """
    tables = [_read_agent(folder / "agents", each) for each in conditions]
    measurements = pd.concat(tables, ignore_index=True)
    measurements["value"] = measurements["value"].round(5)
    rules = rule_returns(sorted({each.distractors for each in conditions}))
    return TrackingResult(measurements, differences(measurements), rules.round(5))


def _file(agents: Path, condition: Condition) -> Path:
    return agents / f"{condition.identity}.csv"


def _read_agent(agents: Path, condition: Condition) -> pd.DataFrame:
    """Read and check the rows of a finished agent.

    Raises
    ------
    ValueError
        If they are missing or damaged.
    """
    file, remedy = _file(agents, condition), "remove it, and the agent is trained again"
    table, settings = read_csv(file, remedy=remedy), asdict(condition)
    if missing := [name for name in (*settings, *MEASURED) if name not in table]:
        raise ValueError(f"{file} has no column {missing[0]!r}: {remedy}.")
    if other := [name for name, value in settings.items() if (table[name] != value).any()]:
        raise ValueError(f"{file} is of another agent, with another {other[0]}: {remedy}.")
    returns = table[(table["measure"] == "return") & (table["step"] == table["step"].max())]
    values = pd.to_numeric(returns["value"], errors="coerce")
    if set(returns["test"]) != set(TESTS) or not values.between(0, 1).all():
        raise ValueError(f"{file} has not one return of each test at its end: {remedy}.")
    return table


def _train(condition: Condition) -> Any:
    """Train with one thread, which is fastest for networks of this size."""
    from lcd.agents.parallel import one_thread
    from lcd.studies.tracking.training import train

    with one_thread():
        return train(condition)
