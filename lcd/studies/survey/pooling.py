"""Pooling of seeds: diagnoses of one game, by the same settings and with other seeds, become one."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import pandas as pd

from lcd.measurement.intervals import cell_samples, demand_table
from lcd.measurement.scores import PRIMARY, Normalisation, late_gains
from lcd.measurement.verdict import decide
from lcd.studies.diagnosis import ALIKE as ALL_ALIKE
from lcd.studies.survey.columns import ALIKE, DECIMALS, SAME
from lcd.studies.survey.rows import Rows

ADDED_UP = ("seeds", "core_hours")


def pooled(kept: Rows, newer: Rows) -> Rows:
    """Pool two diagnoses of a game whose seeds differ.

    Demands and verdict follow from the scores of all seeds, as if they had been trained together.

    Parameters
    ----------
    kept, newer
        The diagnoses.

    Raises
    ------
    ValueError
        If they have a seed in common, or were not measured alike.
    """
    game = kept.game["game"]
    if common := seeds_of(kept) & seeds_of(newer):
        raise ValueError(f"Seed {min(common)} of {game} is there twice: pool other seeds.")
    check_same(game, settings_of(kept), seeds_of(kept), settings_of(newer), seeds_of(newer))
    scores, curves, runs = (
        pd.concat([getattr(kept, name), getattr(newer, name)], ignore_index=True)
        for name in ("scores", "curves", "runs")
    )
    row = dict(kept.game) | {name: kept.game[name] + newer.game[name] for name in ADDED_UP}
    teacher = row["teacher_unseen"]
    verdict = decide(
        *cell_samples(scores, *PRIMARY),
        gains=late_gains(curves),
        teacher_score=None if pd.isna(teacher) else Normalisation(row["random"], row["best"], "given").score(teacher),
    )
    no_levels = [ALL_ALIKE] * (ALL_ALIKE in str(row["cautions"]))
    row |= {
        "verdict": verdict.name,
        "reason": verdict.reason,
        "would_decide": " ".join(verdict.would_decide) or None,
        "cautions": " ".join([*verdict.cautions, *no_levels]) or None,
    }
    return Rows(row, scores, curves, demand_table(scores).assign(game=game)[list(kept.demands)], runs)


def seeds_of(rows: Rows) -> set[int]:
    """Seeds of a diagnosis."""
    return set(rows.scores["seed"])


def settings_of(rows: Rows) -> dict[str, Any]:
    """What must be the same in two diagnoses of a game for their seeds to be pooled, as far as it is known."""
    found = {name: _rounded(rows.game[name]) for name in SAME}
    versions = rows.runs["training_version"].unique().tolist()
    return {name: value for name, value in found.items() if name in ALIKE or not pd.isna(value)} | (
        {"training_version": versions[0]} if versions else {}
    )


def check_same(
    game: str, kept: Mapping[str, Any], kept_seeds: Set[int], newer: Mapping[str, Any], newer_seeds: Set[int]
) -> None:
    """Check that seeds of a game may be pooled: what is known of both is the same.

    Raises
    ------
    ValueError
        If something is not.
    """
    for name in [name for name in kept if name in newer]:
        value, other = kept[name], newer[name]
        if value != other and not (pd.isna(value) and pd.isna(other)):
            seeds = [", ".join(map(str, sorted(each))) for each in (kept_seeds, newer_seeds)]
            raise ValueError(
                f"The seeds {seeds[0]} of {game} were measured with {name} = {_shown(value)}, the seeds {seeds[1]} "
                f"with {_shown(other)}: they cannot be pooled, keep them in folders of their own."
            )


def _rounded(value: Any) -> Any:
    """As in a file of a table."""
    return round(value, DECIMALS) if isinstance(value, float) else value


def _shown(value: Any) -> str:
    return "none" if pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)
