"""Which methods of a table of scores are compared: improvements and their baselines, and publications of one method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lcd.io.limits import short
from lcd.measurement.method_scores import Floats, MethodScores
from lcd.measurement.publication_noise import independent
from lcd.studies.audit.reading import same_steps


@dataclass(frozen=True)
class Comparison:
    """An improvement and the baseline that it is compared with, by their numbers among the methods of some scores."""

    improvement: int
    baseline: int
    same_publication: bool


def baseline_entries(entries: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """The entries of a baseline, given as the name of an entry or of a method.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = entries[(entries["entry"] == baseline) | (entries["method"] == baseline)]
    if found.empty:
        names = ", ".join(entries["method"].unique()[:12])
        raise ValueError(f"There is no method {short(baseline)} to be the baseline: choose one of {names}.")
    return found


def compared(entries: pd.DataFrame, scores: MethodScores, baseline: str | None) -> list[Comparison]:
    """All improvements with their baselines.

    With a baseline every entry of another method is compared with that of its entries that has the same steps, from
    the same publication if there is one. An entry of unknown steps is compared only where those of the baseline have
    one number of them. Without a baseline all pairs of entries of different methods with the same steps and from the
    same publication are compared, and the better one by the mean gain is the improvement.

    Parameters
    ----------
    entries : pandas.DataFrame
        Entries of the table of scores.
    scores : MethodScores
        Comparable scores of these entries, in any order; entries without scores are left out.
    baseline : str, optional
        Name of an entry or of a method.
    """
    rows = [row for row in entries.to_dict("records") if row["entry"] in scores.methods]
    numbers = {row["entry"]: scores.methods.index(row["entry"]) for row in rows}
    found = []
    if baseline is not None:
        base = [row for row in baseline_entries(entries, baseline).to_dict("records") if row["entry"] in numbers]
        methods = {row["method"] for row in base}
        for row in rows:
            near = [each for each in base if same_steps(row["steps"], each["steps"])]
            near.sort(key=lambda each: np.isnan(each["steps"]))  # known steps first
            if row["method"] in methods or not near:
                continue
            of_same = [each for each in near if each["publication"] == row["publication"]]
            chosen, *others = of_same or near
            if np.isnan(row["steps"]) and any(not same_steps(chosen["steps"], each["steps"]) for each in others):
                continue
            found.append(Comparison(numbers[row["entry"]], numbers[chosen["entry"]], bool(of_same)))
    else:
        for place, one in enumerate(rows):
            for other in rows[:place]:
                alike = same_steps(one["steps"], other["steps"]) and one["publication"] == other["publication"]
                if one["method"] != other["method"] and alike:
                    found.append(Comparison(numbers[one["entry"]], numbers[other["entry"]], True))
        found = [_better_first(each, scores) for each in found]
    return [each for each in found if np.isfinite(_gains(each, scores)).any()]


def _gains(comparison: Comparison, scores: MethodScores) -> Floats:
    return scores.means[comparison.improvement] - scores.means[comparison.baseline]


def _better_first(comparison: Comparison, scores: MethodScores) -> Comparison:
    gains = _gains(comparison, scores)
    if np.isfinite(gains).any() and np.nanmean(gains) < 0:
        return Comparison(comparison.baseline, comparison.improvement, comparison.same_publication)
    return comparison


def replicates(entries: pd.DataFrame, scores: MethodScores) -> list[list[int]]:
    """Numbers of the entries of each method, at some steps, that several publications measured.

    A publication whose scores are those of another one, up to rounding, has copied them and is left out.
    """
    known = np.isfinite(scores.means).any(axis=0)  # a game may have scores on the other split only
    deviation = np.nanstd(np.where(known, scores.means, 0.0), axis=0)
    scaled = scores.means / np.where(deviation > 0, deviation, 1.0)
    rows = [row for row in entries.to_dict("records") if row["entry"] in scores.methods and row["publication"]]
    found: list[list[int]] = []
    for method in dict.fromkeys(row["method"] for row in rows):
        left = sorted((row for row in rows if row["method"] == method), key=lambda row: row["steps"])
        told = [row for row in left if np.isfinite(row["steps"])]
        if any(not same_steps(row["steps"], told[0]["steps"]) for row in told):
            left = told  # to which of them the others belong cannot be known
        while left:
            alike = [row for row in left if same_steps(row["steps"], left[0]["steps"])]
            left = [row for row in left if row not in alike]
            first = list({row["publication"]: row for row in reversed(alike)}.values())  # one entry a publication
            numbers = np.array([scores.methods.index(row["entry"]) for row in first])
            kept = numbers[independent(scaled[numbers])]
            if len(kept) > 1:
                found.append([int(number) for number in kept])
    return found
