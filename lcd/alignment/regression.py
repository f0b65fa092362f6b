"""Cross-validated predictions of responses by regression on activations: partial least squares, and ridge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy import linalg
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, KernelPCA
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from lcd.io.settings import LISTED, Seed, Text, Whole, one_of, settings

Floats = NDArray[np.float64]

METHODS = ("pls", "ridge")

COMPONENTS = (25,)
"""Components of partial least squares in Brain-Score (Schrimpf et al., 2018, bioRxiv 407007)."""

PENALTIES = tuple(np.logspace(-5, 3, 9).tolist())
"""Penalties of ridge that are tried, in units of the mean squared norm of the standardised activations."""

MOST_COMPONENTS, MOST_FOLDS, INNER_FOLDS = 1_000, 100, 5

LEAST_IN_A_FOLD, LEAST_CLUSTERS = 10, 2
"""Images, and clusters of dependent images, in a fold at the least: responses are correlated within folds."""


@settings
class Regression:
    """Settings of a cross-validated regression.

    Attributes
    ----------
    method
        ``"pls"``: partial least squares. ``"ridge"``: ridge regression, whose penalty is chosen from `PENALTIES` for
        each site in the training folds.
    components
        Components of partial least squares; of several numbers one is chosen for each site in the training folds. Of a
        layer with fewer activations, or fewer training images, there are as many as it has.
    folds
        Number of folds over images, or over clusters of images.
    seed
        Seed of the folds.
    """

    method: Annotated[Text, one_of(METHODS, "method")] = "pls"
    components: Annotated[
        tuple[Annotated[Whole, Field(ge=1, le=MOST_COMPONENTS)], ...], Field(min_length=1), LISTED
    ] = COMPONENTS
    folds: Annotated[Whole, Field(ge=2, le=MOST_FOLDS)] = 10
    seed: Seed = 0


def folds_of(clusters: NDArray[np.int64], settings: Regression) -> NDArray[np.int64]:
    """Number of each image's fold, shape (n,); no cluster of images is split.

    Raises
    ------
    ValueError
        If there are too few images or clusters for so many folds.
    """
    several = np.unique(clusters)
    for least, count, what in (
        (LEAST_IN_A_FOLD, len(clusters), "images"),
        (LEAST_CLUSTERS, len(several), "clusters of dependent images"),
    ):
        if count < least * settings.folds:
            raise ValueError(
                f"{count} {what} are too few for {settings.folds} folds, which need {least} each: set fewer folds, or "
                "record more."
            )
    found = np.empty(len(clusters), np.int64)
    for number, held_out in enumerate(_splits(several, settings.folds, settings.seed)):
        found[np.isin(clusters, held_out)] = number
    return found


def cross_validated(
    activations: NDArray[np.float32], responses: Floats, clusters: NDArray[np.int64], settings: Regression
) -> Floats:
    """Predict the responses to each image from its activations, by regressions that were fitted without it.

    Standardisation, the choice of components and the choice of the penalty see the training folds only.

    Parameters
    ----------
    activations : numpy.ndarray, shape (n, features)
        Of one layer.
    responses : numpy.ndarray, shape (n, sites)
        Mean over repetitions.
    clusters : numpy.ndarray, shape (n,), int64
        Clusters of dependent images, see `lcd.alignment.recordings.Recording.clusters`.
    settings : Regression
        Settings.

    Returns
    -------
    numpy.ndarray, shape (n, sites)

    Raises
    ------
    ValueError
        If there are too few images for so many folds.
    """
    fold = folds_of(clusters, settings)
    predicted = np.empty_like(responses)
    for number in range(settings.folds):
        held_out = fold == number
        train, test = _prepared(activations[~held_out], activations[held_out])
        predicted[held_out] = _fitted(train, responses[~held_out], test, clusters[~held_out], settings)
    return predicted


def cross_validated_at_places(
    activations: NDArray[np.float32],
    responses: Floats,
    grid: tuple[int, int],
    clusters: NDArray[np.int64],
    settings: Regression,
    *,
    shared: bool = False,
) -> Floats:
    """Predict a map of responses, each site from the activations at its place.

    Parameters
    ----------
    activations : numpy.ndarray, shape (n, channels, height, width)
        Of one layer; resized to the grid.
    responses : numpy.ndarray, shape (n, rows * columns)
        Mean over repetitions.
    grid : tuple of int
        Rows and columns.
    clusters, settings
        As in `cross_validated`.
    shared : bool
        Whether all places share one regression, as places at which one neuron was recorded do (as in
        arXiv:2306.03779); by default each site has its own.

    Returns
    -------
    numpy.ndarray, shape (n, rows * columns)

    Raises
    ------
    ValueError
        As `cross_validated` says.
    """
    resized = functional.interpolate(torch.from_numpy(activations), grid, mode="bilinear", antialias=True).numpy()
    columns = resized.reshape(*resized.shape[:2], -1)
    places = columns.shape[2]
    if shared:
        rows = columns.transpose(0, 2, 1).reshape(-1, columns.shape[1])
        found = cross_validated(rows, responses.reshape(-1, 1), np.repeat(clusters, places), settings)
        return found.reshape(-1, places)
    of_sites = [
        cross_validated(columns[:, :, site], responses[:, [site]], clusters, settings) for site in range(places)
    ]
    return np.concatenate(of_sites, axis=1)


def _splits(several: NDArray[np.int64], folds: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Held-out clusters of each fold."""
    for _, held_out in KFold(folds, shuffle=True, random_state=seed).split(several):
        yield several[held_out]


