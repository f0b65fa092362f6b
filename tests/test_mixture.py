"""Mixtures have the greatest likelihood under the bound of their noise, and a set's fit is its own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

from lcd.studies.taxonomy.mixture import TIGHTEST, Mixture, fit_mixture, fit_mixtures


def sets_of(count: int, places: int = 16) -> np.ndarray:
    """Sets of places in two loose clouds, shape (count, places, 2)."""
    random = np.random.default_rng(0)
    centres = np.array([[0.1, 0.1], [0.4, 0.3]])[random.integers(2, size=(count, places))]
    return centres + random.normal(0, [0.1, 0.05], (count, places, 2))


def test_one_class_is_as_wide_as_its_places_scatter_and_no_tighter_than_they_are_known():
    """The noise of places is not added to what they scatter by."""
    random = np.random.default_rng(0)
    places = 0.3 + random.normal(0, [0.2, 0.05], (40, 2))
    observed = np.cov(places.T, bias=True)
    for noise in (0.0, 0.02**2, 0.045**2):
        assert fit_mixture(places, 1, noise=noise, seed=0).covariance == pytest.approx(observed, rel=1e-9)
    wide = fit_mixture(places, 1, noise=0.1**2, seed=0)
    known = np.linalg.eigvalsh(observed)
    assert np.linalg.eigvalsh(wide.covariance) == pytest.approx([0.1**2, known[1]], rel=1e-9)
    assert wide.means[0] == pytest.approx(places.mean(axis=0))
    density = stats.multivariate_normal(wide.means[0], wide.covariance).logpdf(places)
    assert wide.log_likelihood(places) == pytest.approx(density.mean())


def test_places_without_spread_have_a_class_of_the_least_variance():
    fit = fit_mixture(np.full((5, 2), 0.3), 2, noise=0.0, seed=0)
    assert np.isfinite(fit.log_likelihood(np.full((5, 2), 0.3)))
    assert fit.covariance == pytest.approx(TIGHTEST * np.eye(2))
    assert fit_mixture(np.array([[0.2, 0.1]]), 1, noise=0.01, seed=0).covariance == pytest.approx(0.01 * np.eye(2))


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_no_fit_is_less_likely_than_that_of_scikit_learn(classes):
    for number, places in enumerate(sets_of(10)):
        fit = fit_mixture(places, classes, noise=0.0, seed=number)
        other = GaussianMixture(
            classes, covariance_type="tied", tol=1e-6, max_iter=500, n_init=8, reg_covar=0, random_state=number
        ).fit(places)
        assert fit.log_likelihood(places) >= other.score(places) - 1e-6, number
        same = Mixture(other.weights_, other.means_, other.covariances_)
        assert same.log_likelihood(places) == pytest.approx(other.score(places))
        assert same.bic(places) == pytest.approx(other.bic(places))
        assert same.probabilities(places) == pytest.approx(other.predict_proba(places), abs=1e-9)
        assert np.array_equal(same.predict(places), other.predict(places))


def test_a_set_is_fitted_alike_beside_others():
    sets = sets_of(30)
    for places, fit in zip(sets, fit_mixtures(sets, 3, noise=1e-3, seed=5), strict=True):
        alone = fit_mixture(places, 3, noise=1e-3, seed=5)
        assert alone.means == pytest.approx(fit.means, abs=1e-12)
        assert alone.covariance == pytest.approx(fit.covariance, abs=1e-12)
        assert (np.diff(fit.means.sum(axis=1)) >= 0).all()
        assert fit.weights.sum() == pytest.approx(1)


def test_clouds_apart_are_found():
    random = np.random.default_rng(1)
    centres = np.repeat([[0.1, 0.1], [0.6, 0.1], [0.1, 0.7]], [6, 4, 10], axis=0)
    fit = fit_mixture(centres + random.normal(0, 0.02, centres.shape), 3, noise=1e-4, seed=0)
    assert fit.means == pytest.approx(np.array([[0.1, 0.1], [0.6, 0.1], [0.1, 0.7]]), abs=0.03)
    assert fit.weights == pytest.approx([0.3, 0.2, 0.5])
    assert np.array_equal(fit.predict(centres), np.repeat([0, 1, 2], [6, 4, 10]))
    draws = np.stack([centres, centres])
    assert fit.probabilities(draws).shape == (2, 20, 3)
