"""The initial policy of a teacher's training."""

from __future__ import annotations

from lcd.agents import EncoderPolicy
from lcd.agents.randomness import seeded
from lcd.envs.procgen.actions import action_classes
from lcd.envs.procgen.batch import ACTION_SPACE, observation_space


def untrained_policy(game: str, encoder: str, seed: int = 0) -> EncoderPolicy:
    """An untrained policy of the semantic view, over classes of a game's equivalent actions.

    Parameters
    ----------
    game, encoder
        Names.
    seed
        Of its weights; the global random generators are left as they are.
    """
    with seeded(seed):
        return EncoderPolicy(
            observation_space("semantic"), ACTION_SPACE, lambda _: 0.0, encoder, action_classes=action_classes(game)
        )
