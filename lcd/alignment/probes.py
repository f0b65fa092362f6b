"""Probes: classifiers on features, whose accuracy says what the features hold, with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lcd.measurement.intervals import mean_limits

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse strengths of the L2 penalty that a linear probe chooses among, scikit-learn's ``C``."""

FOLDS = 3
"""Folds of the training observations in which the strength is chosen."""


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers.

    Attributes
    ----------
    share, low, high : float
        The share with its 95 % interval.
    count : int
        Number of answers.
    """

    share: float
    low: float
    high: float
    count: int


def accuracy(right: ArrayLike) -> Accuracy:
    """Share of right answers with Wilson's score interval (Wilson, 1927, *JASA* 22).

    Parameters
    ----------
    right : array_like, shape (n,), bool
        Whether each answer is right; answers are independent.

    Raises
    ------
    ValueError
        If there are none.
    """
    answers = np.asarray(right, dtype=bool)
    if answers.ndim != 1 or not len(answers):
        raise ValueError(f"Accuracy is that of a list of answers, not of shape {answers.shape}.")
    found = stats.binomtest(int(answers.sum()), len(answers)).proportion_ci(0.95, method="wilson")
    return Accuracy(float(answers.mean()), float(found.low), float(found.high), len(answers))


def difference(right: ArrayLike, others: ArrayLike) -> tuple[float, float, float]:
    """Difference between the accuracies of two probes on the same observations.

    Parameters
    ----------
    right : array_like, shape (n,)
        Whether each answer of the first is right.
    others : array_like, shape (n,)
        The same of the second; or the share of several probes that are right.

    Returns
    -------
    tuple of float
        The mean difference, and its limits: 95 % t limits over the paired observations.

    Raises
    ------
    ValueError
        If the shapes differ, or there are fewer than two observations.
    """
    one, other = (np.asarray(each, dtype=np.float64) for each in (right, others))
    if one.shape != other.shape or one.ndim != 1 or len(one) < 2:
        raise ValueError(f"Answers of shape {one.shape} cannot be compared with {other.shape}: give two lists of two.")
    return mean_limits(one - other)


def fit_linear(features: NDArray[Any], targets: NDArray[Any], groups: NDArray[np.int64], *, seed: int = 0) -> Any:
    """Fit a linear probe: logistic regression on standardised features.

    The strength of its penalty is chosen by cross-validation within the training observations, and the scaling is that
    of each fold's own; dependent observations are in one fold.

    Parameters
    ----------
    features : numpy.ndarray, shape (n, features)
    targets : numpy.ndarray, shape (n,), bool
    groups : numpy.ndarray, shape (n,)
        Observations with the same number are dependent.
    seed : int
        Seed of the folds.

    Returns
    -------
    sklearn.model_selection.GridSearchCV
        Fitted; its ``predict`` gives answers for other features.

    Raises
    ------
    ValueError
        If a feature is not finite, or one answer is missing.
    """
    _check(features, targets)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
    search = GridSearchCV(probe, {"logisticregression__C": STRENGTHS}, scoring="neg_log_loss", cv=folds)
    return search.fit(features, targets, groups=groups)


def fit_trees(features: NDArray[Any], targets: NDArray[Any], *, seed: int = 0) -> Any:
    """Fit boosted trees: for a few features whose answer may depend on them in any way.

    Parameters
    ----------
    features, targets
        As in `fit_linear`.
    seed : int
        Seed of the trees.

    Returns
    -------
    sklearn.ensemble.HistGradientBoostingClassifier
        Fitted.

    Raises
    ------
    ValueError
        As in `fit_linear`.
    """
    _check(features, targets)
    return HistGradientBoostingClassifier(random_state=seed).fit(features, targets)


def _check(features: NDArray[Any], targets: NDArray[Any]) -> None:
    if not np.isfinite(features).all():
        raise ValueError("A feature is not finite: the encoder's weights do not fit these images.")
    if len(np.unique(targets)) < 2:
        raise ValueError("All observations have the same answer: a probe needs both.")
