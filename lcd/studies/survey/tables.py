"""Tidy tables of a survey: verdicts, scores, curves and demands of all games, one row an observation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from lcd.envs.views import VIEWS
from lcd.experiments.learners import LEARNERS
from lcd.experiments.plan import Plan
from lcd.io.checksums import SUMS, Contents, finish, write_together
from lcd.io.files import check_output_folder, is_partial, locked
from lcd.io.limits import short
from lcd.io.untrusted import parse_csv, parse_json
from lcd.measurement.scores import LEVELS
from lcd.studies.diagnosis import FORMAT, Diagnosis

TABLES = ("games", "scores", "curves", "demands")
FILES = {f"{name}.csv": name for name in TABLES}
"""Names of the tables by their files."""

COLUMNS = {
    "games": {
        "game": "name of the game",
        "budget": "environment steps each cell was trained for",
        "seeds": "number of seeds a cell",
        "preset": "name of the preset, see lcd.experiments.presets; empty if unknown",
        "mode": "Procgen's distribution mode, easy or hard",
        "appearance": "appearance of the frames, see lcd.envs.procgen.options.APPEARANCES; empty for the original",
        "training_levels": "number of levels that the learners train on",
        "encoder": "the learners' encoder",
        "random": "return that counts as 0",
        "best": "return that counts as 1",
        "teacher": "where the teacher comes from: reference, trained, or a path; empty if unknown",
        "teacher_checksum": "SHA-256 of its file; empty for a teacher trained by the plan",
        "teacher_training": "the teacher's mean return on training levels, in game points",
        "teacher_unseen": "the same on unseen levels",
        "core_hours": "cost of its runs, wall-clock time times threads; empty if unknown",
        "verdict": "what limits the learner, see lcd.measurement.rule",
        "reason": "the numbers that the verdict rests on, in a sentence",
        "would_decide": "what would decide an inconclusive one, in sentences",
        "cautions": "what the verdict does not cover, in sentences",
    },
    "scores": {
        "game": "name of the game",
        "view": "pixels or semantic",
        "learning": "rl or imitation",
        "seed": "seed of the run",
        "levels": "unseen or training",
        "area": "area under the normalised curve over the steps, divided by the budget",
        "log_area": "the same over the logarithm of the steps",
        "final": "normalised score at the end",
        "area_error": "standard error of area over episodes; likewise log_area_error and final_error",
        "log_area_error": "see area_error",
        "final_error": "see area_error",
    },
    "curves": {
        "game": "name of the game",
        "view": "pixels or semantic",
        "learning": "rl or imitation",
        "seed": "seed of the run",
        "levels": "unseen or training",
        "step": "environment steps trained so far",
        "return": "mean return of the evaluated episodes, in game points",
        "score": "the same, normalised: 0 is random, 1 is best",
        "score_error": "its standard error over episodes",
        "episodes": "number of episodes",
    },
    "demands": {
        "game": "name of the game",
        "quantity": "perceptual, policy, joint, gap, headroom, perceptual_gain, policy_gain: see docs/method.md",
        "levels": "unseen or training",
        "score": "area, log_area or final",
        "estimate": "in units of the normalised score",
        "low": "lower 95 % limit",
        "high": "upper 95 % limit",
        "over": "source of the variance: seeds, episodes or nothing",
    },
}
"""Meaning of the columns of each table."""

_CELL = frozenset({"game", "view", "learning", "levels"})

TEXTS = {
    "games": _CELL
    | {"preset", "mode", "appearance", "encoder", "teacher", "teacher_checksum"}
    | {"verdict", "reason", "would_decide", "cautions"},
    "scores": _CELL,
    "curves": _CELL,
    "demands": _CELL | {"quantity", "score", "over"},
}
"""Columns of each table that hold texts; all others hold numbers."""

KEYS = {
    "games": ["game"],
    "scores": ["game", "view", "learning", "seed", "levels"],
    "curves": ["game", "view", "learning", "seed", "levels", "step"],
    "demands": ["game", "quantity", "levels", "score"],
}
"""Columns of each table that identify a row."""

LARGEST_NUMBER = 1e15
"""Beyond any budget, return or score; squares of it are still numbers."""

LONGEST_TEXT = 10_000
"""Limit of the characters of a text; the longest are what would decide a verdict."""

MOST_GAMES = 500
"""Limit of the games of a survey, as the time of a taxonomy grows with the square of their number."""

CHOICES = {"view": tuple(VIEWS), "learning": tuple(LEARNERS), "levels": LEVELS}
"""Allowed values in columns of `scores` and `curves`."""

NEEDED = {
    "games": ["game", "budget", "random", "best", "verdict", "reason"],
    "scores": ["area", "log_area", "final"],
    "curves": ["return", "score"],
    "demands": ["estimate"],
}
"""Columns of each table, besides its keys, in which no value may be missing or infinite."""

ALIKE = ("budget", "mode", "appearance", "training_levels", "encoder")
"""Columns of `games` in which all games of a survey must agree: else learners differ, not only games."""


def check_alike(games: pd.DataFrame) -> None:
    """Check that games were measured with the same settings, the columns in `ALIKE`.

    Raises
    ------
    ValueError
        If some were not; the message names two of them.
    """
    for name in ALIKE:
        values = games[name].astype(object).where(games[name].notna(), "").to_numpy()
        names = games["game"].to_numpy()
        if len(set(values)) > 1:
            other = next(place for place, value in enumerate(values) if value != values[0])
            raise ValueError(
                f"{names[0]} was measured with {name} = {values[0] or 'none'}, {names[other]} with "
                f"{values[other] or 'none'}: games that were not measured alike cannot be compared, keep them in "
                "folders of their own."
            )


@dataclass(frozen=True, eq=False)
class SurveyTables:
    """Diagnoses of several games, as tables; `COLUMNS` says what their columns mean.

    Attributes
    ----------
    games
        One row a game.
    scores
        One row a (game, view, learning, seed, levels).
    curves
        One row an evaluation.
    demands
        One row a (game, quantity, levels, score).
    """

    games: pd.DataFrame
    scores: pd.DataFrame
    curves: pd.DataFrame
    demands: pd.DataFrame

    def __post_init__(self) -> None:
        check_alike(self.games)

    @classmethod
    def of(cls, diagnoses: Iterable[Diagnosis]) -> SurveyTables:
        """Build the tables from diagnoses of different games."""
        return cls._together([_rows(diagnosis.to_json()) for diagnosis in diagnoses])

    @classmethod
    def read(cls, folder: Path | str) -> SurveyTables:
        """Read a folder: the four tables, or diagnoses in folders of their own.

        Parameters
        ----------
        folder
            The folder, or the name of a survey that comes with the package, such as ``"procgen-easy"``.

        Raises
        ------
        ValueError
            If there are no diagnoses, one is damaged, or a game is there twice.
        """
        if str(folder) in reference_surveys() and not Path(folder).exists():
            return load_reference(str(folder))
        folder = Path(folder)
        finish(folder)
        if all((folder / file).is_file() for file in FILES):
            contents = _contents(folder, FILES)
            tables = cls(
                **{name: _read_table(folder / file, contents.files[file], name) for file, name in FILES.items()}
            )
            tables._check_whole(folder)
            contents.check("restore it")
            return tables
        files = sorted(folder.glob("diagnosis.json")) or sorted(folder.glob("*/diagnosis.json"))
        if not files:
            why = "" if folder.exists() else ", for it does not exist"
            raise ValueError(
                f"{folder} holds no diagnoses{why}: give a folder that lcd survey wrote, or one of folders by lcd "
                "diagnose."
            )
        return cls._together([_read(file) for file in files])

    @classmethod
    def _together(cls, diagnoses: list[_Rows]) -> SurveyTables:
        names = [rows.game["game"] for rows in diagnoses]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"There are several diagnoses of {twice[0]}: keep one of them in the folder.")
        games = pd.DataFrame([rows.game for rows in diagnoses])[list(COLUMNS["games"])]
        others = {
            name: pd.concat([getattr(rows, name) for rows in diagnoses], ignore_index=True) for name in TABLES[1:]
        }
        return cls(games, **others)

    def _check_whole(self, folder: Path) -> None:
        """Check that every run has a score and a curve up to the budget, and every game all demands.

        Raises
        ------
        ValueError
            If one is cut short.
        """
        budgets = self.games.set_index("game")["budget"]
        ends = self.curves[self.curves["step"] == self.curves["game"].map(budgets)]
        tables = {"scores": self.scores, "curves": ends, "demands": self.demands}
        if alone := sorted(set().union(*(table["game"] for table in tables.values())) - set(budgets.index)):
            raise ValueError(f"{folder / 'games.csv'} lacks {alone[0]}, which other tables have: restore it.")
        counts = {name: table.groupby("game").size() for name, table in tables.items()}
        for game in budgets.index:
            found = {name: int(count.get(game, 0)) for name, count in counts.items()}
            runs = max(found["scores"], found["curves"])
            for name, wanted in (("scores", runs), ("curves", runs), ("demands", int(counts["demands"].max()))):
                if found[name] != wanted:
                    raise ValueError(
                        f"{folder / f'{name}.csv'} has {found[name]} rows of {game} instead of {wanted}: restore it."
                    )

    def updated(self, newer: SurveyTables) -> SurveyTables:
        """Return these tables with the games of `newer` added or replaced."""

        def update(name: str) -> pd.DataFrame:
            mine, theirs = getattr(self, name), getattr(newer, name)
            kept = mine[~mine["game"].isin(newer.games["game"])]
            return pd.concat([kept, theirs]).sort_values("game", kind="stable", ignore_index=True)

        return SurveyTables(**{name: update(name) for name in TABLES})

    @classmethod
    def kept(cls, folder: Path) -> SurveyTables | None:
        """Read the tables of a folder, None if it is empty or missing.

        Raises
        ------
        ValueError
            If it holds something else.
        """
        if not folder.exists():
            return None
        finish(folder)
        found = {file.name for file in folder.iterdir() if not is_partial(file)} if folder.is_dir() else {folder.name}
        if not found:
            return None
        if found - {SUMS} != FILES.keys():
            raise ValueError(f"{folder} is no folder of a survey's tables: choose a new one or an empty one.")
        return cls.read(folder)

    @classmethod
    def check_room(cls, folder: Path, plan: Plan) -> None:
        """Check before training that each game of a plan can be added to a folder's tables.

        Raises
        ------
        ValueError
            If the folder holds something else, or games that are not measured alike, or nothing can be written to it.
        """
        kept = cls.kept(folder)
        check_output_folder(folder, "--tables")
        if kept is None:
            return
        games = kept.games[["game", *ALIKE]].astype(object)
        for game in plan.as_dict()["games"]:
            planned = pd.DataFrame([{"game": game["game"], "budget": game["budget"]} | _measured(game)], dtype=object)
            check_alike(pd.concat([games[games["game"] != game["game"]], planned]))

    def enter(self, folder: Path) -> None:
        """Add these games to the tables of a folder, replacing their earlier rows.

        Several processes may enter games into the same tables; they wait for one another.

        Raises
        ------
        ValueError
            If the folder holds something else, or games that were not measured alike.
        """
        with locked(folder):
            kept = self.kept(folder)
            (kept.updated(self) if kept else self).write(folder)

    def write(self, folder: Path) -> None:
        """Write the tables as CSV atomically, with their checksums."""
        rounded = {file: getattr(self, name).round(6) for file, name in FILES.items()}
        write_together(folder, {file: partial(table.to_csv, index=False) for file, table in rounded.items()})


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of one diagnosis for each table."""

    game: dict[str, Any]
    scores: pd.DataFrame
    curves: pd.DataFrame
    demands: pd.DataFrame


