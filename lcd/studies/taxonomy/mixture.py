"""Gaussian mixtures for places that are known with an error, fitted to many sets of places at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

TIGHTEST = 1e-6
"""Lower bound of a class's variance, for places without error."""

STARTS = 8
"""Starts of each fit, of which the likeliest end is taken."""

MOST_ITERATIONS, TOLERANCE = 500, 1e-6
"""Of expectation maximisation: the end, and the gain of mean log-likelihood below which a fit has converged."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussian mixture of k classes with a common covariance.

    Attributes
    ----------
    weights : numpy.ndarray, shape (k,)
        Share of each class.
    means : numpy.ndarray, shape (k, d)
        Centres of the classes, from the smallest sum of coordinates to the largest.
    covariance : numpy.ndarray, shape (d, d)
        That of the places around the centre of their class.
    """

    weights: Floats
    means: Floats
    covariance: Floats

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.weights)

    def log_likelihood(self, places: Floats) -> float:
        """Mean log-likelihood of places, shape (n, d)."""
        return float(_expected(places, *self._parameters)[0])

    def probabilities(self, places: Floats) -> Floats:
        """Chance that each place belongs to each class, shape (..., n, k) for places of shape (..., n, d)."""
        return _expected(places, *self._parameters)[1]

    def predict(self, places: Floats) -> Indices:
        """Number of the likeliest class of each place, shape (n,) for places of shape (n, d)."""
        return self.probabilities(places).argmax(axis=-1)

    def bic(self, places: Floats) -> float:
        """Bayesian information criterion for places of shape (n, d), lower is better."""
        count, axes = places.shape
        free = self.classes * axes + self.classes - 1 + axes * (axes + 1) // 2
        return free * float(np.log(count)) - 2 * count * self.log_likelihood(places)

    @property
    def _parameters(self) -> tuple[Floats, Floats, Floats, Floats]:
        return self.weights, self.means, *np.linalg.eigh(self.covariance)


def fit_mixture(places: Floats, classes: int, *, noise: float, seed: int) -> Mixture:
    """Fit one set of places, shape (n, d), see `fit_mixtures`."""
    (fit,) = fit_mixtures(places[None], classes, noise=noise, seed=seed)
    return fit


def fit_mixtures(sets: Floats, classes: int, *, noise: float, seed: int) -> list[Mixture]:
    """Fit a mixture to each of many sets of places, by expectation maximisation of all of them at once.

    The covariance of places around their centres includes the error of the places, which is therefore not added to it.
    In every direction a variance below the error's is raised to it: that is the maximum-likelihood covariance under
    this bound. Starts are centres drawn by the rule of k-means++, the same draws in every set, so that a set's fit does
    not depend on the sets beside it.

    Parameters
    ----------
    sets : numpy.ndarray, shape (m, n, d)
        Sets of places.
    classes : int
        Number of classes k.
    noise : float
        Mean variance of a place's error along an axis.
    seed : int
        Of the starts.

    Returns
    -------
    list of Mixture
        One for each set, the likeliest of its starts.

    References
    ----------
    Dempster, A. P., Laird, N. M. and Rubin, D. B. (1977), "Maximum likelihood from incomplete data via the EM
    algorithm", Journal of the Royal Statistical Society B 39. Arthur, D. and Vassilvitskii, S. (2007), "k-means++: the
    advantages of careful seeding", Symposium on Discrete Algorithms.
    """
    starts = STARTS if classes > 1 else 1  # of one class there is one fit, wherever it starts
    places = np.repeat(sets, starts, axis=0)
    fits = _likeliest(places, _first_shares(places, _starting_draws(len(sets), starts, classes, seed)), noise)
    likelihood = np.full(len(places), -np.inf)
    going = np.arange(len(places))
    for _ in range(MOST_ITERATIONS):
        found, shares = _expected(places[going], *(values[going] for values in fits))
        improves = found - likelihood[going] >= TOLERANCE
        likelihood[going] = found
        going = going[improves]
        if not len(going):
            break
        for values, improved in zip(fits, _likeliest(places[going], shares[improves], noise), strict=True):
            values[going] = improved
    best = likelihood.reshape(len(sets), starts).argmax(axis=1) + starts * np.arange(len(sets))
    return [_mixture(*(values[fit] for values in fits)) for fit in best]


def _mixture(weights: Floats, means: Floats, variances: Floats, directions: Floats) -> Mixture:
    """One of many fits, its classes in order."""
    order = means.sum(axis=-1).argsort()
    return Mixture(weights[order], means[order], directions * variances @ directions.T)


def _log_joint(places: Floats, weights: Floats, means: Floats, variances: Floats, directions: Floats) -> Floats:
    """Log of a class's weight times its density at each place, shape (..., n, k).

    The common covariance is given by its variances, shape (..., d), along directions, shape (..., d, d).
    """
    whitening = directions / np.sqrt(variances)[..., None, :]
    distances = ((places @ whitening)[..., :, None, :] - (means @ whitening)[..., None, :, :]) ** 2
    constant = places.shape[-1] * np.log(2 * np.pi) + np.log(variances).sum(axis=-1)
    return np.log(weights)[..., None, :] - 0.5 * (distances.sum(axis=-1) + constant[..., None, None])


def _expected(
    places: Floats, weights: Floats, means: Floats, variances: Floats, directions: Floats
) -> tuple[Floats, Floats]:
    """Mean log-likelihood of places, shape (...), and the share of each class in each of them, shape (..., n, k)."""
    joint = _log_joint(places, weights, means, variances, directions)
    largest = joint.max(axis=-1, keepdims=True)
    shares = np.exp(joint - largest)
    total = shares.sum(axis=-1, keepdims=True)
    return (largest + np.log(total)).mean(axis=(-2, -1)), shares / total


def _likeliest(places: Floats, shares: Floats, noise: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Weights, means, and variances with their directions, that are likeliest given the shares."""
    counts = shares.sum(axis=-2) + np.finfo(np.float64).tiny
    means = np.swapaxes(shares, -1, -2) @ places / counts[..., None]
    apart = places[..., :, None, :] - means[..., None, :, :]
    scatter = np.einsum("...nk,...nki,...nkj->...ij", shares, apart, apart) / places.shape[-2]
    variances, directions = np.linalg.eigh(scatter)
    return counts / places.shape[-2], means, np.maximum(variances, max(noise, TIGHTEST)), directions


def _starting_draws(sets: int, starts: int, classes: int, seed: int) -> Floats:
    """Uniform numbers from which the centres of every start are drawn, shape (sets × starts, classes)."""
    return np.tile(np.random.default_rng(seed).random((starts, classes)), (sets, 1))


def _first_shares(places: Floats, draws: Floats) -> Floats:
    """One for the nearest of the drawn centres and zero for the others, shape (fits, n, k).

    The first centre is any place; each further one is a place drawn by its squared distance from the nearest centre.
    """
    fits, count, _ = places.shape
    probabilities = np.full((fits, count), 1 / count)
    distances = np.empty((fits, count, 0))
    for draw in draws.T:
        reached = np.cumsum(probabilities, axis=1) < draw[:, None]
        chosen = np.minimum(reached.sum(axis=1), count - 1)
        centres = np.take_along_axis(places, chosen[:, None, None], axis=1)
        distances = np.dstack([distances, ((places - centres) ** 2).sum(axis=-1)])
        nearest = distances.min(axis=-1)
        total = nearest.sum(axis=1, keepdims=True)
        probabilities = np.divide(nearest, total, out=np.full_like(nearest, 1 / count), where=total > 0)
    return np.eye(draws.shape[1])[distances.argmin(axis=-1)]
