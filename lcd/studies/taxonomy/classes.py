"""Classes of games in the plane of their demands: their number, and the membership of each game."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from lcd.measurement.rule import NEGLIGIBLE, SMALL_HEADROOM
from lcd.studies.taxonomy.mixture import Floats, Mixture, fit_mixture, fit_mixtures
from lcd.studies.taxonomy.positions import Cells

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


@dataclass(frozen=True, eq=False)
class Classes:
    """Gaussian mixture over the positions of games, one component a class.

    Attributes
    ----------
    names : tuple of str
        Names of the k classes.
    mixture : lcd.studies.taxonomy.mixture.Mixture
        Its classes are in the order of the names.
    selection : pandas.DataFrame
        One row a number of classes that was tried: classes, bic (Bayesian information criterion, lower is better),
        p_value (chance of so much better a fit than with one class fewer, if that were the truth), stability (mean
        adjusted Rand index of the classes of other draws of seeds with these) and chosen.
    membership : numpy.ndarray, shape (n, k)
        Chance that each game belongs to each class, over draws of its position.
    """

    names: tuple[str, ...]
    mixture: Mixture
    selection: pd.DataFrame
    membership: Floats

    @property
    def of_games(self) -> NDArray[np.int64]:
        """Number of the likeliest class of each game, shape (n,)."""
        return self.membership.argmax(axis=1)

    def probabilities(self, draws: Floats) -> Floats:
        """Chance that positions belong to each class.

        Parameters
        ----------
        draws : numpy.ndarray, shape (count, n, 2)
            Draws of the positions of n games.

        Returns
        -------
        numpy.ndarray, shape (n, k)
        """
        return self.mixture.probabilities(draws).mean(axis=0)


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
    mixture = fit_mixture(places, 1, noise=noise, seed=seed)
    rows = [(1, mixture.bic(places), np.nan, 1.0)]
    while mixture.classes < min(MOST_CLASSES, len(places) // 2):
        more = fit_mixture(places, mixture.classes + 1, noise=noise, seed=seed)
        chance = _chance_of(mixture, more, places, noise, nulls, seed)
        stability = _stability(more, places, other[:refits], noise, seed)
        rows.append((more.classes, more.bic(places), chance, stability))
        if chance > SIGNIFICANCE or stability < STABLE:
            break
        mixture = more
    table = pd.DataFrame(rows, columns=["classes", "bic", "p_value", "stability"])
    table["chosen"] = table["classes"] == mixture.classes
    membership = mixture.probabilities(other).mean(axis=0)
    headrooms = [float(np.average(cells.headrooms(), weights=share)) for share in membership.T]
    return Classes(_names(mixture.means, headrooms), mixture, table, membership)


def _chance_of(fewer: Mixture, more: Mixture, places: Floats, noise: float, nulls: int, seed: int) -> float:
    """P-value of one more class: parametric bootstrap of the likelihood ratio under the smaller mixture.

    Draws have the observed covariance, which includes the noise. The fitted covariance is biased by the fitted means,
    and so corrected by n/(n − k).
    """
    random, count = np.random.default_rng(seed), len(places)
    covariance = fewer.covariance * count / (count - fewer.classes)
    classes = random.choice(fewer.classes, size=(nulls, count), p=fewer.weights)
    drawn = fewer.means[classes] + random.multivariate_normal(np.zeros(2), covariance, (nulls, count))
    by_fewer, by_more = (fit_mixtures(drawn, fit.classes, noise=noise, seed=seed) for fit in (fewer, more))
    found = more.log_likelihood(places) - fewer.log_likelihood(places)
    gains = [
        larger.log_likelihood(games) - smaller.log_likelihood(games)
        for smaller, larger, games in zip(by_fewer, by_more, drawn, strict=True)
    ]
    return (1 + sum(gain >= found for gain in gains)) / (1 + nulls)


def _stability(fit: Mixture, places: Floats, draws: Floats, noise: float, seed: int) -> float:
    labels, again = fit.predict(places), fit_mixtures(draws, fit.classes, noise=noise, seed=seed)
    others = (other.predict(drawn) for other, drawn in zip(again, draws, strict=True))
    return float(np.mean([adjusted_rand_score(labels, other) for other in others]))


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