def _rows(record: dict[str, Any]) -> _Rows:
    tables = {name: pd.DataFrame(record[name]) for name in TABLES[1:]}
    tables["demands"] = tables["demands"].assign(game=record["game"])
    return _Rows(_game_row(record), **{name: table[list(COLUMNS[name])] for name, table in tables.items()})


def _contents(folder: Path, names: Iterable[str]) -> Contents:
    try:
        return Contents.read(folder, names)
    except OSError as error:
        raise ValueError(f"{folder} cannot be read ({error}): restore it.") from None


def _read_table(file: Path, content: bytes, name: str) -> pd.DataFrame:
    table = parse_csv(content, str(file), dtype=dict.fromkeys(TEXTS[name], str), remedy="restore it")
    if missing := [column for column in COLUMNS[name] if column not in table]:
        raise ValueError(
            f"{file} has no column {missing[0]!r}, as those of another version: enter its games into a new folder with "
            "lcd survey --tables."
        )
    return _checked(table, name, file)


def _checked(table: pd.DataFrame, name: str, file: Path) -> pd.DataFrame:
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
    for column in CHOICES if name in ("scores", "curves") else ():
        if unknown := sorted(set(table[column]) - set(CHOICES[column])):
            raise ValueError(
                f"{file} holds {unknown[0]!r} in the column {column!r}, where there is only "
                f"{' or '.join(CHOICES[column])}: restore it."
            )
    if (twice := table.duplicated(KEYS[name])).any():
        row = table[twice].iloc[0]
        raise ValueError(f"{file} has two rows of {', '.join(str(row[key]) for key in KEYS[name])}: remove one.")


