"""Agreement of the demands with those by other scores, and with the cheap estimate from generalisation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import adjusted_rand_score

from lcd.measurement.generalisation import generalisation_estimate
from lcd.measurement.scores import LEVELS, PRIMARY, SCORES
from lcd.measurement.validity import RankCorrelation
from lcd.studies.taxonomy.classes import find_classes
from lcd.studies.taxonomy.positions import PLANE, Cells


def family_agreement(scores: pd.DataFrame, classes: NDArray[np.int64], refits: int = 20) -> pd.DataFrame:
    """Agreement of each family of scores with the primary one.

    Parameters
    ----------
    scores : pandas.DataFrame
        One row a (game, view, learning, seed, levels).
    classes : numpy.ndarray, shape (n,)
        Class of each game by the primary family.
    refits : int
        Draws of seeds behind the stability of the classes of each family, and half of the draws behind their number.

    Returns
    -------
    pandas.DataFrame
        One row a (levels, score): perceptual and policy (Spearman's correlation of the demand over games), classes
        (their number in this family) and rand (adjusted Rand index of the classes).
    """
    primary = Cells.of(scores, *PRIMARY).positions()
    rows = []
    for levels in LEVELS:
        for score in SCORES:
            cells = Cells.of(scores, levels, score)
            places = cells.positions()
            correlations = [float(stats.spearmanr(primary[:, axis], places[:, axis]).statistic) for axis in range(2)]
            own = find_classes(cells, refits=refits, nulls=2 * refits - 1)
            rand = adjusted_rand_score(classes, own.of_games)
            rows.append((levels, score, *correlations, len(own.names), float(rand)))
    return pd.DataFrame(rows, columns=["levels", "score", *PLANE, "classes", "rand"])


def cheap_estimates(scores: pd.DataFrame) -> pd.DataFrame:
    """Demands of every game by the factorial and from generalisation alone.

    Returns
    -------
    pandas.DataFrame
        One row a (game, demand): factorial (the estimate of `lcd.measurement.demands`), cheap (that of
        `lcd.measurement.generalisation`), low and high (its 95 % limits).
    """
    cells = Cells.of(scores)
    rows = []
    for game, place in zip(cells.games, cells.positions(), strict=True):
        cheap = generalisation_estimate(scores[scores["game"] == game])
        for demand, factorial in zip(PLANE, place.tolist(), strict=True):
            found = getattr(cheap, demand)
            rows.append((game, demand, factorial, found.estimate, found.low, found.high))
    return pd.DataFrame(rows, columns=["game", "demand", "factorial", "cheap", "low", "high"])


def cheap_agreement(estimates: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation over games of the cheap estimate with the factorial.

    Parameters
    ----------
    estimates : pandas.DataFrame
        What `cheap_estimates` returned.

    Returns
    -------
    pandas.DataFrame
        One row a demand: spearman, low and high (its limits over games).
    """
    rows = []
    for demand, table in estimates.groupby("demand", sort=False):
        pairs = table[["factorial", "cheap"]].to_numpy()
        correlation = float(stats.spearmanr(*pairs.T).statistic)
        rows.append((demand, correlation, *RankCorrelation(correlation, np.nan, len(pairs)).limits()))
    return pd.DataFrame(rows, columns=["demand", "spearman", "low", "high"])
