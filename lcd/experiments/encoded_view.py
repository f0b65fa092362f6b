"""A privileged view for games that offer none: the features that a frozen encoder computes from each frame.

The encoder is that of an expert, trained longer than any cell. Random weights, and an encoder after a short training,
are the controls, see `lcd.studies.controls`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import InstanceOf, model_validator
from stable_baselines3.common.vec_env import VecEnv

from lcd.agents import EncoderName, EncoderPolicy, load_policy
from lcd.agents.encoders.pretrained import needs_hub
from lcd.agents.encoders.registry import names_a_class
from lcd.agents.randomness import seeded
from lcd.agents.rollout import channels_first
from lcd.envs.family import (
    ActionClasses,
    GameOptions,
    family_of,
    make_vec_env,
    observation_space,
    options_from_record,
    policy_spaces,
)
from lcd.envs.views import BOTH, PIXELS, SEMANTIC, View, ViewVecEnv
from lcd.experiments.settings import made_by_a_run
from lcd.io.limits import short
from lcd.io.settings import Text, settings
from lcd.measurement.scores import Normalisation

FRAMES_AT_ONCE = 256
"""Frames that are encoded in one batch."""

_IDENTITY = re.compile(r"[0-9a-f]{12}|[0-9a-f]{64}")
"""Of a run, or of a file."""

_FILES: dict[str, Path] = {}


def locate(files: Mapping[str, Path]) -> None:
    """Say where the policies lie whose encoders are used, by identity of their run or checksum of their file."""
    _FILES.update(files)


@settings
class EncodedOptions:
    """A game whose privileged view is the features that a frozen encoder computes from its frame.

    Attributes
    ----------
    base
        The game.
    encoder
        Name of the encoder, see `lcd.agents.EncoderName`.
    made_by
        Identity of the run that trained the encoder, or checksum of the policy that holds it; None for random weights.

    Raises
    ------
    ValueError
        If the encoder is not a plain architecture, or `made_by` is neither.
    """

    family: ClassVar[str] = "encoded"

    base: InstanceOf[GameOptions]
    encoder: Text
    made_by: Text | None = None

    @model_validator(mode="after")
    def _check(self) -> EncodedOptions:
        if any(sign in self.encoder for sign in "@+") or names_a_class(self.encoder):
            raise ValueError(
                f"The encoder of a view is a plain architecture, such as nature, not {short(self.encoder)}."
            )
        if self.made_by is not None and _IDENTITY.fullmatch(self.made_by) is None:
            raise ValueError(f"The encoder of a view is made by a run or in a file, not by {short(self.made_by)}.")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """What must be there first, see `lcd.experiments.settings.RunSettings.needs`."""
        return () if self.made_by is None else (self.made_by,)

    @property
    def game(self) -> str:
        """Name of the game."""
        return self.base.game

    @property
    def num_levels(self) -> int:
        """Number of levels, 0 for all."""
        return self.base.num_levels

    @property
    def start_level(self) -> int:
        """First of them."""
        return self.base.start_level

    @property
    def label(self) -> str:
        """Name of the game with the encoder."""
        return f"{self.base.label}-encoder-{'random' if self.made_by is None else self.made_by[:6]}"

    def training_levels(self, num_levels: int) -> EncodedOptions:
        """The same game on its first levels."""
        return replace(self, base=self.base.training_levels(num_levels))

    def unseen_levels(self, num_training_levels: int) -> EncodedOptions:
        """The same game on all other levels."""
        return replace(self, base=self.base.unseen_levels(num_training_levels))

    def relevant_to(self, view: str, learner: str) -> EncodedOptions:
        """The same game as its frames depend on it, for these are encoded."""
        return replace(self, base=self.base.relevant_to(PIXELS.name, learner))

    def as_record(self) -> dict[str, Any]:
        """Entries of a run's record: those of the game, and family, view_encoder and view_made_by."""
        entries = {"family": self.family, "view_encoder": self.encoder, "view_made_by": self.made_by}
        return self.base.as_record() | entries


_ENTRIES = {"family", "view_encoder", "view_made_by"}


@cache
def _policy(
    frames: tuple[int, ...], actions: int, encoder: str, made_by: str | None, file: Path | None
) -> EncoderPolicy:
    """The policy whose encoder is used, from a file that a run wrote or a user named; with random weights without."""
    if file is not None:
        assert made_by is not None
        made_here = made_by_a_run(file, made_by, "The policy")
        fetched = made_here and needs_hub(EncoderName.read(encoder).architecture)  # as the run that made it did
        policy, _ = load_policy(file, trust=fetched)
    else:
        with seeded(0):
            space, fetched = spaces.Box(0, 255, frames, np.uint8), EncoderName.read(encoder).comes_with_weights
            arguments = {"pretrained": False} if fetched else {}
            policy = EncoderPolicy(
                space, spaces.Discrete(actions), lambda left: 0.0, encoder=encoder, encoder_arguments=arguments
            )
    policy.mixed_precision = False  # so that the view is the same wherever it is computed
    policy.set_training_mode(False)
    return policy


