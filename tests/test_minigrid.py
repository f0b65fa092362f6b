"""MiniGrid's views are what MiniGrid's own wrapper draws, and what its grid holds."""

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("minigrid")

from minigrid.wrappers import FullyObsWrapper, ImgObsWrapper, RGBImgPartialObsWrapper

from lcd.envs.external.minigrid_views import LABELS, MiniGridViews, shows_codes

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


def test_games_with_other_observations_keep_them():
    assert shows_codes(gym.make(GAMES[0]))
    for wrapper in (FullyObsWrapper, RGBImgPartialObsWrapper):
        assert not shows_codes(wrapper(gym.make(GAMES[0])))