def _read(file: Path) -> _Rows:
    contents = _contents(file.parent, [file.name])
    text = contents.files[file.name].decode("utf-8", errors="replace")
    record: Any = parse_json(text, str(file), remedy="make the diagnosis again")
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{file} is no diagnosis of this version ({FORMAT}): make it again.")
    try:
        rows = _rows(record)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, AssertionError) as error:
        raise ValueError(f"{file} is damaged ({short(error)}): make the diagnosis again.") from None
    for name in TABLES:
        table = pd.DataFrame([rows.game])[list(COLUMNS["games"])] if name == "games" else getattr(rows, name)
        _checked(table, name, file)
    contents.check("make the diagnosis again")
    return rows


def _measured(plan: dict[str, Any]) -> dict[str, Any]:
    """Settings of a game's measurement, besides its budget, from its plan."""
    run: dict[str, Any] = next((run for run in plan.get("runs", []) if run["view"] == "pixels"), {})
    return {
        "mode": run.get("distribution_mode"),
        "appearance": " ".join(run.get("appearance", ())) or None,
        "training_levels": run.get("num_levels"),
        "encoder": run.get("encoder"),
    }


def _game_row(record: dict[str, Any]) -> dict[str, Any]:
    teacher = record["teacher"] or {}
    (plan,) = record["settings"].get("plan", {}).get("games", [{}])
    return {
        "game": record["game"],
        "budget": record["budget"],
        "seeds": len(record["seeds"]),
        "preset": record["settings"].get("preset"),
        **_measured(plan),
        "random": record["normalisation"]["random"],
        "best": record["normalisation"]["best"],
        "teacher": teacher.get("source"),
        "teacher_checksum": plan.get("teacher"),
        "teacher_training": teacher.get("training_return"),
        "teacher_unseen": teacher.get("unseen_return"),
        "core_hours": record["settings"].get("core_hours", float("nan")),
        "verdict": record["verdict"]["name"],
        "reason": record["verdict"]["reason"],
        "would_decide": " ".join(record["verdict"]["would_decide"]) or None,
        "cautions": " ".join(record["verdict"]["cautions"]) or None,
    }


def reference_surveys() -> list[str]:
    """Names of the surveys whose tables come with the package."""
    folder = resources.files("lcd.studies.survey") / "reference"
    return sorted(item.name for item in folder.iterdir()) if folder.is_dir() else []


def load_reference(name: str) -> SurveyTables:
    """The tables of a survey that come with the package, such as ``"procgen-easy"``.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name not in reference_surveys():
        known = ", ".join(reference_surveys()) or "none yet"
        raise ValueError(f"No survey {name!r} comes with this package: there is {known}.")
    with resources.as_file(resources.files("lcd.studies.survey") / "reference" / name) as folder:
        return SurveyTables.read(folder)
