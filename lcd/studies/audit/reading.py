"""Reader of tables of scores, methods x games, in a long or a wide layout."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lcd.io.untrusted import parse_csv, read_bytes
from lcd.measurement.method_scores import MethodScores, with_pooled_errors
from lcd.studies.audit.checking import REMEDY, check_numbers, check_texts, check_unique, mode_of
from lcd.studies.audit.columns import ALIASES, SCORE_COLUMNS, SPLITS

LARGEST_TABLE, MOST_VALUES = 64 * 2**20, 5_000_000
"""Largest numbers of bytes and of values of a table of scores."""

MOST_ENTRIES, MOST_GAMES = 300, 200
"""Largest numbers of entries (methods at some steps in some publication) and of games."""

SAME_STEPS = 1.05
"""Ratio of two numbers of steps up to which they count as equal."""

SUMMARIES = ("average", "avg", "mean", "median", "iqm", "total", "sum", "overall", "aggregate", "all")
"""Names of columns of wide tables that are of no game."""

_SUFFIX = re.compile(rf"(.+?)(?:[ _:./-]|\s\()({'|'.join(SPLITS)})\)?", re.IGNORECASE)
"""A game's name with its split, as columns of wide tables have: ``maze_train``, ``maze (test)``."""


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores of a table, as they were read.

    Attributes
    ----------
    entries : pandas.DataFrame
        One row an entry, a method at some steps in some publication: entry (its name), method, publication (empty if
        unknown) and steps (NaN if unknown).
    rows : pandas.DataFrame
        One row a (entry, split, game): mean, seeds, squared_error and freedom, the last three NaN where unknown.
    mode : str, optional
        Difficulty of the games.
    """

    entries: pd.DataFrame
    rows: pd.DataFrame
    mode: str | None

    @property
    def splits(self) -> list[str]:
        """The splits, the one that most entries have first; of equal ones test."""
        counts = self.rows.groupby("split")["entry"].nunique()
        return sorted(counts.index, key=lambda split: (-counts[split], split != "test"))

    def scores(self, split: str) -> MethodScores:
        """Scores on a split; means of a single seed have the error of the game's pooled variance over seeds."""
        rows = self.rows[self.rows["split"] == split]
        entries = [entry for entry in self.entries["entry"] if entry in set(rows["entry"])]
        games = list(dict.fromkeys(self.rows["game"]))

        def array(column: str) -> Any:
            wide = rows.pivot_table(index="entry", columns="game", values=column, dropna=False)
            return wide.reindex(index=entries, columns=games).to_numpy(np.float64)

        found = MethodScores(tuple(entries), tuple(games), array("mean"), array("squared_error"), array("freedom"))
        return with_pooled_errors(found, array("seeds"))


def read_scores(file: Path, *, where: Sequence[str] = (), seeds: int | None = None) -> ScoreTable:
    """Read a table of scores.

    A long table has a row a score and the columns method, game and score; columns train and test may stand for score.
    A wide one has a row a method, the column method, and a column a game; its other columns have the names of
    `lcd.studies.audit.columns.SCORE_COLUMNS`, and names of games may end in their split, as in ``maze_train``.

    Parameters
    ----------
    file
        A CSV file in UTF-8 with a header line.
    where
        ``COLUMN=VALUE``: only rows with this value; several of one column allow several values. ``COLUMN!=VALUE``: no
        rows with it.
    seeds
        Number of seeds behind each mean, where the table does not say.

    Raises
    ------
    ValueError
        If it is no such table; the message names the line or the value, and the remedy.
    """
    content = read_bytes(file, LARGEST_TABLE, remedy=REMEDY)
    if content.count(b",") > MOST_VALUES:
        raise ValueError(f"{file} has more than {MOST_VALUES:,} values, where an audit takes fewer: {REMEDY}.")
    header = _header(content, file)
    table = parse_csv(content, str(file), dtype=str, remedy=REMEDY, as_written=True)
    if len(table.columns) != len(header) or table.empty:
        raise ValueError(f"{file} has no rows below its first line, which names the columns: {REMEDY}.")
    table.columns = pd.Index(header)
    table["_line"] = np.arange(len(table)) + 2
    table = table.dropna(how="all", subset=header).reset_index(drop=True)
    _check_columns(table, file)
    table = _chosen(table, where, file)
    table = _long(table, file)
    check_texts(table, file)
    check_numbers(table, file)
    mode = mode_of(table, file)
    table = table[table["score"].notna()].reset_index(drop=True)
    if table.empty:
        raise ValueError(f"{file} holds no score: {REMEDY}.")
    check_unique(table, file)
    return _aggregated(table, mode, seeds, file)