class _Encode:
    """Encodes batches of frames, (n, height, width, channels) bytes to (n, features) numbers."""

    def __init__(self, options: EncodedOptions) -> None:
        file = None
        if options.made_by is not None:
            if options.made_by not in _FILES:
                raise ValueError(
                    f"The view of {options.game} is computed by the encoder of {options.made_by}, which is not there: "
                    "give the folder of a run in its store."
                )
            file = _FILES[options.made_by]
        frames, actions = policy_spaces(options.base, PIXELS.name)
        self._policy = _policy(frames.shape or (), int(actions.n), options.encoder, options.made_by, file)

    @torch.no_grad()
    def __call__(self, frames: NDArray[Any]) -> NDArray[Any]:
        parts = channels_first(torch.as_tensor(frames)).split(FRAMES_AT_ONCE)
        features = [self._policy.extract_features(part).float() for part in parts]
        return np.asarray(torch.cat(features).numpy())


class EncodedFamily:
    """Games in the view of a frozen encoder, see `lcd.envs.family.GameFamily`; all else is as in their own family."""

    name = EncodedOptions.family
    games: Mapping[str, str] = {}
    views: tuple[str, ...] = (PIXELS.name, SEMANTIC.name)

    def find(self, game: str) -> str | None:
        """None: a game is named by its own family."""
        return None

    def options(self, game: str, **settings: Any) -> EncodedOptions:
        """Never: `lcd.experiments.plan.plan_game` makes them.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(f"{game} is no game in the view of an encoder: name it by itself.")

    def full_name(self, options: EncodedOptions) -> str:
        """The name of the game beneath."""
        return family_of(options.base).full_name(options.base)

    def usual_options(self, game: str) -> tuple[EncodedOptions, ...]:
        """None."""
        return ()

    def from_record(self, record: Mapping[str, Any]) -> tuple[EncodedOptions, set[str]]:
        """Options from a run's record."""
        base, described = options_from_record({key: value for key, value in record.items() if key not in _ENTRIES})
        return EncodedOptions(base, record["view_encoder"], record["view_made_by"]), described | _ENTRIES

    def vec_env(self, options: EncodedOptions, num_envs: int, view: str, seed: int = 0, num_threads: int = 0) -> VecEnv:
        """A batch of games whose frames are encoded on a CPU."""
        games = make_vec_env(options.base, num_envs, PIXELS.name, seed, num_threads)
        if view == PIXELS.name:
            return games
        space = self.observation_space(options, SEMANTIC.name)
        encoded = View(
            SEMANTIC.name, "vector", "what the encoder loses", base=PIXELS.name, transform=_Encode(options), space=space
        )
        return ViewVecEnv(games, [PIXELS, encoded] if view == BOTH else [encoded])

    def observation_space(self, options: EncodedOptions, view: str) -> spaces.Space:
        """Of one game."""
        pixels = observation_space(options.base, PIXELS.name)
        if view == PIXELS.name:
            return pixels
        frames, actions = policy_spaces(options.base, PIXELS.name)
        length = _policy(frames.shape or (), int(actions.n), options.encoder, None, None).features_dim
        encoded = spaces.Box(-np.inf, np.inf, (length,), np.float32)
        return spaces.Dict({PIXELS.name: pixels, SEMANTIC.name: encoded}) if view == BOTH else encoded

    def action_space(self, options: EncodedOptions) -> spaces.Discrete:
        """That of the game."""
        return family_of(options.base).action_space(options.base)

    def action_classes(self, options: EncodedOptions) -> ActionClasses:
        """Those of the game."""
        return family_of(options.base).action_classes(options.base)

    def action_names(self, options: EncodedOptions) -> Sequence[str]:
        """Those of the game."""
        return family_of(options.base).action_names(options.base)

    def label_names(self, options: EncodedOptions) -> Mapping[int, str]:
        """None: the view is a vector."""
        return {}

    def relevant_labels(self, options: EncodedOptions) -> frozenset[int]:
        """None: the view is a vector."""
        return frozenset()

    def player_labels(self, options: EncodedOptions) -> frozenset[int]:
        """None: the view is a vector."""
        return frozenset()

    def appearances(self, options: EncodedOptions) -> Mapping[str, EncodedOptions]:
        """Those of the game."""
        others = family_of(options.base).appearances(options.base)
        return {name: replace(options, base=base) for name, base in others.items()}

    def version(self, options: EncodedOptions) -> str | None:
        """That of the game."""
        return family_of(options.base).version(options.base)

    def normalisation(self, options: EncodedOptions) -> Normalisation | None:
        """That of the game."""
        return family_of(options.base).normalisation(options.base)

    def levels_differ(self, options: EncodedOptions) -> bool:
        """Those of the game."""
        return family_of(options.base).levels_differ(options.base)

    def has_expert(self, options: EncodedOptions) -> bool:
        """Never: an optimal policy acts on the game's own privileged view."""
        return False

    def expert(self, options: EncodedOptions) -> None:
        """None, see `has_expert`."""
        return


ENCODED = EncodedFamily()
