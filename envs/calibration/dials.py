"""The dials of the calibration games: what makes them hard to see, and what makes them hard to play."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

PERCEPTUAL = ("clutter", "camouflage", "distractors", "change", "noise")
"""Dials that change what the frame shows and nothing that the label map shows of the player and its items."""

POLICY = ("horizon", "subgoals", "delay", "sparsity", "slip")
"""Dials that change what must be done, or when it pays, and not how anything is drawn."""


@dataclass(frozen=True)
class Dials:
    """Difficulty of a calibration game, each dial a number from 0 (easiest) to 1.

    Attributes
    ----------
    clutter
        How much of the ground is covered by things that look like items in another colour.
    camouflage
        How close the colours of items are to the ground's.
    distractors
        How many things of no use move about in the colours of items.
    change
        How far colours drift during an episode, as a share of the whole colour circle, and how bright the ground is
        whose colour does the same, so that shape alone tells an item from other things.
    noise
        Share of every pixel that is random in every frame.
    horizon
        How many steps the way to the next item takes.
    subgoals
        How many items must be fetched, in their order, for one reward.
    delay
        How much later a reward is paid than it was earned.
    sparsity
        How many rewards are kept back to be paid at once.
    slip
        How often a move goes in a random direction.

    Raises
    ------
    ValueError
        If a dial is not a number from 0 to 1.
    """

    clutter: float = 0.0
    camouflage: float = 0.0
    distractors: float = 0.0
    change: float = 0.0
    noise: float = 0.0
    horizon: float = 0.0
    subgoals: float = 0.0
    delay: float = 0.0
    sparsity: float = 0.0
    slip: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"The dial {field.name} goes from 0 to 1, not to {value!r}.")
            object.__setattr__(self, field.name, float(value) + 0.0)  # so that 1 and 1.0, 0 and -0 are one setting

    @property
    def turned(self) -> dict[str, float]:
        """The dials that are not at 0."""
        return {name: value for name, value in asdict(self).items() if value}
