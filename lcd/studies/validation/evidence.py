"""The evidence of a validation, read from its folder."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

from lcd.io.limits import path
from lcd.studies.survey.rows import read_measured_settings
from lcd.studies.validation.result import ValidationResult, analyse
from lcd.studies.validation.tables import REMEDY, read_measured

PLAN = "plan.json"
"""File that says how."""


def reference_validations() -> list[str]:
    """Names of the validations whose tables come with the package."""
    folder = resources.files("lcd.studies.validation") / "reference"
    return sorted(item.name for item in folder.iterdir()) if folder.is_dir() else []


def read_evidence(folder: Path | str) -> ValidationResult:
    """Read what a validation measured, and tell again what follows from it.

    Parameters
    ----------
    folder
        A folder that ``lcd validate`` wrote, or the name of one that comes with the package.

    Raises
    ------
    ValueError
        If it is none, or damaged.
    """
    named, folder = str(folder), path("The evidence", folder)
    if named in reference_validations() and not folder.exists():
        with resources.as_file(resources.files("lcd.studies.validation") / "reference" / named) as kept:
            return read_evidence(kept)
    predictors, gains = read_measured(folder)
    plan = folder / PLAN
    measured = read_measured_settings(plan, "plan", remedy=REMEDY) if plan.is_file() else {}
    return replace(analyse(predictors, gains, ()), measured=measured, source=folder.name)
