"""The policy that becomes a teacher."""

from __future__ import annotations

import torch

from lcd.agents import EncoderPolicy
from lcd.envs.procgen.actions import action_classes
from lcd.envs.procgen.batch import ACTION_SPACE, observation_space


def untaught(game: str, encoder: str, seed: int = 0) -> EncoderPolicy:
    """A policy of the semantic view that knows which of a game's actions do the same, and nothing else.

    Parameters
    ----------
    game, encoder
        Names.
    seed
        Of its weights; no generator that others use is touched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EncoderPolicy(
            observation_space("semantic"), ACTION_SPACE, lambda _: 0.0, encoder, action_classes=action_classes(game)
        )
