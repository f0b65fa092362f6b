"""Encoders to probe, by a run's folder, a policy's file or an encoder's name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from lcd.agents import Encoder, EncoderName, EncoderPolicy, import_encoder
from lcd.agents.randomness import seeded
from lcd.experiments.run import POLICY
from lcd.studies.policies import check_takes_colour, load_acting, names_policy, policy_file


@dataclass(frozen=True, eq=False)
class Probed:
    """An encoder to probe.

    Attributes
    ----------
    name
        Its name in the table.
    architecture
        Name of its architecture, which it shares with its controls.
    encoder
        In evaluation mode.
    size
        Height and width of its frames in pixels.
    is_trained
        Whether its weights are; else only copies with random weights are probed.
    is_named
        Whether it was named, and no policy: then only its backbone can have been trained.
    """

    name: str
    architecture: str
    encoder: Encoder
    size: tuple[int, int]
    is_trained: bool
    is_named: bool = False


def load_probed(model: str, trust: bool = False) -> Probed:
    """Load an encoder to probe.

    Parameters
    ----------
    model
        Folder of a run, file of a policy on frames, or the name of an encoder, see `lcd.agents.EncoderName`.
    trust
        As in `lcd.agents.load_policy`.

    Raises
    ------
    ValueError
        If there is no such encoder, or it does not take single colour images.
    """
    return _of_policy(model, trust) if names_policy(model) else _by_name(model)


def _by_name(model: str) -> Probed:
    given = import_encoder(model)
    name, frames = EncoderName.read(given), spaces.Box(0, 255, (3, 64, 64), np.uint8)
    with seeded(0):
        encoder = EncoderPolicy(frames, spaces.Discrete(2), lambda _: 0.0, given).features_extractor
    assert isinstance(encoder, Encoder)
    is_trained = name.weights is not None or name.comes_with_weights
    return Probed(model, name.architecture, encoder.eval(), (64, 64), is_trained, is_named=True)


def _of_policy(model: str, trust: bool) -> Probed:
    policy, _ = load_acting(model, trust)
    shape, encoder = policy.observation_space.shape or (), policy.features_extractor
    check_takes_colour(shape, model)
    assert isinstance(encoder, Encoder)
    architecture = EncoderName.read(policy.encoder_name).architecture if policy.encoder_name else "own encoder"
    place = policy_file(model).resolve()
    name = place.parent.name if place.name == POLICY else place.name
    return Probed(name, architecture, encoder, (shape[1], shape[2]), True)
