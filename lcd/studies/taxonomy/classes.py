"""Classes of games in the plane of their demands: their number, and the membership of each game."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from lcd.measurement.rule import NEGLIGIBLE, SMALL_HEADROOM
from lcd.studies.taxonomy.positions import Cells

Floats = NDArray[np.float64]

MOST_CLASSES = 6
DRAWS, REFITS, NULLS = 2000, 40, 99

SIGNIFICANCE = 0.05
"""Significance level of the test for one more class."""

STABLE = 0.5
"""Minimal mean adjusted Rand index between the classes and those of other draws of seeds."""

UNDIVIDED = "no classes told apart"
"""Name of a single class, where the data support no more."""

FARTHEST = 4.0
"""Draws of seeds are clipped at this number of standard errors, as the t of few seeds has no finite variance."""

LARGER = 1.5
"""Ratio of the demands above which a class is named after the larger one alone."""


TIGHTEST = 1e-6
"""Lower bound of a class's variance, for positions without error."""


class NoisyMixture(GaussianMixture):
    """Gaussian mixture with a common covariance whose variances are at least the noise of the positions.

    The observed covariance already includes the noise, which is therefore not added. In every direction a variance
    below the noise is raised to it: this is the maximum-likelihood covariance under that bound.

    Parameters
    ----------
    n_components : int
        Number of classes.
    noise : float
        Mean variance of a position's error along an axis.
    n_init, random_state : int
        As in `sklearn.mixture.GaussianMixture`.
    """

    covariances_: Floats

    def __init__(self, n_components: int, *, noise: float, n_init: int, random_state: int) -> None:
        super().__init__(
            n_components, covariance_type="tied", reg_covar=TIGHTEST, n_init=n_init, random_state=random_state
        )
        self.noise = noise

    def _m_step(self, *arguments: Any, **settings: Any) -> None:
        """Scikit-learn's step of expectation maximisation, and the least variance."""
        super()._m_step(*arguments, **settings)
        variances, directions = np.linalg.eigh(self.covariances_)
        self.covariances_ = directions * np.maximum(variances, self.noise) @ directions.T
        self.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(self.covariances_)).T


@dataclass(frozen=True, eq=False)
class Classes:
    """Gaussian mixture over the positions of games, one component a class.

    Attributes
    ----------
    names : tuple of str
        Names of the k classes.
    mixture : sklearn.mixture.GaussianMixture
        Its components are in the order of the names.
    selection : pandas.DataFrame
        One row a number of classes that was tried: classes, bic (Bayesian information criterion, lower is better),
        p_value (chance of so much better a fit than with one class fewer, if that were the truth), stability (mean
        adjusted Rand index of the classes of other draws of seeds with these) and chosen.
    membership : numpy.ndarray, shape (n, k)
        Chance that each game belongs to each class, over draws of its position.
    """

    names: tuple[str, ...]
    mixture: GaussianMixture
    selection: pd.DataFrame
    membership: Floats

    @property
    def of_games(self) -> NDArray[np.int64]:
        """Number of the likeliest class of each game, shape (n,)."""
        return self.membership.argmax(axis=1)

    def chances(self, draws: Floats) -> Floats:
        """Chance that positions belong to each class.

        Parameters
        ----------
        draws : numpy.ndarray, shape (count, n, 2)
            Draws of the positions of n games.

        Returns
        -------
        numpy.ndarray, shape (n, k)
        """
        return _chances(self.mixture, draws)


