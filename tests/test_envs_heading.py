"""The painted front of the player against the angle in Procgen's saved state."""

from __future__ import annotations

import numpy as np
import pytest

from lcd.envs import ProcgenBatch, ProcgenOptions, class_names
from lcd.envs.procgen.saved_state import SavedState


def true_direction(game, agent):
    """Where the player's sprite points on the screen: right and down."""
    if game == "ninja":
        return np.array([-1.0 if agent["is_reflected"] else 1.0, 0.0])
    angle = float(agent["rotation"])
    return np.array([np.sin(angle), -np.cos(angle)] if game == "caveflyer" else [np.cos(angle), np.sin(angle)])


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("game", ["caveflyer", "dodgeball", "ninja"])
def test_the_heading_followed_from_actions_is_the_games_own(game, sequential):
    batch = ProcgenBatch(ProcgenOptions(game, use_sequential_levels=sequential), 16, "semantic", seed=2)
    engine = batch._engines[0]
    rng = np.random.default_rng(0)
    ends = 0
    for step in range(400):
        if step == 200:
            batch.restart()
        ends += int(batch.step(rng.integers(0, 15, 16)).terminated.sum())
        if step % 8 == 0 or step in (200, 201):
            right, down = engine._heading.directions()
            for index in range(16):
                agent = SavedState(engine.get_state(index)).entities[0]
                assert agent["type"] == 0
                np.testing.assert_allclose([right[index], down[index]], true_direction(game, agent), atol=1e-6)
                if game == "caveflyer":
                    assert engine._heading.rotation[index] == agent["rotation"]
    assert ends > 0


@pytest.mark.parametrize("mode", ["easy", "hard"])
@pytest.mark.parametrize("game", ["caveflyer", "dodgeball", "ninja"])
def test_the_front_lies_ahead_of_the_rest(game, mode):
    batch = ProcgenBatch(ProcgenOptions(game, distribution_mode=mode), 16, "semantic", seed=2)
    names = class_names(game)
    front = next(label for label, name in names.items() if name == "player front")
    rest = [label for label, name in names.items() if name in ("player", "player walking", "player jumping")]
    rng = np.random.default_rng(0)
    for _ in range(100):
        labels = batch.step(rng.integers(0, 15, 16)).observations
        right, down = batch._engines[0]._heading.directions()
        for index in range(16):
            fore = np.argwhere(labels[index] == front)
            aft = np.argwhere(np.isin(labels[index], rest))
            assert 0.15 <= len(fore) / (len(fore) + len(aft)) <= 0.5
            assert (fore.mean(axis=0) - aft.mean(axis=0)) @ [down[index], right[index]] > 0.9