def _header(content: bytes, file: Path) -> list[str]:
    """Names of the columns by which this module knows them."""
    first = content.split(b"\n", 1)[0].decode("utf-8-sig", errors="replace").strip("\r")
    try:
        names = [name.strip() for name in next(csv.reader([first]), [])]
    except csv.Error as error:
        raise ValueError(f"{file} has a first line that cannot be read ({error}): {REMEDY}.") from None
    known = [_known_name(name) for name in names]
    if twice := [name for name in dict.fromkeys(known) if known.count(name) > 1]:
        aliases = [name for name in names if _known_name(name) == twice[0]]
        raise ValueError(f"{file} has several columns for {twice[0]!r} ({', '.join(aliases or twice)}): keep one.")
    if "" in known:
        raise ValueError(f"{file} has a column without a name in its first line: {REMEDY}.")
    return known


def _known_name(name: str) -> str:
    """The name by which this module knows a column; columns of games keep theirs."""
    plain = ALIASES.get(name.lower(), name.lower())
    return plain if plain in SCORE_COLUMNS else name


def _check_columns(table: pd.DataFrame, file: Path) -> None:
    names = [name for name in table.columns if name != "_line"]
    if "method" not in names:
        raise ValueError(
            f"{file} has no column 'method': its columns are {', '.join(names)[:200]}; a table of scores has method, "
            "game and score, or method and a column a game."
        )
    if "game" not in names:
        return
    splits = [name for name in names if name.lower() in SPLITS]
    if "score" not in names and not splits:
        raise ValueError(f"{file} has no column 'score' (or mean, or return): {REMEDY}.")
    if "score" in names and splits:
        raise ValueError(f"{file} has both 'score' and {splits[0]!r}: keep the score, with a column split.")
    if unknown := [name for name in names if name not in SCORE_COLUMNS and name not in splits]:
        raise ValueError(
            f"{file} has a column {unknown[0]!r}, which a table of scores does not have: rename or remove it; known "
            f"are {', '.join(SCORE_COLUMNS)}."
        )


def _chosen(table: pd.DataFrame, where: Sequence[str], file: Path) -> pd.DataFrame:
    """The rows that have one of the values asked for in each column, and none of those excluded."""
    wanted: dict[str, list[str]] = {}
    unwanted: list[tuple[str, str]] = []
    for condition in where:
        column, sign, value = condition.partition("=")
        excludes = column.endswith("!")
        column = _known_name(column.removesuffix("!").strip())
        if not sign or column not in table.columns or column == "_line":
            columns = ", ".join(name for name in table.columns if name in SCORE_COLUMNS)
            raise ValueError(
                f"--where {condition} must be COLUMN=VALUE, or with !=, and one of the columns {columns} of {file}."
            )
        if excludes:
            unwanted.append((column, value.strip()))
        else:
            wanted.setdefault(column, []).append(value.strip())
    for column, values in wanted.items():
        found = table[column].str.strip().isin(values)
        if not found.any():
            there = ", ".join(map(str, table[column].dropna().unique()[:8]))
            raise ValueError(f"No row of {file} has {column} = {' or '.join(values)}: there are {there}.")
        table = table[found]
    for column, value in unwanted:
        table = table[table[column].str.strip() != value]
    if table.empty:
        raise ValueError(f"No row of {file} is left by --where {' --where '.join(where)}: leave one out.")
    return table.reset_index(drop=True)