def _prepared(train: NDArray[np.float32], test: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Activations standardised and scaled to a mean squared norm of 1, by the training images alone.

    Their principal components are taken, all of them: a rotation, which changes neither regression, leaves no more
    numbers than images, and none that the others determine.
    """
    scaler = StandardScaler()
    seen, unseen = scaler.fit_transform(train.astype(np.float64)), scaler.transform(test.astype(np.float64))
    unseen[:, scaler.var_ == 0] = 0.0  # activations that never vary in the training folds tell nothing
    if not seen.any():
        return np.zeros((len(seen), 1)), np.zeros((len(unseen), 1))
    if seen.shape[1] > len(seen):
        rotation: Any = KernelPCA(kernel="linear", remove_zero_eig=True)
        seen, unseen = rotation.fit_transform(seen), rotation.transform(unseen)
    else:
        rotation = PCA(svd_solver="full").fit(seen)
        kept = rotation.explained_variance_ > _NO_VARIANCE * rotation.explained_variance_[0]
        seen, unseen = (rotation.transform(each)[:, kept] for each in (seen, unseen))
    norm = np.sqrt(np.square(seen).sum(axis=1).mean())
    return seen / norm, unseen / norm


def _fitted(
    train: Floats, responses: Floats, test: Floats, clusters: NDArray[np.int64], settings: Regression
) -> Floats:
    """Predictions for test images, with the strength of each site's regression chosen in the training images."""
    predict = _PREDICT[settings.method]
    strengths: Sequence[float] = settings.components if settings.method == "pls" else PENALTIES
    if len(strengths) == 1:
        return predict(train, responses, test, strengths)[0]
    several = np.unique(clusters)
    errors = np.zeros((len(strengths), responses.shape[1]))
    for held_out in _splits(several, min(INNER_FOLDS, len(several)), settings.seed):
        out = np.isin(clusters, held_out)
        found = predict(train[~out], responses[~out], train[out], strengths)
        errors += np.square(found - responses[out]).sum(axis=1)
    found = predict(train, responses, test, strengths)
    return np.take_along_axis(found, errors.argmin(axis=0)[None, None], axis=0)[0]


def _by_pls(train: Floats, responses: Floats, test: Floats, strengths: Sequence[float]) -> Floats:
    """Predictions with each number of components, shape (strengths, n, sites); one fit holds them all."""
    most = min(int(max(strengths)), len(train) - 1, train.shape[1])
    if not np.ptp(train, axis=0).any():
        return np.broadcast_to(responses.mean(axis=0), (len(strengths), len(test), responses.shape[1]))
    centre, scale = responses.mean(axis=0), responses.std(axis=0)
    wanted = (responses - centre) / np.where(scale > 0, scale, 1.0)  # each site counts alike
    fit: Any = PLSRegression(most, scale=False, max_iter=_MOST_ITERATIONS).fit(train, wanted)
    scores = (test - train.mean(axis=0)) @ fit.x_rotations_
    kept = [min(int(strength), most) for strength in strengths]
    return np.stack([scores[:, :count] @ fit.y_loadings_[:, :count].T * scale + centre for count in kept])


def _by_ridge(train: Floats, responses: Floats, test: Floats, strengths: Sequence[float]) -> Floats:
    """Predictions with each penalty, shape (strengths, n, sites), from one decomposition of the activations.

    References
    ----------
    Hastie, T., Tibshirani, R. and Friedman, J. (2009), *The Elements of Statistical Learning*, equation 3.47.
    """
    centre, mean = train.mean(axis=0), responses.mean(axis=0)
    left, values, right = linalg.svd(train - centre, full_matrices=False)
    scores, wanted = (test - centre) @ right.T, left.T @ (responses - mean)
    return np.stack([scores * (values / (values**2 + penalty)) @ wanted + mean for penalty in strengths])


_MOST_ITERATIONS = 2_000
_NO_VARIANCE = 1e-12  # as a share of the largest variance of a principal component

_PREDICT: dict[str, Callable[[Floats, Floats, Floats, Sequence[float]], Floats]] = {"pls": _by_pls, "ridge": _by_ridge}
