"""The tables of what a validation measured, read from its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lcd.experiments.improvements import IMPROVEMENTS
from lcd.io.checksums import finish
from lcd.io.limits import path, short
from lcd.io.untrusted import parse_csv, read_csv
from lcd.measurement.validity import KINDS
from lcd.studies.survey.rows import contents_of
from lcd.studies.validation.predictors import COMPLEXITY, PREDICTORS

FILES = ("predictors.csv", "gains.csv")
"""Files that hold all that was measured; everything else of a validation follows from them."""

COMPLEXITY_FILE = "complexity.csv"
"""File of the measures of complexity, each written as it is measured."""

NEEDED = ("score", "difference", "generalisation", "training_score")
"""Predictors that every diagnosis gives."""

SUMS = {"perceptual_gain": "perceptual", "policy_gain": "policy"}
"""Predictors that are a demand and the joint one together, which older tables do not hold."""

REMEDY = "give a folder that lcd validate wrote, or restore it"


def read_measured(folder: Path | str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The predictors and the gains of a validation, see `lcd.studies.validation.result.ValidationResult`.

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
        raise ValueError(f"{checked} holds no validation: {REMEDY}.")
    contents = contents_of(checked, FILES)
    predictors, gains = (
        parse_csv(contents.files[name], str(checked / name), dtype={"game": str, "improvement": str}, remedy=REMEDY)
        for name in FILES
    )
    lacking = [name for name in SUMS if name not in predictors]  # in tables of older versions
    wanted = ("game", *(name for name in PREDICTORS if name not in lacking))
    _check(predictors, wanted, ("game",), NEEDED, checked / FILES[0])
    predictors = predictors.assign(**{name: predictors[SUMS[name]] + predictors["joint"] for name in lacking})
    _check(gains, ("game", "improvement", "kind", "gain"), ("game", "improvement"), ("gain",), checked / FILES[1])
    for name, kind in zip(gains["improvement"], gains["kind"], strict=True):
        if name not in IMPROVEMENTS and (":" not in name or kind not in KINDS):
            raise ValueError(
                f"{checked / FILES[1]} has gains of {short(name)} ({short(kind)}), which no improvement is: {REMEDY}."
            )
    if gains.drop_duplicates(["improvement", "kind"])["improvement"].duplicated().any():
        raise ValueError(f"{checked / FILES[1]} has an improvement of two kinds: {REMEDY}.")
    contents.check("restore it")
    known = {name: improvement.kind for name, improvement in IMPROVEMENTS.items()}
    kinds = [known.get(name, kind) for name, kind in zip(gains["improvement"], gains["kind"], strict=True)]
    return predictors, gains.assign(kind=kinds)


def read_complexity(folder: Path) -> pd.DataFrame:
    """The measures of complexity that a validation's folder holds so far, one row a game.

    Raises
    ------
    ValueError
        If their table is damaged.
    """
    file, remedy = folder / COMPLEXITY_FILE, "remove it, and they are measured again"
    finish(folder)
    if not file.is_file():
        return pd.DataFrame(columns=["game", *COMPLEXITY])
    table = read_csv(file, dtype={"game": str}, remedy=remedy)
    _check(table, ("game", *COMPLEXITY), ("game",), (), file, remedy)
    return table


def _check(
    table: pd.DataFrame,
    columns: tuple[str, ...],
    keys: tuple[str, ...],
    finite: tuple[str, ...],
    file: Path,
    remedy: str = REMEDY,
) -> None:
    """Check the columns of a table, that no row is there twice, and that its numbers are finite.

    Raises
    ------
    ValueError
        If one is missing, or something else.
    """
    if missing := [name for name in columns if name not in table]:
        raise ValueError(f"{file} has no column {missing[0]!r}: {remedy}.")
    if table.empty or table.duplicated(list(keys)).any() or table[list(keys)].isna().to_numpy().any():
        raise ValueError(f"{file} must name each {' and '.join(keys)} once: {remedy}.")
    for name in set(columns) - {"game", "improvement", "kind"}:
        if not pd.api.types.is_numeric_dtype(table[name]) or pd.api.types.is_bool_dtype(table[name]):
            raise ValueError(f"{file} has values in the column {name!r} that are no numbers: {remedy}.")
        values = table[name].to_numpy(np.float64)
        if (
            np.isinf(values).any()
            or (name in finite and np.isnan(values).any())
            or np.nanmax(np.abs(values), initial=0) > 1e6
        ):
            raise ValueError(f"{file} has values in the column {name!r} that no score has: {remedy}.")
