"""What an eye can learn from a game's own frames: one small objective each, with what it needs beside the eye."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lcd.agents import Encoder
from lcd.envs import NUM_LABELS
from lcd.envs.procgen.actions import ActionClasses
from lcd.pretraining.frames import GameFrames, Transitions

DECODED = 32
"""Side of the images and label maps that are decoded, of frames of any size: half of that of Procgen's."""

SLOW, LINKED = 32, 128
"""Number of slow features, and of the numbers in which a step's two sides are compared."""


class Objective(nn.Module):
    """Something to learn from steps of a game, with an eye.

    Parameters
    ----------
    backbone_dim : int
        Numbers that the eye gives for a frame.
    classes : tuple of tuple of int
        Groups of actions that do the same in the game.
    """

    measure = "loss"
    """What `score` gives."""

    needs_labels = False
    """Whether it is learned from label maps."""

    def __init__(self, backbone_dim: int, classes: ActionClasses) -> None:
        super().__init__()
        class_of = torch.zeros(sum(len(members) for members in classes), dtype=torch.int64)
        for number, members in enumerate(classes):
            class_of[list(members)] = number
        self.register_buffer("class_of", class_of, persistent=False)
        self.num_classes = len(classes)
        self.build(backbone_dim)

    class_of: torch.Tensor

    def build(self, backbone_dim: int) -> None:
        """Make what is trained beside the eye."""

    def loss(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        """What training lowers, a scalar."""
        raise NotImplementedError

    @torch.no_grad()
    def score(self, encoder: Encoder, batch: Transitions) -> float:
        """How well it is done, as `measure` names it; by default the loss."""
        return float(self.loss(encoder, batch))

    def chance(self, frames: GameFrames, others: GameFrames, batch_size: int) -> float:
        """The best score of an eye that sees nothing.

        Parameters
        ----------
        frames, others : GameFrames
            What it learned on, and what it is examined on.
        batch_size : int
            Steps that are examined at once.
        """
        raise NotImplementedError


def _seen(encoder: Encoder, frames: torch.Tensor) -> torch.Tensor:
    return encoder.backbone(encoder.images(frames))


class _Decoder(nn.Sequential):
    """From what is seen to images of `DECODED` pixels a side."""

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
    """Draw the frame again, at `DECODED` pixels a side, from what is seen of it; the mean squared error."""

    measure = "squared error"

    def build(self, backbone_dim: int) -> None:
        """A decoder."""
        self.decoder = _Decoder(backbone_dim, 3)

    def loss(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        """Squared error of the frame at its smaller size."""
        return functional.mse_loss(self.decoder(_seen(encoder, batch.frames)), self._target(batch))

    @staticmethod
    def _target(batch: Transitions) -> torch.Tensor:
        return functional.interpolate(batch.frames.float() / 255, DECODED, mode="area")

    def chance(self, frames: GameFrames, others: GameFrames, batch_size: int) -> float:
        """The error of the mean frame."""
        mean = torch.stack([self._target(batch).mean(dim=0) for batch in frames.batches(batch_size, 0)]).mean(dim=0)
        errors = [(self._target(batch) - mean).square().mean() for batch in others.batches(batch_size, 0)]
        return float(torch.stack(errors).mean())


class InverseDynamics(Objective):
    """Tell which action led from a frame to the next; the agent's version of inverting the cause of what it sees.

    Pathak, D. et al. (2017), "Curiosity-driven exploration by self-supervised prediction", arXiv:1705.05363. Actions
    that do the same are one.
    """

    measure = "accuracy"

    def build(self, backbone_dim: int) -> None:
        """A small network on what is seen, and on what has changed, brought to the same size: it is little."""
        self.sizes = nn.ModuleList([nn.LayerNorm(backbone_dim), nn.LayerNorm(backbone_dim)])
        self.head = nn.Sequential(nn.Linear(2 * backbone_dim, 256), nn.ReLU(), nn.Linear(256, self.num_classes))

    def _logits(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        both = torch.cat([batch.frames, batch.next_frames])
        before, after = _seen(encoder, both).chunk(2)
        parts = (norm(part) for norm, part in zip(self.sizes, (before, after - before), strict=True))
        return self.head(torch.cat(list(parts), dim=1))

    def loss(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        """Cross-entropy of the action's class."""
        return functional.cross_entropy(self._logits(encoder, batch), self.class_of[batch.actions])

    @torch.no_grad()
    def score(self, encoder: Encoder, batch: Transitions) -> float:
        """Share of the steps whose action is told."""
        right = self._logits(encoder, batch).argmax(dim=1) == self.class_of[batch.actions]
        return float(right.float().mean())

    def chance(self, frames: GameFrames, others: GameFrames, batch_size: int) -> float:
        """The share of the class that is taken most."""
        actions = torch.from_numpy(others.actions[others.goes_on])
        return float(self.class_of[actions].bincount().max() / len(actions))


class SlowFeatures(Objective):
    """Find what changes slowly: features of unit variance, none like another, that differ little from step to step.

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
        return self.head(_seen(encoder, frames))

    def loss(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        """Mean squared change, and how far the features' covariance is from the identity."""
        before, after = self.features(encoder, torch.cat([batch.frames, batch.next_frames])).chunk(2)
        return slow_loss(before, after, self.penalty)

    @torch.no_grad()
    def score(self, encoder: Encoder, batch: Transitions) -> float:
        """See `slowness`."""
        before, after = self.features(encoder, torch.cat([batch.frames, batch.next_frames])).chunk(2)
        return slowness(before, after)

    def chance(self, frames: GameFrames, others: GameFrames, batch_size: int) -> float:
        """The slowness of noise."""
        return 1.0


def slowness(before: torch.Tensor, after: torch.Tensor) -> float:
    """How slowly features change: 0 never, 1 as at random.

    The mean squared change as a share of twice the variance, over as many uncorrelated directions as there are
    features. One along which nothing varies (less than a hundredth of the variance that is asked for) tells nothing
    and counts as 1, so that constant features, or the same one many times, are not taken for slow ones.

    Parameters
    ----------
    before, after : torch.Tensor, shape (batch, features)
        Features of frames and of the frames that follow them.
    """
    variances, directions = torch.linalg.eigh(torch.cov(before.double().T))
    told = variances > 0.01
    changes = ((after - before).double() @ directions[:, told]).square().mean(dim=0) / (2 * variances[told])
    return float((changes.sum() + (~told).sum()) / len(variances))


def slow_loss(before: torch.Tensor, after: torch.Tensor, penalty: float = 1.0) -> torch.Tensor:
    """Slowness of features, and how far they are from uncorrelated ones of unit variance.

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
    """Foretell what will be seen next, from what is seen and the action, among what is seen next of other steps.

    Van den Oord, A. et al. (2018), "Representation learning with contrastive predictive coding", arXiv:1807.03748:
    telling the true successor from others keeps what is seen from becoming nothing, which would be easy to foretell.
    """

    measure = "accuracy"
    temperature = 0.1

    def build(self, backbone_dim: int) -> None:
        """Maps of both sides of a step into a common space."""
        self.before = nn.Sequential(nn.Linear(backbone_dim + self.num_classes, 256), nn.ReLU(), nn.Linear(256, LINKED))
        self.after = nn.Linear(backbone_dim, LINKED)

    def _scores(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        before, after = _seen(encoder, torch.cat([batch.frames, batch.next_frames])).chunk(2)
        actions = functional.one_hot(self.class_of[batch.actions], self.num_classes).to(before)
        foretold = functional.normalize(self.before(torch.cat([before, actions], dim=1)), dim=1)
        return foretold @ functional.normalize(self.after(after), dim=1).T / self.temperature

    def loss(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        """Cross-entropy of the true successor among those of the batch."""
        scores = self._scores(encoder, batch)
        return functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))

    @torch.no_grad()
    def score(self, encoder: Encoder, batch: Transitions) -> float:
        """Share of the steps whose true successor is found among those of the batch."""
        scores = self._scores(encoder, batch)
        return float((scores.argmax(dim=1) == torch.arange(len(scores), device=scores.device)).float().mean())

    def chance(self, frames: GameFrames, others: GameFrames, batch_size: int) -> float:
        """One in a batch."""
        return 1 / batch_size


class Segmentation(Objective):
    """Tell what is where: the label map at `DECODED` pixels a side. The only objective that is privileged."""

    measure = "balanced accuracy"
    needs_labels = True

    def build(self, backbone_dim: int) -> None:
        """A decoder with a channel a label."""
        self.decoder = _Decoder(backbone_dim, NUM_LABELS)

    def _labels(self, batch: Transitions) -> torch.Tensor:
        """Label maps at their smaller size; of pixels that become one the largest label, so that nothing gets lost."""
        assert batch.labels is not None, "checked before training"
        return functional.adaptive_max_pool2d(batch.labels.float()[:, None], DECODED)[:, 0].long()

    def loss(self, encoder: Encoder, batch: Transitions) -> torch.Tensor:
        """Cross-entropy of the labels; half of it for pixels on which there is something, which may be few."""
        labels = self._labels(batch)
        each = functional.cross_entropy(self.decoder(_seen(encoder, batch.frames)), labels, reduction="none")
        there = labels > 0
        return 0.5 * (_mean_over(each, there) + _mean_over(each, ~there))

    @torch.no_grad()
    def score(self, encoder: Encoder, batch: Transitions) -> float:
        """Share of the pixels whose label is told, of those with something on them and of the others by halves."""
        return self._balanced(self.decoder(_seen(encoder, batch.frames)).argmax(dim=1), self._labels(batch))

    @staticmethod
    def _balanced(told: torch.Tensor, labels: torch.Tensor) -> float:
        right, there = (told == labels).float(), labels > 0
        return float(0.5 * (_mean_over(right, there) + _mean_over(right, ~there)))

    def chance(self, frames: GameFrames, others: GameFrames, batch_size: int) -> float:
        """The score of telling at every pixel what is there most often, as the halves weigh it."""
        counts = torch.zeros(NUM_LABELS, DECODED, DECODED)
        for batch in frames.batches(batch_size, 0):
            counts += functional.one_hot(self._labels(batch), NUM_LABELS).sum(dim=0).movedim(-1, 0)
        counts[0] *= counts[1:].sum() / counts[0].sum().clamp_min(1)
        told = counts.argmax(dim=0)
        return float(np.mean([self._balanced(told, self._labels(batch)) for batch in others.batches(batch_size, 0)]))


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
