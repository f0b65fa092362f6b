"""The egocentric encoder sees the same wherever the player is, and misses nothing small."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents import Egocentric
from agents.egocentric import OUTSIDE, PLAYER, _windows, _windows_in_memory, around_player
from envs import GAMES, NUM_LABELS, class_names

LABELS = spaces.Box(0, NUM_LABELS - 1, (64, 64), np.uint8)


def scene(row, column, *, empty=False):
    """A player of 4 by 4 pixels and, 10 rows below and 8 columns to the left of its corner, one pixel of something."""
    labels = torch.zeros(64, 64, dtype=torch.uint8)
    if not empty:
        labels[row : row + 4, column : column + 4] = PLAYER
    labels[row + 10, column - 8] = 7
    return labels


def test_the_player_is_in_the_middle_and_all_else_around_it():
    seen = around_player(torch.stack([scene(20, 20), scene(40, 32)]))
    assert seen.shape == (2, 64, 64)
    inside = torch.where(seen == OUTSIDE, 0, seen)
    assert torch.equal(inside[0], inside[1])
    assert (inside[0] == PLAYER).nonzero().float().mean(dim=0).tolist() == [31.5, 31.5]
    (other,) = (inside[0] == 7).nonzero().tolist()
    assert other == [31 + 5, 31 - 4]
    for place, row, column in ((0, 20, 20), (1, 40, 32)):
        shown = (seen[place] != OUTSIDE).nonzero()
        assert shown.min(dim=0).values.tolist() == [32 - (row + 2) // 2, 32 - (column + 2) // 2]
        assert (shown.max(dim=0).values - shown.min(dim=0).values).tolist() == [31, 31]


def test_without_a_player_the_map_stays_where_it_is():
    seen = around_player(scene(20, 20, empty=True)[None])[0]
    assert (seen == 7).nonzero().tolist() == [[16 + 15, 16 + 6]]


def test_features_do_not_depend_on_where_the_player_is():
    torch.manual_seed(0)
    encoder = Egocentric(LABELS, 32)
    walled = [torch.full((64, 64), OUTSIDE, dtype=torch.uint8) for _ in range(2)]
    for labels, corner in zip(walled, (10, 26), strict=True):
        labels[corner : corner + 28, corner : corner + 28] = scene(20, 20)[12:40, 8:36]
    with torch.no_grad():
        here, there = encoder(torch.stack(walled))
        other = encoder(scene(20, 24)[None])[0]
    assert torch.equal(here, there)
    assert not torch.allclose(here, other)


def test_windows_are_the_same_on_every_device():
    random = torch.Generator().manual_seed(0)
    maps = torch.randint(65, (6, 20, 24), dtype=torch.uint8, generator=random)
    tops, lefts = (torch.randint(size, (6,), generator=random) for size in (13, 9))
    assert torch.equal(_windows(maps, tops, lefts, 8, 16), _windows_in_memory(maps, tops, lefts, 8, 16))


def test_frames_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"^The encoder Egocentric reads label maps only"):
        Egocentric(spaces.Box(0, 255, (3, 64, 64), np.uint8))


def test_the_players_label_is_the_players_in_every_game():
    names = {game: class_names(game).get(PLAYER) for game in GAMES}
    assert {game for game, name in names.items() if name != "player"} == {"plunder"}
    assert names["plunder"] is None