@threadpool_limits.wrap(limits=1)  # of thousands of tiny fits each is faster alone, forty times so beside other work
def find_classes(
    cells: Cells, *, draws: int = DRAWS, refits: int = REFITS, nulls: int = NULLS, seed: int = 0
) -> Classes:
    """Find the number of classes that the positions of games support, which may be one.

    Mixtures of Gaussians with one common covariance, never tighter than the positions are known, are fitted with one
    class, two and so on. One class more is accepted as long as games drawn from the mixture with one fewer would seldom
    be fitted so much better by one more (McLachlan's bootstrap of the likelihood ratio), and as long as other draws of
    seeds give much the same classes. An information criterion alone finds classes in a single cloud of a dozen games
    in one case of three. How often the test is right was simulated: ``docs/class_coverage.csv``.

    Parameters
    ----------
    cells : Cells
        The scores of the games.
    draws, refits : int
        Draws of seeds behind membership, and how many of them are also fitted, for the stability.
    nulls : int
        Sets of games that are drawn for each test.
    seed : int
        Of the draws and of the fits.

    Returns
    -------
    Classes

    References
    ----------
    McLachlan, G. J. (1987), "On bootstrapping the likelihood ratio test statistic for the number of components in a
    normal mixture", Applied Statistics 36. Hubert, L. and Arabie, P. (1985), "Comparing partitions", Journal of
    Classification 2.
    """
    places, other = cells.positions(), cells.draws(draws, seed, farthest=FARTHEST)
    noise = float(np.mean(np.trace(cells.covariances(), axis1=1, axis2=2)) / 2)
    mixture = _fit(places, 1, noise, seed)
    rows = [(1, mixture.bic(places), np.nan, 1.0)]
    while mixture.n_components < min(MOST_CLASSES, len(places) // 2):
        more = _fit(places, mixture.n_components + 1, noise, seed)
        chance = _chance_of(mixture, more, places, noise, nulls, seed)
        stability = _stability(more, places, other[:refits], noise, seed)
        rows.append((more.n_components, more.bic(places), chance, stability))
        if chance > SIGNIFICANCE or stability < STABLE:
            break
        mixture = more
    table = pd.DataFrame(rows, columns=["classes", "bic", "p_value", "stability"])
    table["chosen"] = table["classes"] == mixture.n_components
    membership = _chances(mixture, other)
    headrooms = [float(np.average(cells.headrooms(), weights=share)) for share in membership.T]
    return Classes(_names(mixture.means_, headrooms), mixture, table, membership)


def _chances(mixture: GaussianMixture, draws: Floats) -> Floats:
    count, games, _ = draws.shape
    return mixture.predict_proba(draws.reshape(-1, 2)).reshape(count, games, -1).mean(axis=0)


def _fit(places: Floats, classes: int, noise: float, seed: int) -> GaussianMixture:
    """A mixture whose components are in order from the smallest sum of demands to the largest."""
    if len(places) == 1:  # nothing to fit a spread to
        places = np.repeat(places, 2, axis=0)
    starts = 4 if classes > 1 else 1  # of one class there is one fit, wherever it starts
    fit = NoisyMixture(classes, noise=noise, n_init=starts, random_state=seed).fit(places)
    order = np.argsort(fit.means_.sum(axis=1))
    fit.weights_, fit.means_ = fit.weights_[order], fit.means_[order]
    return fit


def _chance_of(
    fewer: GaussianMixture, more: GaussianMixture, places: Floats, noise: float, nulls: int, seed: int
) -> float:
    """P-value of one more class: parametric bootstrap of the likelihood ratio under the smaller mixture.

    Draws have the observed covariance, which includes the noise. The fitted covariance is biased by the fitted means,
    and so corrected by n/(n − k).
    """
    random, count = np.random.default_rng(seed), len(places)
    covariance = fewer.covariances_ * count / (count - fewer.n_components)

    def drawn() -> Floats:
        classes = random.choice(fewer.n_components, size=count, p=fewer.weights_)
        return fewer.means_[classes] + random.multivariate_normal(np.zeros(2), covariance, count)

    def gain(games: Floats) -> float:
        return float(
            _fit(games, more.n_components, noise, seed).score(games)
            - _fit(games, fewer.n_components, noise, seed).score(games)
        )

    found = more.score(places) - fewer.score(places)
    return (1 + sum(gain(drawn()) >= found for _ in range(nulls))) / (1 + nulls)


def _stability(fit: GaussianMixture, places: Floats, draws: Floats, noise: float, seed: int) -> float:
    labels = fit.predict(places)
    again = (_fit(drawn, fit.n_components, noise, seed).predict(drawn) for drawn in draws)
    return float(np.mean([adjusted_rand_score(labels, other) for other in again]))


def _names(centres: Floats, headrooms: list[float]) -> tuple[str, ...]:
    """Name each class after the demands at its centre; classes of the same kind get degrees.

    A single class is a continuum, and has no such name.
    """
    if len(centres) == 1:
        return (UNDIVIDED,)
    kinds = [_kind(centre[0], centre[1], left) for centre, left in zip(centres.tolist(), headrooms, strict=True)]
    names = []
    for place, kind in enumerate(kinds):
        rank, count = kinds[:place].count(kind), kinds.count(kind)
        degrees = {1: ("",), 2: (", mildly", ", strongly"), 3: (", mildly", "", ", strongly")}
        names.append(kind + (degrees[count][rank] if count in degrees else f", {rank + 1} of {count}"))
    return tuple(names)


def _kind(perceptual: float, policy: float, headroom: float) -> str:
    has_perceptual, has_policy = perceptual >= NEGLIGIBLE, policy >= NEGLIGIBLE
    if not has_perceptual and not has_policy:
        return "little learned within the budget" if headroom > SMALL_HEADROOM else "little to gain from either help"
    if has_perceptual and (not has_policy or perceptual > LARGER * policy):
        return "hard to see"
    if has_policy and (not has_perceptual or policy > LARGER * perceptual):
        return "hard to decide"
    return "hard to see and to decide"
