"""The evidence of a validation, read from its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from lcd.io.limits import short
from lcd.io.untrusted import read_json
from lcd.studies.survey.rows import measured_settings
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
    return replace(analyse(predictors, gains, ()), measured=_measured(Path(folder) / PLAN))


def _measured(file: Path) -> dict[str, Any]:
    """How the learners were measured, from the plan beside the tables; empty where there is none.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    if not file.is_file():
        return {}
    try:
        game = read_json(file, remedy=REMEDY)["plan"]["games"][0]
        return {"budget": game["budget"], **measured_settings(game)}
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is damaged ({short(error)}): {REMEDY}.") from None
