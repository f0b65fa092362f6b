"""The evidence of a validation, read from its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lcd.studies.survey.rows import read_measured_settings
from lcd.studies.validation.tables import REMEDY, read_measured
from lcd.studies.validation.validation import ValidationResult, analyse

PLAN = "plan.json"
"""File that says how."""


def read_evidence(folder: Path | str) -> ValidationResult:
    """Read what a validation measured, and tell again what follows from it.

    Parameters
    ----------
    folder
        A folder that ``lcd validate`` wrote.

    Raises
    ------
    ValueError
        If it is none, or damaged.
    """
    predictors, gains = read_measured(folder)
    plan = Path(folder) / PLAN
    measured = read_measured_settings(plan, "plan", remedy=REMEDY) if plan.is_file() else {}
    return replace(analyse(predictors, gains, ()), measured=measured)
