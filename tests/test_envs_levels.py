"""Levels whose layout is that of another level, whatever their looks."""

from __future__ import annotations

import numpy as np
import pytest

from lcd.envs import ProcgenOptions
from lcd.envs.procgen.engine import Engine
from lcd.envs.procgen.levels import draw_layouts, layout_of, shared_levels


def test_layouts_of_a_level_are_equal_in_every_rendering_and_draw():
    plain = ProcgenOptions("coinrun", num_levels=5)
    drawn = draw_layouts(plain, 5, seed=1)
    assert sorted(drawn) == list(range(5))
    bare = ProcgenOptions("coinrun", num_levels=5, use_backgrounds=False, restrict_themes=True)
    assert draw_layouts(bare, 5, seed=2) == drawn


def test_another_place_of_one_object_is_another_layout():
    engine = Engine(ProcgenOptions("maze", num_levels=1), 1, 0)
    from lcd.envs.procgen.saved_state import SavedState

    state = engine.get_state(0)
    engine.close()
    moved, repainted = SavedState(state), SavedState(state)
    moved.entities["x"][0] += 1
    repainted.entities["image_theme"] += 1
    assert layout_of(repainted.to_bytes()) == layout_of(state)
    assert layout_of(moved.to_bytes()) != layout_of(state)


def test_shared_levels_are_counted():
    """Among 20 of maze's levels and 300 others: the same count by comparing every pair."""
    options = ProcgenOptions("maze", num_levels=20)
    found = shared_levels(options, 300)
    training, unseen = draw_layouts(options, 20), draw_layouts(options.unseen_levels(20), 300)
    assert min(unseen) >= 20
    pairs = np.array([[one == other for one in training.values()] for other in unseen.values()])
    assert found == (20, len(set(training.values())), 300, int(pairs.any(axis=1).sum()))
    with pytest.raises(ValueError, match="All levels of maze are training levels"):
        shared_levels(ProcgenOptions("maze"))
