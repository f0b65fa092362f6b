"""Difficulty factors of the calibration games: perceptual ones and policy ones."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from lcd.io.settings import AS_FLOAT, Share, settings

PERCEPTUAL = ("clutter", "camouflage", "distractors", "change", "noise")
"""Factors that change the frame, and nothing in the label map of the player and its items."""

POLICY = ("horizon", "subgoals", "delay", "sparsity", "slip")
"""Factors that change the task or when rewards are paid, and not how a state is drawn."""


_Factor = Annotated[Share, AS_FLOAT]


@settings(called="The difficulty factor {}")
class DifficultyFactors:
    """Difficulty of a calibration game; each factor is a number from 0 (easiest) to 1.

    Attributes
    ----------
    clutter
        Share of the ground that is covered by objects shaped like items, in other colours.
    camouflage
        How close the colours of items are to that of the ground.
    distractors
        Number of moving distractors in the colours of items.
    change
        How far colours drift during an episode, as a share of the colour circle, and how bright the ground is, whose
        colour drifts too. At 1 only its shape identifies an item.
    noise
        Share of every pixel that is random in every frame.
    horizon
        Number of steps to the next item.
    subgoals
        Number of items to be fetched, in their order, for one reward.
    delay
        Steps from earning a reward to its payment.
    sparsity
        Number of rewards that are withheld and paid together.
    slip
        Probability that a move goes in a random direction.

    Raises
    ------
    ValueError
        If a factor is not a number from 0 to 1.
    """

    clutter: _Factor = 0.0
    camouflage: _Factor = 0.0
    distractors: _Factor = 0.0
    change: _Factor = 0.0
    noise: _Factor = 0.0
    horizon: _Factor = 0.0
    subgoals: _Factor = 0.0
    delay: _Factor = 0.0
    sparsity: _Factor = 0.0
    slip: _Factor = 0.0

    @property
    def nonzero(self) -> dict[str, float]:
        """The factors above 0."""
        return {name: value for name, value in asdict(self).items() if value}
