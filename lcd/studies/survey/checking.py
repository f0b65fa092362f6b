"""Reading one table of a survey, and the check of every value in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from lcd.io.limits import NAME_IN_FIGURES, short
from lcd.io.untrusted import parse_csv
from lcd.measurement.scores import Normalisation
from lcd.studies.survey.columns import ALIKE, CHOICES, COLUMNS, KEYS, KNOWN_OF_SOME, LATER, LEAST, NEEDED, TEXTS, WHOLE

LARGEST_NUMBER = 1e15
"""Beyond any budget, return or score; squares of it are still numbers."""

LONGEST_TEXT = 10_000
"""Limit of the characters of a text; the longest are what would decide a verdict."""

MOST_GAMES = 500
"""Limit of the games of a survey, as the time of a taxonomy grows with the square of their number."""


def check_alike(games: pd.DataFrame, versions: Mapping[str, Any]) -> None:
    """Check that games were measured with the same settings, the columns in `ALIKE`, and the same training code.

    Parameters
    ----------
    games
        The games, a row each.
    versions
        The version of the training code, by game, where it is known.

    Raises
    ------
    ValueError
        If some were not; the message names two of them.
    """
    games = games.assign(training_version=games["game"].map(versions).astype("Int64"))
    for name in (*ALIKE, "training_version"):
        known = games[games[name].notna()] if name in KNOWN_OF_SOME else games
        values = known[name].astype(object).where(known[name].notna(), "").to_numpy()
        names = known["game"].to_numpy()
        if len(set(values)) > 1:
            other = next(place for place, value in enumerate(values) if value != values[0])
            raise ValueError(
                f"{names[0]} was measured with {name} = {values[0] or 'none'}, {names[other]} with "
                f"{values[other] or 'none'}: games that were not measured alike cannot be compared, keep them in "
                "folders of their own."
            )


def read_table(file: Path, content: bytes, name: str) -> pd.DataFrame:
    """Read and check a table.

    Parameters
    ----------
    file
        Its file, for messages.
    content
        What is in the file.
    name
        One of `lcd.studies.survey.columns.TABLES`.

    Raises
    ------
    ValueError
        If it lacks a column, or holds a value that such a table does not.
    """
    table = parse_csv(content, str(file), dtype=dict.fromkeys(TEXTS[name], str), remedy="restore it")
    for column in set(LATER.get(name, ())) - set(table):
        table[column] = pd.Series(pd.NA, table.index, dtype="string" if column in TEXTS[name] else float).astype(object)
    if missing := [column for column in COLUMNS[name] if column not in table]:
        raise ValueError(
            f"{file} has no column {missing[0]!r}, as those of another version: enter its games into a new folder with "
            "lcd survey --tables."
        )
    return check_table(table, name, file)


def check_table(table: pd.DataFrame, name: str, file: Path) -> pd.DataFrame:
    """Check type and size of every value of a table.

    Raises
    ------
    ValueError
        If one is none that such a table holds.
    """
    for column in COLUMNS[name]:
        if column not in TEXTS[name]:
            if table[column].isna().all():  # JSON's nulls
                table[column] = table[column].astype(np.float64)
            if not is_numeric_dtype(table[column]) or table[column].dtype.kind not in "iuf":
                raise ValueError(f"{file} holds something else than numbers in the column {column!r}: restore it.")
        else:
            _check_texts(table[column], column, file)
    if len(table) and table["game"].nunique() > MOST_GAMES:
        raise ValueError(f"{file} has more than {MOST_GAMES} games: keep fewer of them together.")
    _check_values(table, name, file)
    for column in set(COLUMNS[name]) - TEXTS[name]:
        sizes = table[column].abs().to_numpy(np.float64)
        if (sizes > LARGEST_NUMBER).any() and not (
            name == "demands" and np.isinf(sizes).any()
        ):  # limits may be infinite
            raise ValueError(f"{file} holds a number beyond {LARGEST_NUMBER:g} in the column {column!r}: restore it.")
    return table


def _check_texts(values: pd.Series[Any], column: str, file: Path) -> None:
    for value in values.dropna():
        if not isinstance(value, str) or len(value) > LONGEST_TEXT or not value.isprintable():
            raise ValueError(
                f"{file} holds {short(value)} in the column {column!r}, where a text of at most {LONGEST_TEXT:,} "
                "characters belongs: restore it."
            )


def _check_values(table: pd.DataFrame, name: str, file: Path) -> None:
    for column in [*KEYS[name], *NEEDED[name]]:
        values = table[column]
        missing = values.isna().to_numpy() if column in TEXTS[name] else ~np.isfinite(values.to_numpy(np.float64))
        if missing.any():
            row = missing.argmax() + 2  # the first line holds the names
            raise ValueError(f"{file} lacks a value of {column!r} in line {row}: restore it.")
    for column, allowed in CHOICES.get(name, {}).items():
        if unknown := sorted(set(table[column]) - set(allowed)):
            raise ValueError(
                f"{file} holds {short(unknown[0])} in the column {column!r}, where there is only "
                f"{' or '.join(allowed)}: restore it."
            )
    for column in WHOLE.get(name, ()):
        numbers = table[column].to_numpy(np.float64)
        if (numbers != np.round(numbers)).any():
            raise ValueError(f"{file} holds a number with a fraction in the column {column!r}: restore it.")
    for column, least in LEAST.get(name, {}).items():
        if (table[column].to_numpy(np.float64) < least).any():
            raise ValueError(f"{file} holds a number below {least} in the column {column!r}: restore it.")
    if odd := [game for game in table["game"].unique() if NAME_IN_FIGURES.fullmatch(game) is None]:
        raise ValueError(f"{file} holds {short(odd[0])} in the column 'game', which is no name of a game: restore it.")
    if name == "games":
        for row in table[["random", "best"]].to_dict("records"):
            try:
                Normalisation(row["random"], row["best"], source="given")
            except ValueError as error:
                raise ValueError(f"{file} holds constants that cannot be: {error}; restore it.") from None
    if (twice := table.duplicated(KEYS[name])).any():
        row = table[twice].iloc[0]
        raise ValueError(f"{file} has two rows of {', '.join(str(row[key]) for key in KEYS[name])}: remove one.")
