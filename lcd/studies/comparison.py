"""Comparison of two diagnoses of a game: what a changed learner, encoder, teacher or game changed in its demands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lcd.io.files import check_output, replacing
from lcd.io.limits import path, short
from lcd.measurement.demands import CONTRASTS, Contrast
from lcd.measurement.intervals import Interval, cell_samples, contrast_interval
from lcd.measurement.scores import CELLS, LEVELS, PRIMARY, SCORES, Normalisation
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.reading import read_diagnosis_folder
from lcd.studies.survey.rows import game_row

SCORE = "score"
"""The learner's own score, that of cell a, among the quantities that are compared."""

QUANTITIES: Mapping[str, Contrast] = {SCORE: Contrast((1.0, 0.0, 0.0, 0.0)), **CONTRASTS}

TITLES: Mapping[str, str] = {
    SCORE: "score of the learner (a)",
    "perceptual": "perceptual demand P",
    "policy": "policy-learning demand L",
    "joint": "joint demand J",
    "gap": "learning gap G",
    "headroom": "headroom 1 - d",
    "perceptual_gain": "better perception alone brings",
    "policy_gain": "better learning alone brings",
}
"""The quantities in words."""

NAMED = (
    "mode",
    "appearance",
    "training_levels",
    "encoder",
    "learner",
    "teacher",
    "teacher_checksum",
    "temperatures",
    "arguments",
    "game_version",
)
"""Columns of `lcd.studies.survey.columns.COLUMNS` in which the two diagnoses may differ."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What changed from one diagnosis to another.

    Attributes
    ----------
    before, after
        The two, with scores on the same scale.
    differing
        What was done differently: the value before and after, by the name of the setting.
    shared
        Letters of the cells whose runs are the same in both; they add nothing to a change, and no noise.
    changes
        One row a (quantity, levels, score): before and after (estimates), change (after minus before), low and high
        (its 95 % interval, NaN where nothing tells the noise) and over (see `lcd.measurement.intervals.Interval`), in
        units of the normalised score.
    """

    before: Diagnosis
    after: Diagnosis
    differing: dict[str, tuple[Any, Any]]
    shared: str
    changes: pd.DataFrame

    def row(self, quantity: str, levels: str = PRIMARY[0], score: str = PRIMARY[1]) -> dict[str, Any]:
        """Row of `changes` for a quantity of `QUANTITIES`, by the score that decides unless another one is named."""
        wanted = {"quantity": quantity, "levels": levels, "score": score}
        (row,) = self.changes[(self.changes[list(wanted)] == pd.Series(wanted)).all(axis=1)].to_dict("records")
        return {str(name): value for name, value in row.items()}

    def change(self, quantity: str, levels: str = PRIMARY[0], score: str = PRIMARY[1]) -> Interval:
        """Change of a quantity with its interval, see `row`."""
        row = self.row(quantity, levels, score)
        return Interval(row["change"], row["low"], row["high"], row["over"])

    @property
    def scale(self) -> str:
        """The returns that count as the scores 0 and 1, in a sentence."""
        constants = [each.normalisation for each in (self.before, self.after)]
        first, second = (f"{each.random:g} and {each.best:g} ({each.source})" for each in constants)
        if first != second:
            return f"The scores 0 and 1 are returns of {first} before, and of {second} after."
        highest = f"; {constants[0].best:g} is the highest of both" if constants[0].source == "measured" else ""
        return f"The scores 0 and 1 are returns of {first}{highest}."

    @property
    def claims(self) -> tuple[str, ...]:
        """What the intervals show, and what they don't, in sentences."""
        return tuple(self._claim(quantity) for quantity in (SCORE, "perceptual", "policy"))

    def _claim(self, quantity: str) -> str:
        found, what = self.change(quantity), TITLES[quantity]
        if all(cell in self.shared for cell in _cells_of(quantity)):
            return f"The {what} is that of the same runs."
        if found.low > 0 or found.high < 0:
            return f"The {what} {'rises' if found.estimate > 0 else 'falls'} by {found}."
        return f"The {what} is not shown to change: {found}."


def compare(
    before: Diagnosis | Path | str, after: Diagnosis | Path | str, *, out: Path | str | None = None
) -> Comparison:
    """Compare two diagnoses of a game; the command ``lcd compare`` is this function.

    Each change is a contrast of the eight cells' means, with Welch's interval as in `lcd.measurement.intervals`. A cell
    whose runs are the same in both diagnoses, as those of imitation are where only the learner from reward differs,
    cancels. All other runs count as independent, also those with the same seed. The eight intervals of a score cover 95
    % each, not all together.

    Where a return counts as score 1 because it was the highest of a diagnosis, both are scored by the higher one.

    Parameters
    ----------
    before, after
        The diagnoses, or the folders that `lcd.diagnose` wrote.
    out
        CSV file for the table of changes; by default none is written.

    Raises
    ------
    ValueError
        If they are of different games, budgets or privileged views, are scored by other constants, hold the same runs,
        or one is part of the other.
    """
    file = (
        None
        if out is None
        else check_output(
            path("out", out), ".csv", inputs=[each for each in (before, after) if not isinstance(each, Diagnosis)]
        )
    )
    one, other = (each if isinstance(each, Diagnosis) else read_diagnosis_folder(each) for each in (before, after))
    alike = {
        "game": (one.game, other.game),
        "steps a cell": (one.budget, other.budget),
        "privileged view": (one.privileged_view, other.privileged_view),
    }
    for what, values in alike.items():
        if values[0] != values[1]:
            raise ValueError(
                f"The diagnoses differ in their {what}, {short(values[0])} and {short(values[1])}: compare two of the "
                "same."
            )
    one, other = _on_one_scale(one, other)
    shared = _shared_cells(one, other)
    found = Comparison(one, other, _differing(one, other), shared, _changes(one, other, shared))
    if file is not None:
        with replacing(file) as part:
            found.changes.round(6).to_csv(part, index=False)
    return found


