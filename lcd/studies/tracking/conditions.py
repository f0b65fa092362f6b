"""Conditions of the tracking study: what is trained in which game of Tracker, and what it is tested on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import numpy as np
from gymnasium import spaces
from pydantic import AfterValidator, Field

from lcd.envs.calibration.batch import NUM_LABELS
from lcd.envs.calibration.options import TrackerOptions
from lcd.envs.calibration.tracker import SIDE
from lcd.io.settings import AS_FLOAT, Seed, Share, Steps, Text, Whole, settings

VERSION = 2
"""Raised when training or measuring changes, so that old rows are not mixed with new ones."""

TRAINING_LEVELS, UNSEEN_LEVELS = (0, 20_000), (1_000_000, 20_000)
"""First level and number of levels."""

HELD_OUT = ("colours", "shapes", "textures")
"""What a test may show otherwise than training did."""

TESTS = ("seen", *HELD_OUT, "all")
"""Tests of a trained agent on unseen levels: as in training, with one thing held out, and with all of them."""


STACKED = 4
"""Frames that a network with stacked frames sees."""


def _known(name: str) -> str:
    try:
        from lcd.agents.memory.networks import check_network
    except ImportError as error:
        raise ValueError(
            f"Agents with a memory need a package that is not installed ({error}): pip install "
            "'learning-challenge-diagnosticator[recurrent]'."
        ) from None
    check_network(name)
    return name


def check_takes(network: str, view: str) -> None:
    """Check before training that a network takes a view of the game.

    Raises
    ------
    ValueError
        If it does not.
    """
    from lcd.agents.memory.networks import build_network

    frames = 3 * (STACKED if network.startswith("stacked=") else 1)
    shape, highest = ((frames, SIDE, SIDE), 255) if view == "pixels" else ((SIDE, SIDE), NUM_LABELS - 1)
    build_network(network, spaces.Box(0, highest, shape, np.uint8))


@settings
class Condition:
    """One agent.

    Attributes
    ----------
    network
        See `lcd.agents.memory.networks.build_network`.
    learner
        ``"reward"`` or ``"imitation"``.
    view
        ``"pixels"``, or ``"semantic"``, whose label maps name the target: what is left is to follow it.
    distractors, change
        See `lcd.envs.calibration.options.TrackerOptions`.
    steps
        Environment steps.
    evaluations
        Number of evaluations along the training, at even distances.
    seed
        Of weights, levels and actions.
    """

    network: Annotated[Text, AfterValidator(_known)]
    learner: Literal["reward", "imitation"] = "imitation"
    view: Literal["pixels", "semantic"] = "pixels"
    distractors: Annotated[Whole, Field(ge=0, le=15, description="a whole number from 0 to 15")] = 5
    change: Annotated[Share, AS_FLOAT] = 1.0
    steps: Steps = 500_000
    evaluations: Annotated[Whole, Field(ge=1, le=100)] = 4
    seed: Seed = 0

    @property
    def identity(self) -> str:
        """Checksum of what decides the result, for names of files."""
        text = json.dumps([VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """What is trained, in words."""
        return (
            f"{self.network}, {self.learner} from {self.view}, {self.distractors} distractors, change {self.change:g}, "
            f"seed {self.seed}"
        )

    def training_game(self) -> TrackerOptions:
        """Options of the games that train."""
        return TrackerOptions(
            self.distractors,
            self.change,
            textures="seen",
            start_level=TRAINING_LEVELS[0],
            num_levels=TRAINING_LEVELS[1],
        )

    def test_game(self, test: str) -> TrackerOptions:
        """Options of the games of one of `TESTS`."""
        unseen = replace(self.training_game(), start_level=UNSEEN_LEVELS[0], num_levels=UNSEEN_LEVELS[1])
        held_out = HELD_OUT if test == "all" else tuple(name for name in HELD_OUT if name == test)
        changes: dict[str, Any] = dict.fromkeys(held_out, "held-out")
        return replace(unseen, **changes)
