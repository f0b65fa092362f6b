"""Whether what was estimated of games predicts what improvements gain in them.

A *predictor* is a number of each game, such as its perceptual demand or the plain score of a learner. A *gain* is the
score of an improved learner minus that of the learner without the improvement, with seeds that took no part in the
estimate. Games are the sample: limits and p-values generalise to games like these.

References
----------
Bonett, D. G. and Wright, T. A. (2000), "Sample size requirements for estimating Pearson, Kendall and Spearman
correlations", Psychometrika 65, whose variance of Fisher's transform of a rank correlation is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from lcd.measurement.intervals import mean_limits

Floats = NDArray[np.float64]

FEWEST_GAMES = 5
"""Smallest number of games for a correlation: with fewer, no order of them is improbable."""

PERMUTATIONS = 9_999
"""Orders of the games behind a p-value, where there are more in all."""

KINDS = ("perceptual", "policy")
"""What an improvement may help."""

ROUNDING = 1e-9


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation over games, or a partial one.

    Attributes
    ----------
    estimate
        From −1 to 1; NaN for fewer than `FEWEST_GAMES` games, or where all are alike.
    p
        Two-sided p-value by permutation of the games; NaN for a partial correlation, whose limits tell.
    games
        Number of games.
    held
        Number of columns that are held constant.
    """

    estimate: float
    p: float
    games: int
    held: int = 0

    def limits(self, level: float = 0.95) -> tuple[float, float]:
        """Limits that cover the correlation in such a share of samples of games; NaN where there is no estimate.

        Fisher's transform with the standard error of Bonett and Wright (2000), "Sample size requirements for estimating
        Pearson, Kendall and Spearman correlations", Psychometrika 65. A perfect correlation has none; it is replaced by
        the value halfway to the next lower possible one, that of two neighbours out of order. A bootstrap over few
        games would give it no width. Three games tell nothing.
        """
        if not np.isfinite(self.estimate):
            return np.nan, np.nan
        freedom = self.games - 3 - self.held
        error = np.sqrt((1 + self.estimate**2 / 2) / freedom) if freedom > 0 else np.inf
        half = stats.norm.ppf((1 + level) / 2) * error
        most = 1 - 6 / (self.games * (self.games**2 - 1))
        transformed = np.arctanh(np.clip(self.estimate, -most, most))
        low, high = np.tanh([transformed - half, transformed + half])
        return float(low), float(high)


def rank_correlation(
    predictor: ArrayLike, gain: ArrayLike, given: ArrayLike | None = None, *, seed: int = 0
) -> RankCorrelation:
    """Correlate a predictor with a gain over games.

    Parameters
    ----------
    predictor, gain : array_like, shape (games,)
        Games in which either is NaN are left out.
    given : array_like, shape (games,), optional
        What is held constant: the partial correlation of the ranks.
    seed : int
        Of the permutations, where there are too many to try all.
    """
    columns = [np.asarray(each, np.float64) for each in (predictor, gain, *([] if given is None else [given]))]
    known = np.isfinite(columns).all(axis=0)
    ranks = [stats.rankdata(np.round(column[known], 9)) for column in columns]
    games = int(known.sum())
    held = len(ranks) - 2
    if games < FEWEST_GAMES or any(np.ptp(each) == 0 for each in ranks):
        return RankCorrelation(np.nan, np.nan, games, held)
    p = np.nan if held else _permuted(ranks[0], ranks[1], seed)
    return RankCorrelation(_partial(ranks), p, games, held)


def _partial(ranks: Sequence[Floats]) -> float:
    """Correlation of the first two columns, with the third held constant where there is one."""
    matrix = np.corrcoef(ranks)
    rho = matrix[0, 1]
    if len(ranks) == 3:
        held = (1 - matrix[0, 2] ** 2) * (1 - matrix[1, 2] ** 2)
        rho = (rho - matrix[0, 2] * matrix[1, 2]) / np.sqrt(held) if held > ROUNDING else np.nan
    return float(rho)


def _permuted(one: Floats, other: Floats, seed: int) -> float:
    """Two-sided p-value of a correlation of ranks, by the orders of one of them."""
    standard = (other - other.mean()) / (other.std() * one.std() * len(one))
    found = stats.permutation_test(
        (one,),
        lambda ranks, axis: np.abs(((ranks - one.mean()) * standard).sum(axis=axis)),
        permutation_type="pairings",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        alternative="greater",
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def correlation_table(predictors: pd.DataFrame, gains: pd.DataFrame, given: str) -> pd.DataFrame:
    """Correlate every predictor with every improvement's gain, and with the mean gain of each kind.

    Parameters
    ----------
    predictors : pandas.DataFrame
        One row a game, which is its index; a column a predictor.
    gains : pandas.DataFrame
        One row a (game, improvement): kind, gain.
    given : str
        The predictor that partial correlations hold constant.

    Returns
    -------
    pandas.DataFrame
        One row a (predictor, kind, improvement), improvement empty for the mean of a kind: games, spearman with its
        limits ``_low`` and ``_high``, p, and partial, likewise, NaN for the predictor that is held constant.
    """
    rows = []
    for (kind, improvement), gain in outcomes(gains):
        values = gain.reindex(predictors.index)
        for name in predictors:
            plain = rank_correlation(predictors[name], values)
            partial = rank_correlation(predictors[name], values, predictors[given])
            if name == given:
                partial = RankCorrelation(np.nan, np.nan, plain.games, held=1)
            found = (plain.estimate, *plain.limits(), plain.p)
            rows.append((name, kind, improvement, plain.games, *found, partial.estimate, *partial.limits()))
    columns = ["predictor", "kind", "improvement", "games", "spearman", "spearman_low", "spearman_high", "p"]
    return pd.DataFrame(rows, columns=[*columns, "partial", "partial_low", "partial_high"])


def outcomes(gains: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.Series]]:
    """Gains by game: of each kind on average, under an empty name, then of each improvement.

    A mean is of the games in which every improvement of the kind was measured.

    Yields
    ------
    (str, str), pandas.Series
        Kind and improvement, and the gain, indexed by the game.
    """
    for kind in KINDS:
        mean = mean_gain(gains, kind)
        if mean.empty:
            continue
        yield (kind, ""), mean
        for improvement in sorted(set(gains.loc[gains["kind"] == kind, "improvement"])):
            yield (kind, improvement), mean_gain(gains, improvement)


