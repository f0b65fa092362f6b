"""Gains of improvements in groups of games, and losses that a positive mean gain hides.

The gain of an improvement in a group is the mean over its games of the difference of two means over seeds. Its
uncertainty is that over seeds, in these games: games are fixed, as those of a benchmark are. The test is Welch's, with
Satterthwaite's degrees of freedom. Where the errors over seeds are unknown, it is Student's t over the games of the
group, which needs three of them, and is about games like these.

A loss is *hidden* if the improvement's mean gain over all games is positive, the gain in the group is negative, and
the one-sided test is significant after the correction of Benjamini and Hochberg over all improvements with a positive
mean gain and all groups of the same grouping. Of the losses found in a grouping, at most the error rate are false on
average. `docs/audit/error_rates.csv` (made by `scripts/audit_error_rates.py`) is the simulation.

References
----------
Welch, B. L. (1947), "The generalization of Student's problem when several different population variances are
involved", Biometrika 34. Benjamini, Y. and Hochberg, Y. (1995), "Controlling the false discovery rate", Journal of the
Royal Statistical Society B 57.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from lcd.measurement.intervals import degrees_of_freedom
from lcd.measurement.method_scores import Floats, Groupings, MethodScores, with_single_games

ALL_GAMES = "all"
"""Name of the grouping that has one group, of all games."""

FEWEST_GAMES = 3
"""Smallest number of games of a group whose gain is tested over games."""

COLUMNS = [
    "improvement", "baseline", "grouping", "group", "games", "gain", "low", "high", "over", "p", "q", "mean_gain",
    "hidden_loss",
]  # fmt: skip


def gain_table(
    scores: MethodScores,
    pairs: Sequence[tuple[int, int]],
    groupings: Groupings,
    *,
    error_rate: float = 0.05,
    level: float = 0.95,
) -> pd.DataFrame:
    """Gain of each improvement in each group of games, and whether it is a hidden loss.

    Parameters
    ----------
    scores : MethodScores
        Scores on a scale that is comparable between games; cells may be missing.
    pairs : sequence of (int, int)
        Numbers of the methods that are compared: improvement and baseline.
    groupings : mapping
        Groups of games. Single games are added as a grouping of their own.
    error_rate : float
        False-discovery rate within a grouping.
    level : float
        Coverage of the limits of a gain, each by itself.

    Returns
    -------
    pandas.DataFrame
        One row a (improvement, baseline, grouping, group): games (number of those that both methods have), gain with
        low and high (in the unit of the scores), over ("seeds", "games" or "nothing": the source of the variance), p
        (one-sided, that the gain is not negative), q (p after the correction; NaN where the mean gain is not positive
        or p is unknown), mean_gain (over all games that both have) and hidden_loss.
    """
    if not pairs:
        return pd.DataFrame(columns=COLUMNS)
    first, second = np.array(pairs, dtype=np.intp).T
    whole = {ALL_GAMES: {ALL_GAMES: list(scores.games)}}
    parts: list[dict[str, NDArray[Any]]] = []
    for grouping, groups in (whole | with_single_games(groupings, scores.games)).items():
        for group, members in groups.items():
            numbers = [scores.games.index(game) for game in members]
            found = _group_gains(scores, first, second, numbers, level)
            names = {"grouping": np.full(len(pairs), grouping, object), "group": np.full(len(pairs), group, object)}
            parts.append(names | found)
    methods = np.array(scores.methods, dtype=object)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns |= {"improvement": np.tile(methods[first], len(parts)), "baseline": np.tile(methods[second], len(parts))}
    columns["mean_gain"] = np.tile(parts[0]["gain"], len(parts))
    table = pd.DataFrame(columns)
    table = table[table["games"] > 0].reset_index(drop=True)
    tested = (table["grouping"] != ALL_GAMES) & (table["mean_gain"] > 0) & table["p"].notna()
    table["q"] = np.nan
    for _, rows in table[tested].groupby("grouping"):
        table.loc[rows.index, "q"] = stats.false_discovery_control(rows["p"].to_numpy())
    table["hidden_loss"] = (table["q"] <= error_rate) & (table["gain"] < 0)
    return table[COLUMNS]


def _group_gains(
    scores: MethodScores, first: NDArray[np.intp], second: NDArray[np.intp], games: list[int], level: float
) -> dict[str, NDArray[Any]]:
    """Gains of all pairs in one group of games, with their limits and p-values, each of shape (pairs,)."""
    gains = scores.means[first][:, games] - scores.means[second][:, games]  # shape (pairs, games of the group)
    there = np.isfinite(gains)
    count = there.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = np.where(there, gains, 0.0).sum(axis=1) / count
        error, freedom = _over_seeds(scores, first, second, games, there)
        spread = np.where(there, (gains - gain[:, None]) ** 2, 0.0).sum(axis=1) / (count - 1)
        seeds = np.isfinite(error) & (error > 0)  # runs that agree to the last digit tell no error
        tells = ~seeds & (count >= FEWEST_GAMES) & (spread > 0)
        error = np.where(seeds, error, np.where(tells, np.sqrt(spread / count), np.nan))
        freedom = np.where(seeds, freedom, np.where(tells, count - 1.0, np.nan))
        p = stats.t.cdf(gain / error, freedom)
        half = stats.t.ppf((1 + level) / 2, freedom) * error
    over = np.where(seeds, "seeds", np.where(tells, "games", "nothing"))
    return {
        "games": count, "gain": gain, "low": gain - half, "high": gain + half, "over": over.astype(object), "p": p
    }  # fmt: skip


def _over_seeds(
    scores: MethodScores,
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    games: list[int],
    there: NDArray[np.bool_],
) -> tuple[Floats, Floats]:
    """Standard error over seeds of each pair's gain and its degrees of freedom; NaN where a game's are unknown."""
    count = there.sum(axis=1)
    both = np.concatenate([there, there], axis=1)
    squared, freedom = scores.pair_errors(first, second, games)
    known = (np.isfinite(squared) & np.isfinite(freedom)) | ~both
    parts = np.where(both & known, squared, 0.0) / np.maximum(count, 1)[:, None] ** 2
    error = np.sqrt(parts.sum(axis=1))
    satterthwaite = degrees_of_freedom(parts, np.where(both & known, freedom, 1.0) + 1)
    decided = known.all(axis=1) & (count > 0)
    return np.where(decided, error, np.nan), np.where(decided, satterthwaite, np.nan)
