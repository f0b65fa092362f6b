"""The smallest set of games that ranks methods as all games do, tested on methods that took no part in its choice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, islice

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lcd.measurement.method_scores import Floats

EXHAUSTIVE = 13_000
"""Sets of one size up to which all are tried; beyond it a set grows by one game at a time. All of 16 games have at most
12,870."""

MOST_GAMES = 24
"""Largest size of a set."""

SPLITS, RANDOM_SETS = 30, 100
"""Divisions of the methods in halves, and random sets of a size that a chosen one is compared with."""

FEWEST_METHODS = 6
"""Smallest number of families of methods that can be divided."""

_AT_ONCE = 2_048
_TIE = 1e-12

COLUMNS = ["size", "games", "tau", "left_out", "low", "high", "random"]


def subset_table(
    values: Floats,
    games: Sequence[str],
    families: Sequence[str],
    *,
    splits: int = SPLITS,
    seed: int = 0,
) -> pd.DataFrame:
    """For each size the set of games that ranks methods most nearly as all games do.

    Methods are ranked by the mean over the games. A set is chosen by Kendall's rank correlation of its ranking with
    that by all games; of equal sets, by Pearson's correlation of the means. To test the choice, methods are divided in
    halves many times: the set is chosen on one half and its correlation is that on the other half alone.

    Parameters
    ----------
    values : numpy.ndarray, shape (M, G)
        Complete scores on a scale that is comparable between games.
    games : sequence of str
        Names of the G games.
    families : sequence of str
        For each method what it is a version of: methods of one family, such as one algorithm at several budgets, stay
        in the same half.
    splits, seed : int
        Number of divisions, and seed of these and of the random sets.

    Returns
    -------
    pandas.DataFrame
        One row a size: games (chosen on all methods, separated by spaces), tau (on these methods), left_out (mean over
        the divisions, on methods left out), low and high (its 5th and 95th percentile over divisions), random (mean of
        the same for random sets of the size). The last four are NaN with fewer than `FEWEST_METHODS` families.
    """
    random = np.random.default_rng(seed)
    halves = list(_halves(families, splits, random))
    whole, chosen_on = _Pairs(values), [_Pairs(values[half]) for half, _ in halves]
    tested_on = [_Pairs(values[other]) for _, other in halves]
    sizes = range(1, min(len(games) - 1, MOST_GAMES) + 1)
    sets: list[NDArray[np.intp] | None] = [None] * (1 + len(halves))
    rows = []
    for size in sizes:
        sets = [part.best(size, last) for part, last in zip([whole, *chosen_on], sets, strict=True)]
        found, *of_halves = sets
        assert found is not None
        left_out = np.array([part.tau(chosen) for part, chosen in zip(tested_on, of_halves, strict=True)])
        drawn = np.array([random.permutation(len(games))[:size] for _ in range(RANDOM_SETS)])
        chance = [part.taus(drawn).mean() for part in tested_on]
        known = left_out[np.isfinite(left_out)]
        rows.append(
            {
                "size": size,
                "games": ", ".join(games[number] for number in sorted(found)),
                "tau": whole.tau(found),
                "left_out": known.mean() if len(known) else np.nan,
                "low": np.quantile(known, 0.05) if len(known) else np.nan,
                "high": np.quantile(known, 0.95) if len(known) else np.nan,
                "random": np.nanmean(chance) if len(known) else np.nan,
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def smallest_set(table: pd.DataFrame, agreement: float) -> pd.Series | None:
    """The row of the smallest set whose mean correlation on methods left out is at least `agreement`, or None."""
    enough = table[table["left_out"] >= agreement]
    return None if enough.empty else enough.iloc[0]


class _Pairs:
    """All pairs of some methods that all games order, and how sets of games order them."""

    def __init__(self, values: Floats) -> None:
        one, other = np.triu_indices(len(values), 1)
        differences = values[one] - values[other]
        total = differences.mean(axis=1)
        self._differences = differences[np.abs(total) > 0] * np.sign(total[np.abs(total) > 0])[:, None]
        centred = values - values.mean(axis=0)
        self._covariance = centred.T @ centred  # of the games over the methods

    def taus(self, sets: NDArray[np.intp]) -> Floats:
        """Kendall's correlation of the ranking by each set with that by all games.

        Parameters
        ----------
        sets : numpy.ndarray, shape (sets, size)
            Numbers of the games.
        """
        if not len(self._differences):
            return np.full(len(sets), np.nan)
        found = []
        for start in range(0, len(sets), _AT_ONCE):
            masks = self._masks(sets[start : start + _AT_ONCE])
            ordered = self._differences @ masks.T  # shape (pairs, sets)
            found.append((ordered > _TIE).mean(axis=0) - (ordered < -_TIE).mean(axis=0))
        taus: Floats = np.concatenate(found)
        return taus

    def tau(self, games: NDArray[np.intp] | None) -> float:
        assert games is not None
        return float(self.taus(games[None])[0])

    def best(self, size: int, last: NDArray[np.intp] | None) -> NDArray[np.intp]:
        """The best set of a size: of all, or where these are too many, of those that add a game to the last one."""
        count = len(self._covariance)
        best, most = np.arange(size), -np.inf
        for sets in _candidates(count, size, last):
            masks = self._masks(sets)
            with np.errstate(invalid="ignore", divide="ignore"):
                joint, own = (masks @ self._covariance).sum(axis=1), ((masks @ self._covariance) * masks).sum(axis=1)
                correlation = np.nan_to_num(joint / np.sqrt(own * self._covariance.sum()))
            # Correlations decide between sets that order as many pairs alike: their weight is below one pair's.
            scores = np.nan_to_num(self.taus(sets)) + 0.5 * correlation / max(len(self._differences), 1)
            if scores.max() > most + 1e-12:
                best, most = sets[scores.argmax()], float(scores.max())
        return best

    def _masks(self, sets: NDArray[np.intp]) -> Floats:
        masks = np.zeros((len(sets), len(self._covariance)))
        np.put_along_axis(masks, sets, 1.0, axis=1)
        return masks


def _candidates(count: int, size: int, last: NDArray[np.intp] | None) -> Iterator[NDArray[np.intp]]:
    if math.comb(count, size) <= EXHAUSTIVE:
        everything = combinations(range(count), size)
        while part := list(islice(everything, _AT_ONCE)):
            yield np.array(part, dtype=np.intp)
    else:
        assert last is not None  # sets of one and two games are few enough
        others = np.setdiff1d(np.arange(count), last)
        yield np.concatenate([np.repeat(last[None], len(others), axis=0), others[:, None]], axis=1)


def _halves(
    families: Sequence[str], splits: int, random: np.random.Generator
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Random halves of the families, as numbers of their methods; none where the families are too few."""
    names, numbers = np.unique(np.asarray(families), return_inverse=True)
    if len(names) < FEWEST_METHODS:
        return
    for _ in range(splits):
        order = random.permutation(len(names))
        inside = np.isin(numbers, order[: len(names) // 2])
        yield np.flatnonzero(inside), np.flatnonzero(~inside)
