"""What a validation tells: which predictors go with the gains, what rules would have chosen, and its hypotheses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lcd.measurement.validity import KINDS, Rule, correlation_table, decision_table, mean_gain, rank_correlation
from lcd.studies.validation.plan import Hypothesis
from lcd.studies.validation.predictors import COMPLEXITY, SCORE

DEMAND_RULE, CHEAP_RULE = "larger demand", "generalisation estimate"
"""Rules that compare two estimates of a diagnosis: P with L, and the two that need the first cell alone."""

LEARNED = ("perceptual", "policy", "perceptual_gain", "policy_gain", SCORE, "generalisation", *COMPLEXITY)
"""Predictors of which a threshold is learned, for the decision what to try first."""


@dataclass(frozen=True, eq=False)
class ValidationResult:
    """What a validation found.

    Attributes
    ----------
    predictors
        One row a game: the predictors of `lcd.studies.validation.predictors`; NaN for those that were not measured.
    gains
        One row a (game, improvement), see `lcd.studies.validation.gains.gains_of`.
    correlations
        One row a (predictor, kind, improvement), see `lcd.measurement.validity.correlation_table`.
    decisions
        One row a rule, see `lcd.measurement.validity.decision_table`.
    hypotheses
        One row a hypothesis: predictor, gain, sign, given_score, text, estimate with its limits, games, and outcome:
        supported, contradicted or undecided; and joint_low, joint_high and joint_outcome, by limits that hold for all
        hypotheses together (Bonferroni's).
    measured
        How its learners were measured, as `lcd.studies.survey.columns.ALIKE` names it; empty where that is not known.
    source
        The name of the folder that it was read from; empty where it was not read.
    """

    predictors: pd.DataFrame
    gains: pd.DataFrame
    correlations: pd.DataFrame
    decisions: pd.DataFrame
    hypotheses: pd.DataFrame
    measured: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def as_tables(self) -> dict[str, pd.DataFrame]:
        """All tables, by name."""
        return {name: table for name, table in vars(self).items() if isinstance(table, pd.DataFrame)}


def fixed_rules(predictors: pd.DataFrame) -> dict[str, Rule]:
    """The rules that compare two estimates of a diagnosis, by name.

    Parameters
    ----------
    predictors : pandas.DataFrame
        One row a game; a column a predictor.
    """
    numbers = {
        DEMAND_RULE: predictors["difference"],
        CHEAP_RULE: predictors["generalisation"] - (1 - predictors["training_score"]),
    }
    return {name: Rule(name, each.to_numpy(dtype=np.float64), 0.0) for name, each in numbers.items()}


def analyse(predictors: pd.DataFrame, gains: pd.DataFrame, hypotheses: tuple[Hypothesis, ...]) -> ValidationResult:
    """Tell what predicts the gains.

    Parameters
    ----------
    predictors, gains
        As in `ValidationResult`.
    hypotheses
        What was expected before; all of them are reported.
    """
    indexed = predictors.set_index("game").sort_index().dropna(axis=1, how="all")
    correlations = correlation_table(indexed, gains, given=SCORE)
    means = {kind: mean_gain(gains, kind).reindex(indexed.index).to_numpy(dtype=np.float64) for kind in KINDS}
    column = {name: indexed[name].to_numpy(dtype=np.float64) for name in indexed}
    rules = [
        *fixed_rules(indexed).values(),
        *(Rule(f"threshold of {name}", column[name]) for name in LEARNED if name in column),
    ]
    outcomes = pd.DataFrame([_tested(each, indexed, gains, len(hypotheses)) for each in hypotheses])
    return ValidationResult(predictors, gains, correlations, decision_table(rules, means), outcomes)


def _tested(hypothesis: Hypothesis, predictors: pd.DataFrame, gains: pd.DataFrame, number: int) -> dict[str, Any]:
    """What was found of one of a number of hypotheses."""
    values = mean_gain(gains, hypothesis.gain).reindex(predictors.index)
    unknown = pd.Series(np.nan, predictors.index)
    asked = predictors.get(hypothesis.predictor, unknown), values, predictors[SCORE] if hypothesis.given_score else None
    found = rank_correlation(*asked)
    alone, among = found.limits(), found.limits(1 - 0.05 / number)
    return asdict(hypothesis) | {
        "text": hypothesis.text,
        "estimate": found.estimate,
        "low": alone[0],
        "high": alone[1],
        "games": found.games,
        "outcome": _outcome(alone, hypothesis.sign),
        "joint_low": among[0],
        "joint_high": among[1],
        "joint_outcome": _outcome(among, hypothesis.sign),
    }


def _outcome(limits: tuple[float, float], sign: str) -> str:
    """Whether the limits of a correlation exclude 0, and on which side."""
    low, high = limits
    if not low * high > 0:
        return "undecided"
    return "supported" if (low > 0) == (sign == "positive") else "contradicted"
