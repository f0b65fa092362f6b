"""Rows of one diagnosis for each table of a survey."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lcd.experiments.settings import Hyperparameters
from lcd.io.checksums import Contents
from lcd.io.limits import short
from lcd.io.untrusted import read_json
from lcd.studies.reading import DAMAGE, REMEDY, record_of
from lcd.studies.survey.checking import check_table
from lcd.studies.survey.columns import ALIKE, COLUMNS, KEYS, KNOWN_OF_SOME, TABLES

PLAIN = "ppo"
"""The learner from reward without an improvement."""


class NoOwnView(ValueError):
    """A game whose privileged view is an expert's encoder has no place beside others.

    Parameters
    ----------
    game
        Its name.
    """

    def __init__(self, game: str) -> None:
        super().__init__(
            f"{short(game)} has no privileged view of its own, so that an expert's encoder takes its place: its "
            "demands cannot be compared with those by a game's own view. Diagnose it alone, or give it a label map."
        )


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one diagnosis for each table."""

    game: dict[str, Any]
    scores: pd.DataFrame
    curves: pd.DataFrame
    demands: pd.DataFrame
    runs: pd.DataFrame


def rows_of(record: dict[str, Any]) -> Rows:
    """Build the rows from a diagnosis as data of JSON, see `lcd.studies.diagnosis.Diagnosis.to_json`.

    Raises
    ------
    NoOwnView
        If an expert's encoder is its privileged view.
    """
    if "privileged_view" in (record.get("settings") or {}):
        raise NoOwnView(record["game"])
    tables = {name: pd.DataFrame(record[name]) for name in ("scores", "curves", "demands")}
    tables["demands"] = tables["demands"].assign(game=record["game"])
    runs = record["settings"].get("runs", [])  # the first diagnoses do not tell them
    tables["runs"] = pd.DataFrame(runs, columns=list(COLUMNS["runs"])).assign(game=record["game"])
    return Rows(game_row(record), **{name: table[list(COLUMNS[name])] for name, table in tables.items()})


def stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Tables below one another, without empty ones, which would change the others' types."""
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def contents_of(folder: Path, names: Iterable[str]) -> Contents:
    """Read some files of a folder with their checksums.

    Raises
    ------
    ValueError
        If one cannot be read.
    """
    try:
        return Contents.read(folder, names)
    except OSError as error:
        raise ValueError(f"{folder} cannot be read ({error}): restore it.") from None


def read_rows(file: Path) -> Rows:
    """Read and check a diagnosis from its file.

    Raises
    ------
    ValueError
        If it is damaged, or of another version.
    """
    contents = contents_of(file.parent, [file.name])
    record = record_of(contents.files[file.name], file)
    try:
        rows = rows_of(record)
    except NoOwnView:
        raise
    except DAMAGE as error:
        raise ValueError(f"{file} is damaged ({short(error)}): {REMEDY}.") from None
    for name in TABLES:
        table = pd.DataFrame([rows.game])[list(COLUMNS["games"])] if name == "games" else getattr(rows, name)
        check_table(table, name, file)
    _check_complete(rows, record["seeds"], file)
    contents.check(REMEDY)
    return rows


def _check_complete(rows: Rows, seeds: list[int], file: Path) -> None:
    """Check that all tables are of the diagnosis's game, and have its seeds and each run up to the budget.

    Raises
    ------
    ValueError
        If they are not.
    """
    game, budget = rows.game["game"], rows.game["budget"]
    for name in ("scores", "curves", "runs"):
        if others := sorted(set(getattr(rows, name)["game"]) - {game}):
            raise ValueError(f"{file} is of {game}, and its {name} of {short(others[0])}: {REMEDY}.")
    if set(rows.scores["seed"]) != set(seeds):
        raise ValueError(f"{file} names the seeds {short(seeds)}, and its scores have others: {REMEDY}.")
    ends = rows.curves[rows.curves["step"] == budget]
    key = KEYS["scores"]
    if set(rows.scores[key].itertuples(index=False)) != set(ends[key].itertuples(index=False)):
        raise ValueError(f"{file} has not each run's curve up to {budget:,} steps and its scores: {REMEDY}.")


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """In which of `ALIKE` two measurements differ, as far as both are known, with both values."""
    pairs = {name: (one.get(name), other.get(name)) for name in ALIKE}
    known = {name: pair for name, pair in pairs.items() if name not in KNOWN_OF_SOME or None not in pair}
    return {name: pair for name, pair in known.items() if pair[0] != pair[1]}