def _long(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The table with one row a score, whatever its layout."""
    wide = "game" not in table.columns
    if wide:
        values = [name for name in table.columns if name not in SCORE_COLUMNS and name != "_line"]
        if "score" in table.columns or "std" in table.columns:
            raise ValueError(
                f"{file} has no column 'game', though it has scores or deviations in columns: add it, or remove those "
                "columns if each game has its own."
            )
        if summaries := [name for name in values if name.lower() in SUMMARIES]:
            raise ValueError(
                f"{file} has a column {summaries[0]!r} beside those of games, which looks like a summary of them: "
                "remove it, or rename it if it is a game."
            )
        if not values:
            raise ValueError(f"{file} has no column of a game: {REMEDY}.")
    else:
        values = [name for name in table.columns if name.lower() in SPLITS]
        if not values:
            return table
        if "std" in table.columns:
            raise ValueError(f"{file} has train and test columns with one 'std': give a row a split instead.")
    rest = [name for name in table.columns if name not in values]
    long = table.melt(rest, values, var_name="_column", value_name="score")
    if not wide:
        if "split" in long.columns:
            raise ValueError(f"{file} has a column 'split' besides train and test: keep one of the two.")
        return long.assign(split=long["_column"]).drop(columns="_column")
    ends = {name: _SUFFIX.fullmatch(name) for name in values}
    if any(ends.values()):
        if "split" in long.columns:
            raise ValueError(f"{file} has a column 'split' besides games named after their split: keep one of the two.")
        if alone := [name for name, end in ends.items() if end is None]:
            raise ValueError(f"{file} names the split of some games, but not of {alone[0]!r}: name it for all of them.")
        long["split"] = long["_column"].map({name: end[2] for name, end in ends.items() if end})
        names = {name: end[1] for name, end in ends.items() if end}
    else:
        names = {name: name for name in values}
    return long.assign(game=long["_column"].map(names)).drop(columns="_column")


def _aggregated(table: pd.DataFrame, mode: str | None, seeds: int | None, file: Path) -> ScoreTable:
    table = table.assign(entry=_entry_names(table))
    if "seed" in table.columns:
        groups = table.groupby(["entry", "split", "game"], sort=False)["score"]
        rows = groups.agg(mean="mean", std="std", seeds="count").reset_index()
    else:
        columns = ["entry", "split", "game", "score", "std", "seeds"]
        rows = table[columns].rename(columns={"score": "mean"})
        rows["seeds"] = rows["seeds"].fillna(np.nan if seeds is None else seeds)
    several = (rows["seeds"] > 1) & rows["std"].notna()
    rows["squared_error"] = np.where(several, rows["std"] ** 2 / rows["seeds"], np.nan)
    rows["freedom"] = np.where(several, rows["seeds"] - 1, np.nan)
    entries = table.drop_duplicates("entry")[["entry", "method", "publication", "steps"]].reset_index(drop=True)
    games = rows.groupby("entry")["game"].nunique()
    if (few := games[games < 2]).size:
        methods = entries[entries["entry"].isin(few.index)]["method"].unique()
        leaving = " ".join(shlex.join(["--where", f"method!={method}"]) for method in methods[:10])
        raise ValueError(
            f"{few.index[0]} has scores in one game only, which cannot be compared over games, in {file}: remove such "
            f"rows, or leave them out with {leaving}."
        )
    if len(entries) < 2 or rows["game"].nunique() < 2:
        raise ValueError(
            f"{file} has {len(entries)} methods and {rows['game'].nunique()} games, where an audit needs two of each: "
            "give a larger table."
        )
    if len(entries) > MOST_ENTRIES or rows["game"].nunique() > MOST_GAMES:
        raise ValueError(
            f"{file} has {len(entries):,} methods and {rows['game'].nunique():,} games, where an audit takes at most "
            f"{MOST_ENTRIES} and {MOST_GAMES}: choose rows with --where."
        )
    return ScoreTable(entries, rows.drop(columns="std").reset_index(drop=True), mode)


def _entry_names(table: pd.DataFrame) -> pd.Series[str]:
    """Name of each row's entry: the method, with its steps and its publication where it has several."""
    groups = table.groupby("method")
    several_steps = groups["steps"].transform(lambda steps: steps.nunique(dropna=False)) > 1
    several_publications = groups["publication"].transform("nunique") > 1
    steps = table["steps"].map(lambda number: ", steps unknown" if number != number else f", {_steps_text(number)}")
    publications = table["publication"].map(lambda name: f" [{name or 'publication unknown'}]")
    return table["method"] + steps.where(several_steps, "") + publications.where(several_publications, "")


def _steps_text(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.6g}{unit}"
    return f"{number:.6g}"


def same_steps(one: float, other: float) -> bool:
    """Whether two numbers of steps are equal, up to `SAME_STEPS`, or one of them is unknown."""
    if np.isnan(one) or np.isnan(other) or one == other:
        return True
    return max(one, other) <= SAME_STEPS * min(one, other)
