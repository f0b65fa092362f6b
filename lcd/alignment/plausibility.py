"""Measures of visualisations: excitation, transfer to another network, plausibility to a classifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from lcd.alignment.importance import AT_ONCE, Scores
from lcd.alignment.visualisation import Objective

NEIGHBOURS = 5
"""The k of the distance to the k-th nearest neighbour."""


def evaluated(compute: Scores, images: torch.Tensor) -> torch.Tensor:
    """What a function gives for images, without gradient, in batches that bound the memory."""
    with torch.no_grad():
        return torch.cat([compute(part) for part in images.split(AT_ONCE)])


@dataclass(frozen=True)
class Excitation:
    """How far an image excites a target, in units of real images.

    Attributes
    ----------
    deviations : float
        The image's score minus the mean of real images, in their standard deviations; NaN where they do not differ.
    exceeds : float
        Share of the real images with a lower score.
    """

    deviations: float
    exceeds: float

    @classmethod
    def of(cls, objective: Objective, image: torch.Tensor, real: torch.Tensor) -> Excitation:
        """Evaluate an image, shape (channels, height, width), against real ones, shape (n, channels, height, width)."""
        found = evaluated(objective, image[None])[0]
        scores = evaluated(objective, real)
        deviation = float(scores.std())
        far = float(found - scores.mean()) / deviation if deviation > 0 else float("nan")
        return cls(far, float((scores < found).float().mean()))


def matching_channel(own: NDArray[np.floating], others: NDArray[np.floating]) -> tuple[int, float]:
    """The channel of another network that is most like one of this network.

    Parameters
    ----------
    own : numpy.ndarray, shape (n,)
        Activation of the channel on n images.
    others : numpy.ndarray, shape (n, channels)
        Activations of all channels of the same layer of the other network on the same images.

    Returns
    -------
    int
        Number of the channel with the highest correlation.
    float
        The correlation; NaN if the channel, or all of the others, are constant.

    References
    ----------
    Li, Y. et al. (2016), "Convergent learning: do different neural networks learn the same representations?",
    arXiv:1511.07543.
    """
    one, many = (np.asarray(each, np.float64) for each in (own, others))
    varies = (np.ptp(one) > 0) & (np.ptp(many, axis=0) > 0)  # means are rounded, so that lengths do not tell
    one, many = one - one.mean(), many - many.mean(axis=0)
    lengths = np.linalg.norm(one) * np.linalg.norm(many, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlations = np.where(varies, one @ many / lengths, np.nan)
    if np.isnan(correlations).all():
        return 0, float("nan")
    best = int(np.nanargmax(correlations))
    return best, float(correlations[best])


class Plausibility:
    """Distance of images from real ones in the features of a classifier.

    The distance to the `NEIGHBOURS`-th nearest neighbour among real images, with features of length 1, divided by the
    median of this distance among real images themselves: 1 for an image as plausible as a real one, more for others.

    Parameters
    ----------
    features : callable
        From images to features of the classifier, shape (batch, features).
    real : torch.Tensor, shape (n, channels, height, width)
        Real images.

    Raises
    ------
    ValueError
        If there are not more than `NEIGHBOURS` of them, or they all have the same features.

    References
    ----------
    Sun, Y. et al. (2022), "Out-of-distribution detection with deep nearest neighbors", arXiv:2204.06507.
    """

    def __init__(self, features: Scores, real: torch.Tensor) -> None:
        if len(real) <= NEIGHBOURS:
            raise ValueError(f"Plausibility needs more than {NEIGHBOURS} real images, not {len(real)}: give others.")
        self.features = features
        found = self._unit(real)
        self.neighbours = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(found)
        self.usual = float(np.median(self.neighbours.kneighbors()[0][:, -1]))
        if not self.usual > 0:
            raise ValueError("The classifier finds the real images all alike: give others.")

    def _unit(self, images: torch.Tensor) -> NDArray[np.float32]:
        found = evaluated(self.features, images)
        return torch.nn.functional.normalize(found.flatten(1).float(), dim=1).cpu().numpy()

    def distances(self, images: torch.Tensor) -> NDArray[np.floating]:
        """The relative distance of each image, shape (n,)."""
        return self.neighbours.kneighbors(self._unit(images))[0][:, -1] / self.usual
