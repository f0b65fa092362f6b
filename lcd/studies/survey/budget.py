"""Steps and seeds of a survey that decide most games for what may be spent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd

from lcd.experiments.resources import Resources
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.experiments.timing import Speeds, expected_seconds, kind_of, measure_speeds
from lcd.io.limits import short, text
from lcd.studies.survey.plan import Survey
from lcd.studies.survey.power import power_table
from lcd.studies.survey.rows import learner_of
from lcd.studies.survey.tables import SurveyTables, load_reference

UNITS = {"core-hours": "core_hours", "gpu-hours": "gpu_hours", "hours": "hours"}
"""What may be spent, and the column of its costs."""

REFERENCE = "procgen-easy"
"""The survey whose curves tell how many games a plan decides."""


@dataclass(frozen=True)
class Budget:
    """What may be spent.

    Attributes
    ----------
    amount
        How much, above 0.
    unit
        Of what: one of `UNITS`; ``"hours"`` are those of the clock.
    """

    amount: float
    unit: str

    @classmethod
    def parse(cls, given: str) -> Budget:
        """Read a budget such as ``"8 gpu-hours"``.

        Raises
        ------
        ValueError
            If it is something else.

        Examples
        --------
        >>> Budget.parse("1.5 core-hours")
        Budget(amount=1.5, unit='core-hours')
        """
        found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*([a-z]+(?:-[a-z]+)?)\s*", text("budget", given).lower())
        unit = "" if found is None else found[2] if found[2].endswith("s") else f"{found[2]}s"
        if found is None or unit not in UNITS or float(found[1]) <= 0:
            raise ValueError(f"A budget is a number of {', '.join(UNITS)}, such as '8 gpu-hours', not {short(given)}.")
        return cls(float(found[1]), unit)

    def __str__(self) -> str:
        return f"{self.amount:,g} {self.unit}"


@dataclass(frozen=True)
class Choice:
    """What a budget is best spent on.

    Attributes
    ----------
    budget
        What may be spent.
    steps, seeds
        Of each cell.
    decided
        Share of the games of the reference survey that so many would decide.
    options : pandas.DataFrame
        One row a (steps, seeds): decided; hours, core_hours and gpu_hours that it costs; and within, whether the budget
        allows it.
    cautions
        Sentences: in what the plan differs from the survey that the shares come from.
    """

    budget: Budget
    steps: int
    seeds: int
    decided: float
    options: pd.DataFrame
    cautions: tuple[str, ...]

    @property
    def next_better(self) -> pd.Series | None:
        """The cheapest option beyond the budget that decides more; None if there is none."""
        beyond = self.options[self.options["decided"] > self.decided + 1e-9]
        return None if beyond.empty else beyond.sort_values(UNITS[self.budget.unit]).iloc[0]

    @property
    def worthwhile(self) -> pd.DataFrame:
        """Options that decide more than every cheaper one, the cheapest first."""
        ordered = self.options.sort_values([UNITS[self.budget.unit], "steps"])
        before = ordered["decided"].cummax().shift(fill_value=-1.0)
        return ordered[ordered["decided"] > before + 1e-9]


def choose(
    survey: Survey,
    budget: Budget,
    store: Store,
    resources: Resources,
    begun: Callable[[RunSettings], None] = lambda run: None,
) -> Choice:
    """Choose steps and seeds of a survey for a budget.

    The cost of a plan follows from the speed of each kind of run, measured where the runs will be carried out; the
    share of games that it decides from the curves of `REFERENCE`. Of the options within the budget, that which decides
    most is chosen, and of several the cheapest. No option has more steps than that survey.

    Parameters
    ----------
    survey
        The survey; its own steps and seeds do not matter.
    budget
        What may be spent on it, evaluations apart.
    store, resources
        Where runs go, and with what they are carried out.
    begun
        Called with each run before its speed is measured on this machine.

    Raises
    ------
    ValueError
        If the budget allows none of the options, is of GPUs that no run would use, or the survey has a ladder or
        baselines, whose cost is not counted.
    """
    if survey.ladder or survey.baselines:
        raise ValueError(
            "A budget (--budget) counts the four cells of each game only: leave the ladder and the baselines out, and "
            "give them with the steps and seeds that it prints."
        )
    tables, power = _reference()
    most = max(2, int(power["seeds"].max()))
    plan = replace(survey, changes=survey.changes | {"seeds": most, "first_seed": 0}).plan
    once = [run for run in plan.runs if run.seed == 0]  # with the teachers
    speeds = measure_speeds(plan.runs, store, resources, begun)
    if budget.unit == "gpu-hours" and not speeds.share.gpus:
        raise ValueError(f"No run would use a GPU, so that {budget} say nothing: give core-hours.")
    first_seed = int(survey.changes.get("first_seed", 0))
    again = [run for run in plan.runs if run.seed == 1]
    candidates = [run for game in plan.games for run in game.candidates]
    options = costs(power, once, again, speeds, candidates, first_seed)
    column = UNITS[budget.unit]
    options["within"] = options[column] <= budget.amount
    deciding = options[options["decided"] > 0]
    if not deciding["within"].any():
        least = deciding.sort_values(column).iloc[0]
        raise ValueError(
            f"{budget} are too few: {int(least['seeds'])} seeds of {int(least['steps']):,} steps, the least that "
            f"decided any game of {REFERENCE}, take {least[column]:,.3g}. Give more, or fewer games."
        )
    best = options[options["within"]].sort_values(["decided", column], ascending=[False, True]).iloc[0]
    return Choice(
        budget,
        int(best["steps"]),
        int(best["seeds"]),
        float(best["decided"]),
        options,
        _cautions(survey, tables),
    )


@cache
def _reference() -> tuple[SurveyTables, pd.DataFrame]:
    """The survey whose curves tell how many games a plan decides, and its power table."""
    tables = load_reference(REFERENCE)
    return tables, power_table(tables.curves)


def costs(
    power: pd.DataFrame,
    first: list[RunSettings],
    further: list[RunSettings],
    speeds: Speeds,
    candidates: Sequence[RunSettings] = (),
    first_seed: int = 0,
) -> pd.DataFrame:
    """What each option of a power table costs.

    Parameters
    ----------
    power
        What `lcd.studies.survey.power.power_table` returned.
    first, further
        The runs of the first seed, teachers among them, and those of another seed.
    speeds
        How fast they train.
    candidates
        The runs that a trained teacher is chosen from: an option pays for those beyond its own seeds.
    first_seed
        The first of its own seeds.

    Returns
    -------
    pandas.DataFrame
        The power table with hours (of the clock: at least those of a teacher and of who learns from it), core_hours and
        gpu_hours.
    """
    steps = max(run.steps for run in further)

    def hours_of(runs: Iterable[RunSettings]) -> float:
        return sum(run.steps / speeds.rates[kind_of(run)] for run in runs) / 3600

    def beyond(seeds: int) -> float:
        own = range(first_seed, first_seed + seeds)
        return hours_of(run for run in candidates if run.seed not in own)

    worked = hours_of(first) + (power["seeds"] - 1) * hours_of(further) + power["seeds"].map(beyond)
    worked *= power["steps"] / steps
    chain = expected_seconds([*candidates, *first], speeds.rates, workers=10**6) / 3600 * power["steps"] / steps
    at_once = (len(first) + (power["seeds"] - 1) * len(further)).clip(upper=speeds.workers)
    return power.assign(
        hours=np.maximum(worked / at_once, chain),
        core_hours=worked * speeds.share.threads,
        gpu_hours=worked * speeds.share.gpus,
    )


def _cautions(survey: Survey, tables: SurveyTables) -> tuple[str, ...]:
    """In what a survey differs from the one whose curves tell its power."""
    measured, preset = tables.games.iloc[0], survey.plan.games[0].cells[0]
    found = []
    if preset.encoder != measured["encoder"]:
        found.append(f"Its encoder was {measured['encoder']}, and here it is {preset.encoder}.")
    planned = learner_of(preset.as_dict())
    if isinstance(measured["learner"], str) and planned != measured["learner"]:
        found.append(f"Its learner was {measured['learner']}, and here it is {planned}: the curves may differ.")
    if others := [game for game in survey.games if game not in set(tables.games["game"])]:
        found.append(f"{', '.join(others[:3])}{' and others' * (len(others) > 3)} were not in it.")
    elif (survey.mode or "easy") != measured["mode"]:
        found.append(f"Its games were in the mode {measured['mode']}, and here they are in the mode {survey.mode}.")
    return tuple(found)
