"""Checks of the values of a table of scores; each message is one sentence that names the value and the remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lcd.io.limits import NAME_IN_FIGURES, short
from lcd.studies.audit.columns import SPLITS

REMEDY = "correct the table, or name another"

LARGEST_NUMBER = 1e15
"""Beyond any return; squares of it are still numbers."""

_TEXTS = ("method", "game", "publication", "mode")
_NUMBERS = ("score", "std", "seeds", "steps")
_KEY = ("method", "publication", "steps", "split", "game")


def check_texts(table: pd.DataFrame, file: Path) -> None:
    """Check names and splits, and add the columns publication, mode and split where they are missing.

    Raises
    ------
    ValueError
        If one is missing, unprintable or too long, or there is another split.
    """
    for column in ("publication", "mode", "split"):
        if column not in table.columns:
            table[column] = "test" if column == "split" else ""
    for column in ("publication", "mode"):
        table[column] = table[column].fillna("").str.strip()
    for column in ("method", "game", "split"):
        table[column] = table[column].str.strip()
        if (missing := table[column].isna() | (table[column] == "")).any():
            raise ValueError(f"{file} lacks a {column} in line {table['_line'][missing].iloc[0]}: {REMEDY}.")
    for column in _TEXTS:
        for value in table[column].unique():
            if value and (not value.isprintable() or NAME_IN_FIGURES.fullmatch(value) is None):
                raise ValueError(
                    f"{file} holds {short(value)} in the column {column!r}, which is no name (at most 200 printable "
                    f"signs, without $ and \\): {REMEDY}."
                )
    splits = table["split"].str.lower().map(SPLITS)
    if splits.isna().any():
        value = table["split"][splits.isna()].iloc[0]
        raise ValueError(f"{file} holds {short(value)} in the column 'split', where train or test belongs: {REMEDY}.")
    table["split"] = splits


def check_numbers(table: pd.DataFrame, file: Path) -> None:
    """Turn score, std, seeds and steps into numbers, and add them where they are missing; all have the type float.

    Raises
    ------
    ValueError
        If a value is no finite number, or is out of range.
    """
    for column in _NUMBERS:
        if column not in table.columns:
            table[column] = np.nan
            continue
        given = table[column]
        numbers = pd.to_numeric(given, errors="coerce")
        wrong = (numbers.isna() & given.notna()) | (numbers.abs() > LARGEST_NUMBER)
        if column != "score":
            wrong |= numbers < (1 if column == "seeds" else 0)
        if column == "seeds":
            wrong |= numbers.notna() & (numbers != numbers.round())
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise ValueError(
                f"{file} holds {short(given.iloc[row])} as {column} of {short(table['method'].iloc[row])} in "
                f"{short(table['game'].iloc[row])} (line {table['_line'].iloc[row]}), where a number "
                f"{'of seeds, whole and at least 1, ' if column == 'seeds' else ''}belongs: {REMEDY}."
            )
        table[column] = numbers.astype(np.float64)


def mode_of(table: pd.DataFrame, file: Path) -> str | None:
    """Return the mode of all rows, None where the table does not say.

    Raises
    ------
    ValueError
        If there are several.
    """
    modes = list(table["mode"].unique())
    if len(modes) > 1:
        named = ", ".join(mode or "none" for mode in modes)
        raise ValueError(
            f"{file} holds scores in several modes ({named}), which cannot be compared: choose one with --where "
            f"mode={next(filter(None, modes))}."
        )
    return modes[0] or None


def check_unique(table: pd.DataFrame, file: Path) -> None:
    """Check that each method has one score for each game, split, number of steps, publication and seed.

    Raises
    ------
    ValueError
        If there are two; the message names their lines.
    """
    by_seed = "seed" in table.columns
    if by_seed and table["std"].notna().any():
        raise ValueError(f"{file} has a row a seed and standard deviations, too: keep one of the columns seed and std.")
    key = [*_KEY, *["seed"] * by_seed]
    again = table.duplicated(key, keep=False)
    if again.any():
        one = table[again].iloc[0]
        other = table[(table[key].fillna("") == one[key].fillna("")).all(axis=1)].iloc[1]
        raise ValueError(
            f"{file} has two scores of {short(one['method'])} in {short(one['game'])} on {one['split']} levels (lines "
            f"{one['_line']} and {other['_line']}): remove one, or tell them apart by a column publication, steps, "
            "split or seed."
        )
