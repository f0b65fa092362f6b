"""Pooling of seeds: diagnoses of one game, by the same settings and with other seeds, become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lcd.experiments import settings
from lcd.experiments.plan import GamePlan, Plan
from lcd.measurement.intervals import cell_samples, demand_table
from lcd.measurement.scores import PRIMARY, Normalisation, late_gains
from lcd.measurement.verdict import better_than_teacher, decide
from lcd.studies.diagnosis import ALIKE as ALL_ALIKE
from lcd.studies.diagnosis import ITS_OWN_BEST, OWN_BEST, OWN_BEST_MATTERS
from lcd.studies.survey.columns import DECIMALS, SAME
from lcd.studies.survey.rows import Rows, measured_settings, stacked


@dataclass(frozen=True)
class Measured:
    """How a game's seeds were measured, or are to be.

    Attributes
    ----------
    game
        The game.
    seeds
        The seeds.
    settings
        What must be the same for seeds to be pooled, as far as it is known, by name.
    """

    game: str
    seeds: frozenset[int]
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, rows: Rows) -> Measured:
        """How the seeds of a diagnosis were measured."""
        evaluations = rows.curves["step"].nunique() - 1, int(rows.curves["episodes"].max())
        versions = rows.runs["training_version"].unique().tolist()
        known = {name: rows.game[name] for name in SAME} | dict(zip(EVALUATED, evaluations, strict=True))
        known |= {"training_version": versions[0]} if versions else {}
        return cls(str(rows.game["game"]), frozenset(rows.scores["seed"].tolist()), _known(known))

    @classmethod
    def planned(cls, plan: GamePlan, preset: str) -> Measured:
        """How the seeds of a plan are to be measured."""
        (data,) = Plan((plan,)).as_dict(measure=False)["games"]
        evaluation = plan.cells[0].evaluation
        episodes = evaluation.num_envs * evaluation.episodes_per_env
        evaluations = len(evaluation.steps) - 1, episodes
        known = {"preset": preset} | measured_settings(data) | dict(zip(EVALUATED, evaluations, strict=True))
        known |= {"training_version": settings.TRAINING_VERSION}
        made = None if plan.teacher_run is None else plan.teacher_run.identity
        known |= {"teacher_checksum": data["teacher"] or made}
        constants = plan.normalisation or plan
        known |= {"random": constants.random, "best": constants.best}
        return cls(plan.game, frozenset(run.seed for run in plan.cells), _known(known))

    def check_takes(self, newer: Measured) -> None:
        """Check that newer seeds can join these, or replace them all.

        Raises
        ------
        ValueError
            If some would stay, and were measured otherwise.
        """
        if newer.seeds >= self.seeds or (name := self.differing(newer)) is None:
            return
        seeds = [", ".join(map(str, sorted(each.seeds))) for each in (self, newer)]
        values = [_shown(each.settings[name]) for each in (self, newer)]
        raise ValueError(
            f"The seeds {seeds[0]} of {self.game} were measured with {name} = {values[0]}, the seeds {seeds[1]} with "
            f"{values[1]}: they cannot be pooled, keep them in folders of their own."
        )

    def differing(self, newer: Measured) -> str | None:
        """Name of a setting that is known of both and not the same; None if there is none."""
        both = [name for name in self.settings if name in newer.settings]
        return next((name for name in both if self.settings[name] != newer.settings[name]), None)


EVALUATED = ("evaluations", "evaluation_episodes")
"""Settings of a preset that tables hold in their curves."""


def joined(kept: Rows, newer: Rows) -> Rows:
    """Join two diagnoses of a game: of a seed that both have, the newer run counts.

    Demands and verdict follow from the scores of all seeds, as if they had been trained together.

    Parameters
    ----------
    kept, newer
        The diagnoses.

    Raises
    ------
    ValueError
        If they were not measured alike, unless the newer one has all seeds of the other.
    """
    mine, theirs = Measured.of(kept), Measured.of(newer)
    mine.check_takes(theirs)
    staying = mine.seeds - theirs.seeds
    if not staying:
        return newer
    scores, curves, runs = (
        stacked([part[part["seed"].isin(staying)], other])
        for part, other in ((getattr(kept, name), getattr(newer, name)) for name in ("scores", "curves", "runs"))
    )
    seeds = len(mine.seeds | theirs.seeds)
    row = dict(kept.game) | {"seeds": seeds, "core_hours": kept.game["core_hours"] + newer.game["core_hours"]}
    if set(runs["seed"]) == set(scores["seed"]):
        # What no cell took is the teacher's, which both parts hold: at most the lesser of the two.
        beside = min(each.game["core_hours"] - each.runs["core_hours"].sum() for each in (kept, newer))
        row["core_hours"] = round(float(runs["core_hours"].sum() + max(0.0, beside)), 4)
    normalisation = Normalisation(row["random"], row["best"], "given")
    returns = row["teacher_training"], row["teacher_unseen"]
    training, unseen = (None if pd.isna(each) else normalisation.score(each) for each in returns)
    verdict = decide(
        *cell_samples(scores, *PRIMARY),
        gains=late_gains(curves),
        training_gains=late_gains(curves, "training"),
        teacher_score=unseen,
        better=better_than_teacher(curves, training),
    )
    further = [ALL_ALIKE] * (ALL_ALIKE.partition(",")[0] in str(row["cautions"]))
    if OWN_BEST in str(row["cautions"]) and verdict.name in OWN_BEST_MATTERS:
        further.append(ITS_OWN_BEST.format(best=row["best"]))
    row |= {
        "verdict": verdict.name,
        "reason": verdict.reason,
        "would_decide": " ".join(verdict.would_decide) or None,
        "cautions": " ".join([*verdict.cautions, *further]) or None,
    }
    return Rows(row, scores, curves, demand_table(scores).assign(game=mine.game)[list(kept.demands)], runs)


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as in a file of a table, without those that are not known."""
    return {
        name: round(value, DECIMALS) if isinstance(value, float) else value
        for name, value in values.items()
        if not pd.isna(value)
    }


def _shown(value: Any) -> str:
    return f"{value:.{DECIMALS + 6}g}" if isinstance(value, float) else str(value)