def _on_one_scale(one: Diagnosis, other: Diagnosis) -> tuple[Diagnosis, Diagnosis]:
    """Both diagnoses scored by the same returns, or each by the published ones of its mode."""
    constants = one.normalisation, other.normalisation
    returns = [(each.random, each.best) for each in constants]
    alike = np.allclose(returns[0], returns[1], rtol=1e-9, atol=0)
    if alike or {each.source for each in constants} <= {"published", "computed"}:
        return one, other
    if {each.source for each in constants} != {"measured"} or constants[0].random != constants[1].random:
        said = " and ".join(f"{each.random:.12g} to {each.best:.12g} ({each.source})" for each in constants)
        raise ValueError(
            f"The diagnoses count different returns as the scores 0 and 1, {said}: repeat one of the commands with "
            "--random and --best of the other, and another --out."
        )
    common = Normalisation(constants[0].random, max(each.best for each in constants), "measured")
    first, second = (
        Diagnosis.from_episodes(
            each.episodes,
            game=each.game,
            budget=each.budget,
            normalisation=common,
            teacher=each.teacher,
            settings=each.settings,
            levels_differ=each.generalisation is not None,
        )
        for each in (one, other)
    )
    return replace(first, verdict=one.verdict), replace(second, verdict=other.verdict)


def _shared_cells(one: Diagnosis, other: Diagnosis) -> str:
    """Letters of the cells whose runs are the same in both.

    Raises
    ------
    ValueError
        If all are, or only some runs of a cell.
    """
    found = ""
    for letter in CELLS:
        runs, others = (_runs(each, letter) for each in (one, other))
        if runs == others:
            found += letter
        elif runs & others:
            raise ValueError(
                f"The diagnoses share {len(runs & others)} of their runs of the cell {letter}, but not all, as where "
                "one has more seeds: compare diagnoses with the same seeds, or with none in common."
            )
    if found == "".join(CELLS):
        raise ValueError("The diagnoses hold the same runs: there is nothing to compare.")
    return found


def _runs(diagnosis: Diagnosis, letter: str) -> set[Any]:
    """What identifies the runs of a cell: their names, and in the first diagnoses, which lack them, their scores."""
    view, learning = CELLS[letter]
    if "runs" in diagnosis.settings:
        return {run["run"] for run in diagnosis.settings["runs"] if (run["view"], run["learning"]) == (view, learning)}
    scores = diagnosis.scores
    of_cell = scores[(scores["view"] == view) & (scores["learning"] == learning)]
    return set(of_cell[["seed", "levels", *SCORES]].itertuples(index=False, name=None))


def _differing(one: Diagnosis, other: Diagnosis) -> dict[str, tuple[Any, Any]]:
    old, new = (
        game_row(each.to_json()) | {"seeds": _seeds(each), "precision": _precisions(each)} for each in (one, other)
    )
    return {name: (old[name], new[name]) for name in (*NAMED, "precision", "seeds") if old[name] != new[name]}


def _precisions(diagnosis: Diagnosis) -> str | None:
    """Of the encoders' numbers in its runs; None where they are not known."""
    known = {run.get("precision") for run in diagnosis.settings.get("runs", [])}
    return ", ".join(sorted(each for each in known if each is not None)) or None


def _seeds(diagnosis: Diagnosis) -> list[int]:
    return sorted(diagnosis.scores["seed"].unique().tolist())


def _cells_of(quantity: str) -> str:
    """Letters of the cells that a quantity is made of."""
    return "".join(letter for letter, weight in zip(CELLS, QUANTITIES[quantity].weights, strict=True) if weight)


def _changes(one: Diagnosis, other: Diagnosis, shared: str) -> pd.DataFrame:
    """The table of changes, see `Comparison`."""
    rows = []
    differs = np.array([letter not in shared for letter in CELLS], dtype=np.float64)
    for levels in LEVELS:
        for score in SCORES:
            (old, old_errors), (new, new_errors) = (cell_samples(each.scores, levels, score) for each in (one, other))
            for quantity, contrast in QUANTITIES.items():
                weights = np.asarray(contrast.weights)
                estimates = (contrast.offset + float(weights @ [cell.mean() for cell in cells]) for cells in (old, new))
                of_both = Contrast((*(-weights * differs).tolist(), *(weights * differs).tolist()))
                found = contrast_interval([*old, *new], [*old_errors, *new_errors], of_both)
                rows.append((quantity, levels, score, *estimates, found.estimate, found.low, found.high, found.over))
    names = ["quantity", "levels", "score", "before", "after", "change", "low", "high", "over"]
    return pd.DataFrame(rows, columns=names)
