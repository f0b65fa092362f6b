"""The evidence of a validation, read from its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lcd.experiments.improvements import IMPROVEMENTS
from lcd.io.limits import path, short
from lcd.io.untrusted import parse_csv, read_json
from lcd.measurement.validity import KINDS
from lcd.studies.survey.rows import contents_of, measured_settings
from lcd.studies.validation.predictors import PREDICTORS
from lcd.studies.validation.validation import ValidationResult, analyse

FILES = ("predictors.csv", "gains.csv")
"""Files that hold all that was measured; everything else of a validation follows from them."""

PLAN = "plan.json"
"""File that says how."""

NEEDED = ("score", "difference", "generalisation", "training_score")
"""Predictors that every diagnosis gives."""

_REMEDY = "give a folder that lcd validate wrote, or restore it"


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
    checked = path("The evidence", folder)
    if not all((checked / name).is_file() for name in FILES):
        raise ValueError(f"{checked} holds no validation: {_REMEDY}.")
    contents = contents_of(checked, FILES)
    predictors, gains = (
        parse_csv(contents.files[name], str(checked / name), dtype={"game": str, "improvement": str}, remedy=_REMEDY)
        for name in FILES
    )
    _check(predictors, ("game", *PREDICTORS), ("game",), NEEDED, checked / FILES[0])
    _check(gains, ("game", "improvement", "kind", "gain"), ("game", "improvement"), ("gain",), checked / FILES[1])
    for name, kind in zip(gains["improvement"], gains["kind"], strict=True):
        if name not in IMPROVEMENTS and (":" not in name or kind not in KINDS):
            raise ValueError(
                f"{checked / FILES[1]} has gains of {short(name)} ({short(kind)}), which no improvement is: {_REMEDY}."
            )
    if gains.drop_duplicates(["improvement", "kind"])["improvement"].duplicated().any():
        raise ValueError(f"{checked / FILES[1]} has an improvement of two kinds: {_REMEDY}.")
    contents.check("restore it")
    known = {name: improvement.kind for name, improvement in IMPROVEMENTS.items()}
    kinds = [known.get(name, kind) for name, kind in zip(gains["improvement"], gains["kind"], strict=True)]
    return replace(analyse(predictors, gains.assign(kind=kinds), ()), measured=_measured(checked / PLAN))


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
        game = read_json(file, remedy=_REMEDY)["plan"]["games"][0]
        return {"budget": game["budget"], **measured_settings(game)}
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is damaged ({short(error)}): {_REMEDY}.") from None


def _check(
    table: pd.DataFrame, columns: tuple[str, ...], keys: tuple[str, ...], finite: tuple[str, ...], file: Path
) -> None:
    """Check the columns of a table, that no row is there twice, and that its numbers are finite.

    Raises
    ------
    ValueError
        If one is missing, or something else.
    """
    if missing := [name for name in columns if name not in table]:
        raise ValueError(f"{file} has no column {missing[0]!r}: {_REMEDY}.")
    if table.empty or table.duplicated(list(keys)).any() or table[list(keys)].isna().to_numpy().any():
        raise ValueError(f"{file} must name each {' and '.join(keys)} once: {_REMEDY}.")
    for name in set(columns) - {"game", "improvement", "kind"}:
        if not pd.api.types.is_numeric_dtype(table[name]) or pd.api.types.is_bool_dtype(table[name]):
            raise ValueError(f"{file} has values in the column {name!r} that are no numbers: {_REMEDY}.")
        values = table[name].to_numpy(np.float64)
        if (
            np.isinf(values).any()
            or (name in finite and np.isnan(values).any())
            or np.nanmax(np.abs(values), initial=0) > 1e6
        ):
            raise ValueError(f"{file} has values in the column {name!r} that no score has: {_REMEDY}.")
