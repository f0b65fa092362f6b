"""The evidence of a validation, read from its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lcd.io.packaged import folder_or_packaged, packaged_folders
from lcd.studies.survey.rows import read_measured_settings
from lcd.studies.validation.result import ValidationResult, analyse
from lcd.studies.validation.tables import REMEDY, read_measured

PLAN = "plan.json"
"""File that says how."""


PACKAGE = "lcd.studies.validation"
"""Beside which the tables lie that come with it."""


def reference_validations() -> list[str]:
    """Names of the validations whose tables come with the package."""
    return packaged_folders(PACKAGE)


def read_evidence(folder: Path | str) -> ValidationResult:
    """Read what a validation measured, and derive again what follows from it.

    Parameters
    ----------
    folder
        A folder that ``lcd validate`` wrote, or the name of one that comes with the package.

    Raises
    ------
    ValueError
        If it is none, or damaged.
    """
    with folder_or_packaged(PACKAGE, folder, "The evidence") as found:
        predictors, gains = read_measured(found)
        plan = found / PLAN
        measured = read_measured_settings(plan, "plan", remedy=REMEDY) if plan.is_file() else {}
        return replace(analyse(predictors, gains, ()), measured=measured, source=found.name)
