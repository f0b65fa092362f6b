"""Fine-tuning an encoder to answer a question about images with yes or no."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lcd.agents import Encoder, TrainingDiverged
from lcd.agents.machine import keep_freed_memory
from lcd.agents.randomness import seeded
from lcd.io.settings import Count, Epochs, NotNegative, Positive, Seed, settings


@settings
class FineTuning:
    """Settings of fine-tuning.

    Attributes
    ----------
    epochs, batch_size, learning_rate, weight_decay
        Of AdamW, whose learning rate rises and falls in one cycle.
    seed
        Seed of the new layer and of the order.
    """

    epochs: Epochs = 10
    batch_size: Count = 64
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 1e-2
    seed: Seed = 0


def fine_tune(
    encoder: Encoder,
    observations: torch.Tensor,
    targets: NDArray[np.bool_],
    settings: FineTuning,
    *,
    device: str = "cpu",
    report: Callable[[int, int], None] = lambda done, of: None,
) -> nn.Module:
    """Train a copy of an encoder with a new linear layer, all weights of it.

    Parameters
    ----------
    encoder : Encoder
        Left as it is.
    observations : torch.Tensor, shape (n, 3, height, width) or (n, height, width), uint8
        Frames or label maps.
    targets : numpy.ndarray, shape (n,), bool
        The right answers.
    settings : FineTuning
        Training settings.
    device : str
        Where torch computes.
    report : callable
        Called with the number of finished epochs, and of all.

    Returns
    -------
    torch.nn.Module
        From observations to the logit of yes, shape (n, 1), in evaluation mode.

    Raises
    ------
    lcd.agents.TrainingDiverged
        If the loss is not finite.
    """
    keep_freed_memory()
    with seeded(settings.seed):
        tuned = copy.deepcopy(encoder)
        tuned.frozen = False
        network = nn.Sequential(tuned, nn.Linear(tuned.features_dim, 1)).requires_grad_().to(device)
        optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
        answers = torch.from_numpy(targets.astype(np.float32))
        generator = torch.Generator().manual_seed(settings.seed)
        batches = -(-len(answers) // settings.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, total_steps=settings.epochs * batches + 1
        )
        for epoch in range(settings.epochs):
            network.train()
            for part in torch.randperm(len(answers), generator=generator).split(settings.batch_size):
                optimizer.zero_grad(set_to_none=True)
                logits = network(observations[part].to(device))[:, 0]
                loss = nn.functional.binary_cross_entropy_with_logits(logits, answers[part].to(device))
                if not torch.isfinite(loss):
                    raise TrainingDiverged(f"The loss of fine-tuning is {float(loss)}: lower the learning rate.")
                loss.backward()
                optimizer.step()
                schedule.step()
            report(epoch + 1, settings.epochs)
    return network.eval()


@torch.no_grad()
def answers_of(network: nn.Module, observations: torch.Tensor, *, device: str = "cpu") -> NDArray[np.bool_]:
    """Answers of a network of `fine_tune`, shape (n,)."""
    logits = [network(part.to(device))[:, 0].float().cpu() for part in observations.split(256)]
    return (torch.cat(logits) > 0).numpy()
