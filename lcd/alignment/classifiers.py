"""Harmonizing an image classifier: training it with the neural harmonizer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import nn

from lcd.agents import TrainingDiverged
from lcd.agents.machine import keep_freed_memory
from lcd.agents.randomness import seeded
from lcd.alignment.agreement import Agreement, agreement
from lcd.alignment.harmonizer import harmonized_loss, resized
from lcd.alignment.importance import AT_ONCE, chosen, importance_maps, on_device
from lcd.alignment.references import ReferenceMaps, as_inputs
from lcd.io.settings import Count, Epochs, NotNegative, Number, Positive, Seed, settings


@settings
class Harmonization:
    """Settings of harmonizing a classifier.

    Attributes
    ----------
    weight
        Weight of the harmonization loss; 0 trains on the classes alone.
    epochs, batch_size, learning_rate, weight_decay
        Of AdamW.
    held_out
        Share of the images in the evaluation split.
    seed
        Seed of the split and of the order.
    """

    weight: NotNegative = 1.0
    epochs: Epochs = 5
    batch_size: Count = 16
    learning_rate: Positive = 1e-4
    weight_decay: NotNegative = 1e-5
    held_out: Annotated[Number, Field(gt=0, lt=1, description="a number between 0 and 1")] = 0.2
    seed: Seed = 0


def harmonize_classifier(
    network: nn.Module,
    references: ReferenceMaps,
    settings: Harmonization,
    *,
    device: str = "cpu",
    report: Callable[[str], None] = lambda line: None,
    keep: Callable[[pd.DataFrame], None] = lambda rows: None,
) -> pd.DataFrame:
    """Train a classifier in place, and evaluate it before training and after every epoch.

    Parameters
    ----------
    network : torch.nn.Module
        From images in [0, 1], shape (batch, 3, height, width), to logits.
    references : ReferenceMaps
        Images with maps, and their classes as targets. An image with a constant map contributes to the class loss only.
        Of dependent images, `ReferenceMaps.groups`, all are held out or none.
    settings : Harmonization
        Training settings.
    device : str
        Device of torch; the network stays there.
    report : callable
        Called with a line after every epoch.
    keep : callable
        Called with the table so far after every epoch, to write what an interruption must not lose.

    Returns
    -------
    pandas.DataFrame
        One row an epoch, the first before training: epoch, accuracy and alignment (mean Spearman correlation of the
        gradient map with the reference) on held-out images, undefined (number of these with a constant map, left out of
        the mean), and loss.

    Raises
    ------
    ValueError
        If the images have no classes, or one that the network does not have, or are too few.
    lcd.agents.TrainingDiverged
        If the loss is not finite.
    """
    if references.targets is None:
        raise ValueError("A classifier is harmonized on images with class labels: these have none.")
    keep_freed_memory()
    held, used = _split(references, settings)
    if min(len(held), len(used)) < 2:
        raise ValueError(f"{len(references)} images are too few for a training and an evaluation split.")
    network.to(device)
    classes = _outputs(network, references, device)
    if beyond := [int(target) for target in references.targets if not 0 <= target < classes]:
        raise ValueError(f"The class {beyond[0]} is not one of the network's {classes}, counted from 0.")
    images = torch.from_numpy(references.images).permute(0, 3, 1, 2)  # bytes, for floats would be four times as large
    maps = resized(torch.from_numpy(references.maps), images.shape[2:])
    targets = torch.from_numpy(references.targets)
    tokens = (maps.amax(dim=(1, 2)) > maps.amin(dim=(1, 2))).float()
    if not tokens.any():
        raise ValueError("Every map is constant, so there is nothing to align with: check the files.")
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    generator = torch.Generator().manual_seed(settings.seed)
    evaluated = partial(_evaluated, network, as_inputs(images[held]), maps[held], targets[held], device)
    rows = [{"epoch": 0, **evaluated(), "loss": float("nan")}]
    with seeded(settings.seed):
        for epoch in range(1, settings.epochs + 1):
            network.train()
            losses = []
            for part in used[torch.randperm(len(used), generator=generator)].split(settings.batch_size):
                optimizer.zero_grad()
                shown, *others = (column[part].to(device) for column in (images, targets, maps, tokens))
                loss, _ = harmonized_loss(network, as_inputs(shown), *others, weight=settings.weight)
                if not torch.isfinite(loss):
                    raise TrainingDiverged(
                        f"The harmonized loss is {float(loss)}: lower the learning rate or the weight."
                    )
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            found = evaluated()
            rows.append({"epoch": epoch, **found, "loss": float(np.mean(losses))})
            known = "" if np.isnan(found["alignment"]) else f", alignment {found['alignment']:.3f}"
            keep(pd.DataFrame(rows))
            report(f"epoch {epoch} of {settings.epochs}: accuracy {found['accuracy']:.3f}{known}")
    return pd.DataFrame(rows)


def _split(references: ReferenceMaps, settings: Harmonization) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers of the held-out images and of the others; dependent images are on the same side."""
    random = np.random.default_rng(settings.seed)
    order = random.permutation(len(references))
    count = round(settings.held_out * len(references))
    if references.groups is not None:
        groups, sizes = np.unique(references.groups, return_counts=True)
        drawn = random.permutation(len(groups))
        before = np.cumsum(sizes[drawn]) - sizes[drawn]
        held = np.isin(references.groups[order], groups[drawn[before < count]])
        order, count = np.concatenate([order[held], order[~held]]), int(held.sum())
    return torch.from_numpy(order[:count]), torch.from_numpy(order[count:])


def _outputs(network: nn.Module, references: ReferenceMaps, device: str) -> int:
    """Number of a network's classes."""
    network.eval()
    with torch.no_grad():
        image = references.first(1).inputs
        return network(image.to(device)).shape[1]


def _evaluated(
    network: nn.Module, images: torch.Tensor, maps: torch.Tensor, targets: torch.Tensor, device: str
) -> dict[str, float]:
    scores = on_device(network.eval(), device)
    right = torch.cat([chosen(scores, part) for part in images.split(AT_ONCE)]) == targets
    found = importance_maps(scores, images, targets)
    if not torch.isfinite(found).all():
        raise TrainingDiverged("The network's gradients are no longer finite: lower the learning rate or the weight.")
    aligned = Agreement.of(agreement(found.numpy(), maps.numpy()))
    return {"accuracy": float(right.float().mean()), "alignment": aligned.mean, "undefined": aligned.undefined}