def mean_gain(gains: pd.DataFrame, name: str) -> pd.Series:
    """Gain of one improvement, or the mean of a kind in games where every improvement of it was measured, by game.

    Parameters
    ----------
    gains : pandas.DataFrame
        As in `correlation_table`.
    name : str
        An improvement's name, or one of `KINDS`.
    """
    rows = gains[gains["kind" if name in KINDS else "improvement"] == name]
    return rows.pivot_table(index="game", columns="improvement", values="gain").dropna().mean(axis=1)


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule that decides for each game which kind of improvement is tried first.

    Attributes
    ----------
    name
        Its name in tables.
    numbers : numpy.ndarray, shape (games,)
        What it looks at; NaN for a game of which it says nothing.
    threshold
        Perception is tried where the value is above; None where the threshold and its side are learned from the other
        games.
    """

    name: str
    numbers: Floats
    threshold: float | None = None

    def choices(self, advantage: Floats) -> NDArray[np.bool_]:
        """Whether perception is tried first, by game.

        Parameters
        ----------
        advantage : numpy.ndarray, shape (games,)
            Mean gain of perceptual improvements minus that of policy improvements, from which a threshold is learned
            without the game that it decides.
        """
        if self.threshold is not None:
            return self.numbers > self.threshold
        places = np.arange(len(advantage))
        return np.array([self._learned(advantage, places != place, place) for place in places])

    def _learned(self, advantage: Floats, others: NDArray[np.bool_], place: int) -> bool:
        """The choice for a game by the threshold and side that regret least in the others."""
        known = others & np.isfinite(self.numbers)
        values = np.unique(self.numbers[known])
        thresholds = [-np.inf, *(values[:-1] + np.diff(values) / 2)]
        candidates = [(side, at) for at in thresholds for side in (1.0, -1.0)]

        def earned(candidate: tuple[float, float]) -> float:
            side, at = candidate
            chosen = side * (self.numbers[known] - at) > 0
            return float(np.where(chosen, advantage[known], 0.0).sum())

        side, at = max(candidates, key=earned)
        return bool(side * (self.numbers[place] - at) > 0)


def decision_table(rules: Sequence[Rule], gains: Mapping[str, Floats]) -> pd.DataFrame:
    """What each rule's decisions would have cost.

    The regret in a game is the mean gain of the better kind of improvement minus that of the chosen one. Games of which
    a rule says nothing are left out of its row.

    Parameters
    ----------
    rules : sequence of Rule
        The rules; those that always choose the same kind are added.
    gains : mapping of str to numpy.ndarray, shape (games,)
        Mean gain of each of `KINDS` by game.

    Returns
    -------
    pandas.DataFrame
        One row a rule: games, perception (share of games in which it tries perception first), right (share in which
        that was the better kind), regret, and gain_over_fixed: the regret of the fixed choice that is better in the
        same games, minus its own; both are means over games, with 95 % limits (Student's t) ``_low`` and ``_high``.
    """
    advantage = gains["perceptual"] - gains["policy"]
    measured = np.isfinite(advantage)
    always = [
        Rule("always perception", np.ones_like(advantage), 0.0),
        Rule("always policy", np.zeros_like(advantage), 0.0),
    ]
    rows = []
    for rule in (*always, *rules):
        used = measured & np.isfinite(rule.numbers)
        part = advantage[used]
        if not len(part):
            continue
        chosen = Rule(rule.name, rule.numbers[used], rule.threshold).choices(part)
        regrets = np.where(chosen == (part > 0), 0.0, np.abs(part))
        fixed = min((np.where(part > 0, 0.0, -part), np.where(part > 0, part, 0.0)), key=np.mean)
        right = float((chosen == (part > 0)).mean())
        row = (
            rule.name,
            len(part),
            float(chosen.mean()),
            right,
            *mean_limits(regrets),
            *mean_limits(fixed - regrets),
        )
        rows.append(row)
    columns = ["rule", "games", "perception", "right"]
    numbers = [f"{name}{end}" for name in ("regret", "gain_over_fixed") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*columns, *numbers])
