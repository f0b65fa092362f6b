"""Egocentric encoders are invariant to the player's position, and keep small objects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from lcd.envs import GAMES, NUM_LABELS, ProcgenBatch, ProcgenOptions, class_names
from lcd.envs.procgen.saved_state import SavedState
from lcd.teachers.encoders.egocentric import (
    OUTSIDE,
    PLAYER,
    SHIPS,
    SPARED,
    TARGET,
    Egocentric,
    NearEgocentric,
    _windows,
    _windows_in_memory,
    around_player,
    ships_by_role,
)

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


def test_at_full_resolution_what_is_near_keeps_its_size():
    seen = NearEgocentric.arranged(torch.stack([scene(20, 20), scene(40, 32)]))
    assert seen.shape == (2, 64, 64)
    for place in seen:
        assert (place == PLAYER).nonzero().float().mean(dim=0).tolist() == [31.5, 31.5]
        assert (place == PLAYER).sum() == 16
        assert (place == 7).nonzero().tolist() == [[40, 22]]


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


def test_plunders_ships_are_told_by_their_part():
    names = class_names("plunder")
    assert {label for label, name in names.items() if name.startswith("ship ")} == set(SHIPS)
    batch = ProcgenBatch(ProcgenOptions("plunder"), 16, "semantic", seed=3)
    random = np.random.default_rng(0)
    for _ in range(80):
        labels = batch.step(random.integers(15, size=16).astype(np.int32)).observations
    seen = torch.as_tensor(labels)
    parts = ships_by_role(seen)
    others = ~torch.isin(seen, torch.tensor(SHIPS))
    assert torch.equal(seen[others], parts[others])
    compared = []
    states = [SavedState(batch.saved_state(index)) for index in range(16)]
    for state, map_ in zip(states, parts, strict=True):
        player = state.entities[state.entities["type"] == 0][0]
        rows, columns = (map_ == PLAYER).nonzero(as_tuple=True)
        scale = 64 / 20
        assert abs(float(columns.float().mean()) + 0.5 - player["x"] * scale) <= 2
        assert abs(63.5 - float(rows.float().mean()) - player["y"] * scale) <= 2
        targets = state.own_lists(after=1, count=4)[1]
        ships = state.entities[(state.entities["image_type"] == 7) & (state.entities["y"] > 6)]
        for ship in ships:
            column, row = int(ship["x"] * scale), 63 - int(ship["y"] * scale)
            if 1 < column < 62 and int(map_[row, column]) in (TARGET, SPARED):  # an explosion may cover it
                compared.append((int(map_[row, column]), TARGET if targets[ship["image_theme"]] else SPARED))
    batch.close()
    found, true = np.array(compared).T
    assert (found == true).all()
    assert set(true.tolist()) == {TARGET, SPARED}
