"""Share of games that other numbers of steps and seeds would decide, from the curves of a survey."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lcd.measurement.scores import curve_scores
from lcd.studies.taxonomy.reliability import SEEDS, decided_shares


def power_table(curves: pd.DataFrame, counts: Sequence[int] = SEEDS) -> pd.DataFrame:
    """Share of a survey's games that each number of steps and seeds would decide.

    The curves are cut at each of their evaluations. Estimates and spreads over seeds are those of the survey; other
    numbers of seeds change the intervals alone.

    Parameters
    ----------
    curves : pandas.DataFrame
        One row an evaluation, see `lcd.measurement.scores.learning_curves`, of two seeds or more; the games share their
        steps.
    counts : sequence of int
        Numbers of seeds.

    Returns
    -------
    pandas.DataFrame
        One row a (steps, seeds): decided, a share between 0 and 1.

    Raises
    ------
    ValueError
        If there is a single seed, whose spread nobody knows.
    """
    if curves["seed"].nunique() < 2:
        raise ValueError("The spread over seeds is not known from a single one: give a survey of two seeds or more.")
    steps = sorted(set.intersection(*(set(rows["step"]) for _, rows in curves.groupby("game"))) - {0})
    rows = []
    for budget in steps:
        scores = curve_scores(curves[curves["step"] <= budget], budget)
        rows += [(budget, *pair) for pair in zip(counts, decided_shares(scores, counts), strict=True)]
    return pd.DataFrame(rows, columns=["steps", "seeds", "decided"])
