"""MiniGrid's views are what MiniGrid's own wrapper draws, and what its grid holds."""

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("minigrid")

from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball
from minigrid.envs import EmptyEnv
from minigrid.utils.rendering import fill_coords, point_in_rect
from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper, ViewSizeWrapper

from lcd.envs.external.minigrid_views import LABELS, MiniGridViews, label_reader, with_pictures

GAMES = (
    "MiniGrid-DoorKey-6x6-v0",
    "MiniGrid-Dynamic-Obstacles-6x6-v0",
    "MiniGrid-LavaGapS5-v0",
    "MiniGrid-Fetch-8x8-N3-v0",
    "BabyAI-PutNextS5N2Carrying-v0",
    "BabyAI-UnlockPickup-v0",
)


@pytest.mark.parametrize("game", GAMES)
def test_pictures_are_those_of_minigrids_own_wrapper(game):
    theirs, ours = ImgObsWrapper(RGBImgPartialObsWrapper(gym.make(game))), MiniGridViews(gym.make(game))
    assert ours.observation_space.shape == theirs.observation_space.shape
    rng = np.random.default_rng(0)
    for seed in range(4):
        wanted, _ = theirs.reset(seed=seed)
        found, _ = ours.reset(seed=seed)
        for _ in range(50):
            assert np.array_equal(found, wanted)
            action = int(rng.integers(7))
            wanted, _, terminated, truncated, _ = theirs.step(action)
            found, *_ = ours.step(action)
            if terminated or truncated:
                break
        assert np.array_equal(found, wanted)


def test_labels_are_what_the_grid_holds():
    game = MiniGridViews(gym.make("MiniGrid-DoorKey-6x6-v0"))
    rng, seen = np.random.default_rng(0), set()
    for seed in range(20):
        game.reset(seed=seed)
        for _ in range(60):
            labels, (grid, visible) = game.label_map(), game.unwrapped.gen_obs_grid()
            for column, row in np.ndindex(visible.shape):
                thing, label = grid.get(column, row), LABELS[labels[row, column]]
                if not visible[column, row]:
                    assert label == "unseen"
                elif thing is None:
                    at_agent = (column, row) == (visible.shape[0] // 2, visible.shape[1] - 1)
                    assert label == ("agent" if at_agent else "empty")
                elif thing.type in ("wall", "goal"):
                    assert label == thing.type
                else:
                    assert label.startswith(f"{thing.color} {thing.type}")
                    states = {(True, False): "open", (False, False): "closed", (False, True): "locked"}
                    if thing.type == "door":
                        assert label.endswith(states[thing.is_open, thing.is_locked])
                seen.add(label)
            _, _, terminated, truncated, _ = game.step(int(rng.choice([0, 1, 2, 2, 3, 5])))
            if terminated or truncated:
                break
    assert {"wall", "agent", "empty", "unseen"} <= seen
    assert {label.partition(" ")[2] for label in seen} >= {"key", "door, locked"}


class White(Ball):
    def render(self, img):
        fill_coords(img, point_in_rect(0, 1, 0, 1), (255, 255, 255))


class Derived(EmptyEnv):
    """A game of a user's own with an object that looks unlike MiniGrid's."""

    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.put_obj(White("red"), 2, 1)


def test_own_objects_are_drawn_by_minigrids_own_wrapper(monkeypatch):
    monkeypatch.setattr(Grid, "tile_cache", {})  # which does not tell a ball from another that looks unlike it
    for make in (Derived, lambda: ViewSizeWrapper(gym.make(GAMES[0]), 5)):
        game = with_pictures(make())
        assert not isinstance(game, MiniGridViews)
        picture, _ = game.reset(seed=0)
        wanted = game.unwrapped.get_pov_render(8)
        assert np.array_equal(picture, wanted)
        assert label_reader(game)().shape == (picture.shape[0] // 8, picture.shape[1] // 8)
    seen = with_pictures(Derived())
    assert (seen.reset(seed=0)[0] >= 250).all(axis=-1).sum() > 30
    assert LABELS.index("red ball") in label_reader(seen)()


def test_pictures_stay_as_they_are():
    game = ImgObsWrapper(RGBImgPartialObsWrapper(gym.make(GAMES[0])))
    assert with_pictures(game) is game
    assert isinstance(with_pictures(gym.make(GAMES[0])), MiniGridViews)
