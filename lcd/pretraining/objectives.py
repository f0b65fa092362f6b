"""Self-supervised objectives (and a privileged one) to pretrain an encoder on a game's own frames."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lcd.agents import Encoder
from lcd.agents.observations import LABELS
from lcd.envs.family import ActionClasses
from lcd.pretraining.frames import GameFrames, Transitions

DECODED = 32
"""Side in pixels of decoded images and label maps, for frames of any size: half that of Procgen's frames."""

SLOW, LINKED = 32, 128
"""Number of slow features, and dimensions of the embedding of predictive coding."""


class Objective(nn.Module):
    """A pretraining objective with its head.

    Parameters
    ----------
    backbone_dim : int
        Number of features of the backbone for a frame.
    classes : tuple of tuple of int
        Groups of equivalent actions of the game.
    channels : int
        Channels of a frame.
    """

    measure = "loss"
    """Name of the quantity that `score` returns."""

    needs_labels = False
    """Whether it needs label maps."""

    version = 1
    """Changes where the same frames give other weights."""

    def __init__(self, backbone_dim: int, classes: ActionClasses, channels: int = 3) -> None:
        super().__init__()
        self.channels = channels
        class_of = torch.zeros(sum(len(members) for members in classes), dtype=torch.int64)
        for number, members in enumerate(classes):
            class_of[list(members)] = number
        self.register_buffer("class_of", class_of, persistent=False)
        self.num_classes = len(classes)
        self.build(backbone_dim)

    class_of: torch.Tensor

    def build(self, backbone_dim: int) -> None:
        """Build the head, which is trained with the backbone."""

    def loss(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        """Training loss, a scalar."""
        raise NotImplementedError

    @torch.no_grad()
    def score(self, encoder: Encoder, batch: Transitions) -> float:
        """Evaluation score, named by `measure`; by default the loss."""
        return float(self.loss(encoder, batch))

    def chance(self, frames: GameFrames, others: GameFrames, batch_size: int) -> float:
        """Chance baseline: the best score that does not depend on the input.

        Parameters
        ----------
        frames, others : GameFrames
            Training and evaluation data.
        batch_size : int
            Size of the evaluation batches.
        """
        raise NotImplementedError


def _features(encoder: Encoder, frames: torch.Tensor) -> torch.Tensor:
    return encoder.backbone(encoder.images(frames))


class _Decoder(nn.Sequential):
    """From backbone features to images of `DECODED` pixels a side."""

    def __init__(self, backbone_dim: int, channels: int) -> None:
        super().__init__(
            nn.Linear(backbone_dim, 32 * 8 * 8),
            nn.ReLU(),
            nn.Unflatten(1, (32, 8, 8)),
            nn.ConvTranspose2d(32, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, channels, 4, stride=2, padding=1),
        )


class Autoencoding(Objective):
    """Reconstruct the frame at `DECODED` pixels a side; mean squared error."""

    measure = "squared error"

    def build(self, backbone_dim: int) -> None:
        """A decoder."""
        self.decoder = _Decoder(backbone_dim, self.channels)

    def loss(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        """Mean squared error of the downsampled frame."""
        return functional.mse_loss(self.decoder(_features(encoder, batch.frames)), self._target(batch))

    @staticmethod
    def _target(batch: Transitions) -> torch.Tensor:
        return functional.interpolate(batch.frames.float() / 255, DECODED, mode="area")

    def chance(self, frames: GameFrames, others: GameFrames, batch_size: int) -> float:
        """Error of the mean frame."""
        mean = torch.stack([self._target(batch).mean(dim=0) for batch in frames.batches(batch_size, 0)]).mean(dim=0)
        errors = [(self._target(batch) - mean).square().mean() for batch in others.batches(batch_size, 0)]
        return float(torch.stack(errors).mean())


class InverseDynamics(Objective):
    """Predict the action between consecutive frames.

    Pathak, D. et al. (2017), "Curiosity-driven exploration by self-supervised prediction", arXiv:1705.05363. Equivalent
    actions are one class.
    """

    measure = "accuracy"

    def build(self, backbone_dim: int) -> None:
        """A small network on the features and their change, both layer-normalised because the change is small."""
        self.sizes = nn.ModuleList([nn.LayerNorm(backbone_dim), nn.LayerNorm(backbone_dim)])
        self.head = nn.Sequential(nn.Linear(2 * backbone_dim, 256), nn.ReLU(), nn.Linear(256, self.num_classes))

    def _logits(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        both = torch.cat([batch.frames, batch.next_frames])
        before, after = _features(encoder, both).chunk(2)
        parts = (norm(part) for norm, part in zip(self.sizes, (before, after - before), strict=True))
        return self.head(torch.cat(list(parts), dim=1))

    def loss(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        """Cross-entropy of the action's class."""
        return functional.cross_entropy(self._logits(encoder, batch), self.class_of[batch.actions])

    @torch.no_grad()
    def score(self, encoder: Encoder, batch: Transitions) -> float:
        """Accuracy of the predicted action class."""
        right = self._logits(encoder, batch).argmax(dim=1) == self.class_of[batch.actions]
        return float(right.float().mean())

    def chance(self, frames: GameFrames, others: GameFrames, batch_size: int) -> float:
        """Share of the most frequent class."""
        actions = torch.from_numpy(others.actions[others.goes_on])
        return float(self.class_of[actions].bincount().max() / len(actions))


class SlowFeatures(Objective):
    """Slow feature analysis: uncorrelated features of unit variance that change little from step to step.

    Wiskott, L. and Sejnowski, T. J. (2002), "Slow feature analysis", Neural Computation 14, with the constraints as
    penalties.
    """

    measure = "slowness"
    penalty = 1.0

    def build(self, backbone_dim: int) -> None:
        """A linear map to the features."""
        self.head = nn.Linear(backbone_dim, SLOW)

    def features(self, encoder: Encoder, frames: torch.Tensor) -> torch.Tensor:
        """The slow features of frames, shape (batch, SLOW)."""
        return self.head(_features(encoder, frames))

    def loss(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        """Mean squared change plus the penalty on the covariance, see `slow_loss`."""
        before, after = self.features(encoder, torch.cat([batch.frames, batch.next_frames])).chunk(2)
        return slow_loss(before, after, self.penalty)

    @torch.no_grad()
    def score(self, encoder: Encoder, batch: Transitions) -> float:
        """See `slowness`."""
        before, after = self.features(encoder, torch.cat([batch.frames, batch.next_frames])).chunk(2)
        return slowness(before, after)

    def chance(self, frames: GameFrames, others: GameFrames, batch_size: int) -> float:
        """Slowness of noise."""
        return 1.0


def slowness(before: torch.Tensor, after: torch.Tensor) -> float:
    """Slowness of features: 0 if they never change, 1 for noise.

    The mean squared change divided by twice the variance, averaged over the principal directions. A direction with less
    than a hundredth of the unit variance counts as 1, so that constant or repeated features do not count as slow.

    Parameters
    ----------
    before, after : torch.Tensor, shape (batch, features)
        Features of frames and of the frames that follow them.
    """
    variances, directions = torch.linalg.eigh(torch.cov(torch.cat([before, after]).double().T))
    varies = variances > 0.01
    changes = ((after - before).double() @ directions[:, varies]).square().mean(dim=0) / (2 * variances[varies])
    return float((changes.sum() + (~varies).sum()) / len(variances))


def slow_loss(before: torch.Tensor, after: torch.Tensor, penalty: float = 1.0) -> torch.Tensor:
    """Mean squared change of features, with a penalty on the distance of their covariance from the identity.

    Parameters
    ----------
    before, after : torch.Tensor, shape (batch, features)
        Features of frames and of the frames that follow them.
    penalty : float
        Weight of the constraint.
    """
    centred = before - before.mean(dim=0)
    covariance = centred.T @ centred / len(before)
    constraint = (covariance - torch.eye(covariance.shape[0], device=covariance.device)).square().mean()
    return (after - before).square().mean() + penalty * before.shape[1] * constraint


class PredictiveCoding(Objective):
    """Contrastive predictive coding: identify the next frame from a frame and the action, among those of the batch.

    Van den Oord, A. et al. (2018), "Representation learning with contrastive predictive coding", arXiv:1807.03748. The
    contrast with other frames prevents features from collapsing.
    """

    measure = "accuracy"
    temperature = 0.1

    def build(self, backbone_dim: int) -> None:
        """Projections of both frames of a transition into a common space."""
        self.before = nn.Sequential(nn.Linear(backbone_dim + self.num_classes, 256), nn.ReLU(), nn.Linear(256, LINKED))
        self.after = nn.Linear(backbone_dim, LINKED)

    def _scores(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        before, after = _features(encoder, torch.cat([batch.frames, batch.next_frames])).chunk(2)
        actions = functional.one_hot(self.class_of[batch.actions], self.num_classes).to(before)
        predicted = functional.normalize(self.before(torch.cat([before, actions], dim=1)), dim=1)
        return predicted @ functional.normalize(self.after(after), dim=1).T / self.temperature

    def loss(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        """Cross-entropy of the true next frame among those of the batch (InfoNCE)."""
        scores = self._scores(encoder, batch)
        return functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))

    @torch.no_grad()
    def score(self, encoder: Encoder, batch: Transitions) -> float:
        """Accuracy of identifying the true next frame in the batch."""
        scores = self._scores(encoder, batch)
        return float((scores.argmax(dim=1) == torch.arange(len(scores), device=scores.device)).float().mean())

    def chance(self, frames: GameFrames, others: GameFrames, batch_size: int) -> float:
        """One in a batch."""
        return 1 / batch_size


class Segmentation(Objective):
    """Predict the label map at `DECODED` pixels a side. The only privileged objective."""

    measure = "balanced accuracy"
    needs_labels = True
    version = 2

    def build(self, backbone_dim: int) -> None:
        """A decoder with one channel a label."""
        self.decoder = _Decoder(backbone_dim, LABELS)

    def _labels(self, batch: Transitions) -> torch.Tensor:
        """Label maps at the smaller size: of the labels in a place the one with the fewest pixels in its map.

        So no small object is lost, the player least of all, which is often one of the smallest.
        """
        assert batch.labels is not None, "checked before training"
        labels = batch.labels.long().flatten(1)
        pixels = torch.zeros(len(labels), LABELS, dtype=torch.long, device=labels.device)
        pixels.scatter_add_(1, labels, torch.ones_like(labels))
        pixels[:, 0] = labels.shape[1] + 1  # empty is the last choice
        order = pixels.argsort(dim=1, descending=True, stable=True)
        rank = order.argsort(dim=1).gather(1, labels).view_as(batch.labels)
        rarest = functional.adaptive_max_pool2d(rank.float()[:, None], DECODED)[:, 0].long()
        return order.gather(1, rarest.flatten(1)).view_as(rarest)

    def loss(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        """Cross-entropy of the labels, balanced between pixels with and without an object."""
        labels = self._labels(batch)
        each = functional.cross_entropy(self.decoder(_features(encoder, batch.frames)), labels, reduction="none")
        there = labels > 0
        return 0.5 * (_mean_over(each, there) + _mean_over(each, ~there))

    @torch.no_grad()
    def score(self, encoder: Encoder, batch: Transitions) -> float:
        """Pixel accuracy, balanced between pixels with and without an object."""
        return self._balanced(self.decoder(_features(encoder, batch.frames)).argmax(dim=1), self._labels(batch))

    @staticmethod
    def _balanced(predicted: torch.Tensor, labels: torch.Tensor) -> float:
        right, there = (predicted == labels).float(), labels > 0
        return float(0.5 * (_mean_over(right, there) + _mean_over(right, ~there)))

    def chance(self, frames: GameFrames, others: GameFrames, batch_size: int) -> float:
        """Score of predicting each pixel's most frequent label, balanced in the same way."""
        counts = torch.zeros(LABELS, DECODED, DECODED)
        for batch in frames.batches(batch_size, 0):
            labels = self._labels(batch)
            counts.scatter_add_(0, labels, torch.ones(labels.shape))
        counts[0] *= counts[1:].sum() / counts[0].sum().clamp_min(1)
        usual = counts.argmax(dim=0)
        return float(np.mean([self._balanced(usual, self._labels(batch)) for batch in others.batches(batch_size, 0)]))


def _mean_over(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    return (values * chosen).sum() / chosen.sum().clamp_min(1)


OBJECTIVES: Mapping[str, type[Objective]] = MappingProxyType(
    {
        "autoencoding": Autoencoding,
        "inverse-dynamics": InverseDynamics,
        "slow-features": SlowFeatures,
        "predictive-coding": PredictiveCoding,
        "segmentation": Segmentation,
    }
)
"""Objectives by name."""
