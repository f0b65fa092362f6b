"""Crafter is the game that its package makes: drawn faster, and the same each time."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pytest

from lcd.envs.external.crafter_game import CrafterGame
from lcd.envs.family import family_of, game_options

pytest.importorskip("crafter")
from crafter.engine import ItemView, LocalView


def test_its_version_names_the_package():
    options = game_options("Crafter")
    assert family_of(options).version(options) == f"crafter {version('crafter')}, creatures in order"


def walk(seed):
    """Straight to an end of the world, and then about until it is night."""
    draw = np.random.default_rng(seed)
    return [int(draw.integers(1, 5))] * 60 + draw.integers(17, size=340).tolist()


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_pictures_are_those_of_the_package(seed):
    game = CrafterGame()
    inner = game._game
    drawn = {
        "_local_view": LocalView(inner._world, inner._textures, inner._local_view._grid),
        "_item_view": ItemView(inner._textures, inner._item_view._grid),
    }
    game.reset(seed=seed)
    for step, action in enumerate(walk(seed)):
        if game.step(action)[2]:
            break
        ours = {name: getattr(inner, name) for name in drawn}
        before = inner._world.random.get_state()
        picture = inner.render()
        for views in (drawn, ours):
            inner._world.random.set_state(before)  # darkness is drawn by chance
            for name, view in views.items():
                setattr(inner, name, view)
            assert np.array_equal(inner.render(), picture), step
    assert step > 60


def test_the_same_seeds_and_actions_give_the_same_game():
    def play(seed):
        game, found = CrafterGame(), []
        game.reset(seed=seed)
        for action in walk(seed):
            picture, *paid, _ = game.step(action)
            found.append((picture.tobytes(), game.label_map().tobytes(), *paid))
            if paid[1]:
                game.reset(seed=seed + 100)
        return found

    assert [play(seed) == play(seed) for seed in range(4)] == [True] * 4
