"""How much of its teacher each game's imitators reach."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lcd.measurement.intervals import mean_limits


def student_table(scores: pd.DataFrame, games: pd.DataFrame) -> pd.DataFrame:
    """Final scores of the cells c and d as shares of their teacher's.

    Parameters
    ----------
    scores : pandas.DataFrame
        Of a survey: game, view, learning, seed, levels, final.
    games : pandas.DataFrame
        Of a survey: game, random, best, teacher_training, teacher_unseen.

    Returns
    -------
    pandas.DataFrame
        One row a (game, view, levels): teacher (its normalised score), student (mean final score over seeds), share
        (the one over the other), share_low, share_high (95 %, over seeds; the teacher's score is taken as known). The
        share is NaN where the teacher scores no more than a random policy, or is an optimal policy that was not played.
    """
    known = {card["game"]: card for card in games.to_dict("records")}
    imitators = scores[scores["learning"] == "imitation"]
    rows = []
    for (game, view, levels), cell in imitators.groupby(["game", "view", "levels"], sort=False):
        card = known[game]
        returned = card[f"teacher_{levels}"]  # None of an optimal policy
        teacher = np.nan if returned is None else (returned - card["random"]) / (card["best"] - card["random"])
        limits = mean_limits(cell["final"])
        shares = tuple(limit / teacher if teacher > 0 else np.nan for limit in limits)
        rows.append((game, view, levels, float(teacher), limits[0], *shares))
    columns = ["game", "view", "levels", "teacher", "student", "share", "share_low", "share_high"]
    return pd.DataFrame(rows, columns=columns)