def measured_settings(plan: dict[str, Any]) -> dict[str, Any]:
    """How a game was measured, from its plan: the settings that must be alike where games are put together."""
    runs = [run for run in plan.get("runs", []) if run["view"] == "pixels"]
    run: dict[str, Any] = next((run for run in runs if run.get("learning") == "rl"), runs[0] if runs else {})
    return {
        "budget": plan.get("budget"),
        "mode": run.get("distribution_mode"),
        "appearance": " ".join(run.get("appearance", ())) or None,
        "training_levels": run.get("num_levels"),
        "encoder": run.get("encoder"),
        "learner": learner_of(run) if "hyperparameters" in run else None,
        "temperatures": _temperatures(run["evaluation"]) if "evaluation" in run else None,
        "arguments": next((json.dumps(run[name], sort_keys=True) for name in ("env", "dials") if name in run), None),
        "game_version": run.get("game_version"),
    }


def _temperatures(evaluation: Mapping[str, Any]) -> str:
    """Inverse temperatures that an evaluation chooses from, such as ``"1 2 4"``."""
    return " ".join(f"{each:g}" for each in evaluation.get("inverse_temperatures", [1.0]))


def read_measured_settings(file: Path, *within: str, remedy: str) -> dict[str, Any]:
    """How the first game of a plan was measured, from the plan's file.

    Parameters
    ----------
    file
        Data of JSON.
    within
        Where in the data the plan is; by default it is the whole.
    remedy
        What to do where the file is damaged.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    data = read_json(file, remedy=remedy)
    try:
        for name in within:
            data = data[name]
        game = data["games"][0]
        return measured_settings(game) | {"budget": game["budget"]}
    except DAMAGE as error:
        raise ValueError(f"{file} is no plan of what was measured ({short(error)}): {remedy}.") from None


def learner_of(run: Mapping[str, Any]) -> str:
    """What learns in a run from reward, from its record: ``"ppo"``, or ``"phasic epochs=1 learning_rate=0.002"``.

    Named are the hyperparameters that are not the usual ones of `lcd.experiments.settings.Hyperparameters`, and behind
    a learner of the user's own its version.
    """
    usual = asdict(Hyperparameters())
    given = {name: value for name, value in run["hyperparameters"].items() if value != usual.get(name)}
    version = [f"({run['improvement_version']})"] if "improvement_version" in run else []
    return " ".join([run.get("improvement", PLAIN), *version, *(f"{name}={given[name]}" for name in sorted(given))])


def game_row(record: dict[str, Any]) -> dict[str, Any]:
    """Row of the table of games from a diagnosis as data of JSON."""
    teacher = record["teacher"] or {}
    (plan,) = record["settings"].get("plan", {}).get("games", [{}])
    return {
        **measured_settings(plan),
        "game": record["game"],
        "budget": record["budget"],
        "seeds": len(record["seeds"]),
        "preset": record["settings"].get("preset"),
        "random": record["normalisation"]["random"],
        "best": record["normalisation"]["best"],
        "teacher": teacher.get("source"),
        "teacher_checksum": plan.get("teacher") or record["settings"].get("teacher_run"),
        "teacher_training": teacher.get("training_return"),
        "teacher_unseen": teacher.get("unseen_return"),
        "core_hours": record["settings"].get("core_hours", float("nan")),
        "verdict": record["verdict"]["name"],
        "reason": record["verdict"]["reason"],
        "would_decide": " ".join(record["verdict"]["would_decide"]) or None,
        "cautions": " ".join(record["verdict"]["cautions"]) or None,
    }
