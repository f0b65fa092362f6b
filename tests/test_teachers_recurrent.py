"""The recurrent encoder samples whole cells, and learns paths that no single layer covers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from lcd.agents import EncoderPolicy, parse_encoder
from lcd.teachers.encoders.egocentric import PLAYER
from lcd.teachers.encoders.recurrent import RecurrentEncoder

LABELS = spaces.Box(0, 64, (64, 64), np.uint8)
WALL, GOAL = 9, 7


def drawn(cells):
    """A label map of 64 by 64 pixels, of square cells."""
    places = (np.arange(64) * len(cells)) // 64
    return torch.from_numpy(np.asarray(cells, np.uint8)[np.ix_(places, places)])


def test_every_cell_is_sampled_at_its_position():
    cells = np.arange(81).reshape(9, 9) % 60 + 2
    cells[4, 6] = PLAYER
    samples = RecurrentEncoder(LABELS, cells=9).images(drawn(cells)[None])
    assert samples.shape == (1, 4, 45, 45)
    blocks = samples[0].unfold(1, 5, 5).unfold(2, 5, 5)
    inside = blocks[..., 1:4, 1:4]  # samples near an edge may fall on the next cell
    assert torch.equal(inside, inside[..., :1, :1].expand_as(inside))
    player = blocks[3].flatten(2).mean(dim=2)
    assert player[4, 6] > 0.75
    assert player.sum() - player[4, 6] < 0.5


def corridors(count, cells, seed):
    """Rings of corridor that are closed off at a random place, the player opposite the goal: which way around?"""
    random = np.random.default_rng(seed)
    maps, ways = [], []
    inner = slice(2, cells - 2)
    for _ in range(count):
        level = np.full((cells, cells), WALL, np.uint8)
        level[1:-1, 1:-1] = 0
        level[inner, inner] = WALL
        level[1, cells // 2], level[-2, cells // 2] = GOAL, PLAYER
        left = bool(random.integers(2))
        level[random.integers(2, cells - 2), 1 if left else -2] = WALL
        maps.append(drawn(level))
        ways.append(int(left))
    return torch.stack(maps), torch.tensor(ways)


@pytest.mark.costly()
def test_a_detour_of_many_cells_is_learned_at_the_players_cell():
    torch.manual_seed(0)
    encoder = RecurrentEncoder(LABELS, cells=9, features_dim=16)
    head = torch.nn.Linear(16, 2)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 3e-3)
    maps, ways = corridors(64, 9, seed=0)
    for _ in range(360):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(encoder(maps)), ways).backward()
        optimizer.step()
    fresh, right = corridors(64, 9, seed=1)
    with torch.no_grad():
        assert (head(encoder(fresh)).argmax(dim=1) == right).float().mean() > 0.9


def test_its_name_says_how_many_cells_and_how_deep():
    assert parse_encoder("recurrent:9,32") == (RecurrentEncoder, {"cells": 9, "depth": 32})
    assert parse_encoder("recurrent:9,32,20") == (RecurrentEncoder, {"cells": 9, "depth": 32, "rounds": 20})
    with pytest.raises(ValueError, match="a number of cells, a depth and a number of rounds"):
        parse_encoder("recurrent:9,32,20,1")
    policy = EncoderPolicy(LABELS, spaces.Discrete(15), lambda _: 0.0, "recurrent:9")
    assert policy.log_probabilities(torch.zeros((2, 64, 64), dtype=torch.uint8)).shape == (2, 15)
    with pytest.raises(ValueError, match="label maps only"):
        RecurrentEncoder(spaces.Box(0, 255, (3, 64, 64), np.uint8))
