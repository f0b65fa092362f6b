"""Reachability features of chaser's teacher, and the expert that acts by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from lcd.agents import parse_encoder
from lcd.envs import ProcgenOptions
from lcd.envs.procgen.routes import distances_to
from lcd.teachers.encoders.escape import (
    ENEMY,
    MAX_FLOOD_STEPS,
    ORB,
    WALL,
    ChaserFloodfill,
    DirectionFeatureExtractor,
    DirectionFeatures,
)
from lcd.teachers.encoders.floodfill import NEIGHBOURS
from lcd.teachers.evaluation import evaluate_expert
from lcd.teachers.recipes import ENEMY_AVOIDING, SHORTEST_PATH

CELLS, PIXELS = 11, 64
LABELS = spaces.Box(0, 64, (PIXELS, PIXELS), np.uint8)


def drawn(kinds):
    """Label maps of levels whose cells hold one thing each, shape (batch, 11, 11) before."""
    pixel = np.arange(PIXELS) * CELLS // PIXELS
    return torch.from_numpy(kinds[:, pixel][:, :, pixel].astype(np.uint8))


def times_by_searching(kinds, row, column):
    """The features of floods, by a search cell by cell."""
    free = kinds != WALL
    free[row, column] = False
    to_enemy = distances_to((kinds == ENEMY) & free, free)
    found = []
    for down, right in NEIGHBOURS:
        first = row + down, column + right
        if not (min(first) >= 0 and max(first) < CELLS and free[first]):
            found.append((MAX_FLOOD_STEPS, MAX_FLOOD_STEPS, 0))
            continue
        orb, front, seen, step = MAX_FLOOD_STEPS, {first} if to_enemy[first] > 1 else set(), set(), 0
        while front:
            if orb == MAX_FLOOD_STEPS and any(kinds[cell] == ORB for cell in front):
                orb = step
            seen |= front
            step += 1
            beside = {(r + d, c + e) for r, c in front for d, e in NEIGHBOURS}
            inside = {cell for cell in beside if min(cell) >= 0 and max(cell) < CELLS and free[cell]}
            front = {cell for cell in inside - seen if to_enemy[cell] > step + 1}
        found.append((orb, min(to_enemy[first], MAX_FLOOD_STEPS), step))
    return np.array(found).T


@pytest.mark.parametrize(("at_once", "looks"), [(60, 1), (1, 1), (60, 8), (1, 8)])
def test_floods_reach_what_a_search_reaches_before_an_enemy_can(at_once, looks, monkeypatch):
    monkeypatch.setattr("lcd.teachers.encoders.escape.steps_between_looks", lambda device: looks)
    random = np.random.default_rng(0)
    kinds = random.choice([0, ORB, WALL, ENEMY], p=[0.6, 0.05, 0.3, 0.05], size=(60, CELLS, CELLS))
    rows, columns = random.integers(CELLS, size=(2, 60))
    kinds[np.arange(60), rows, columns] = 1
    features = DirectionFeatures(
        *(
            torch.cat(parts)
            for parts in zip(*map(DirectionFeatureExtractor(), drawn(kinds).split(at_once)), strict=True)
        )
    )
    for number, (row, column) in enumerate(zip(rows, columns, strict=True)):
        orb, enemy, end = times_by_searching(kinds[number], row, column)
        assert features.orb[number].tolist() == orb.tolist()
        assert features.enemy[number].tolist() == enemy.tolist()
        assert features.end[number].tolist() == end.tolist()
        assert features.nearest[number].tolist() == ((orb == orb.min()) & (orb < MAX_FLOOD_STEPS)).tolist()


@pytest.mark.costly()
def test_the_enemy_avoiding_expert_returns_more_than_the_shortest_path():
    options = ProcgenOptions("chaser", num_levels=1000)
    avoiding, shortest = (evaluate_expert(options, expert, 48, seed=1) for expert in (ENEMY_AVOIDING, SHORTEST_PATH))
    assert avoiding.mean > 10.5 > shortest.mean


def test_it_has_room_for_fourteen_cells():
    assert parse_encoder("floodfill-chaser:14")[0](LABELS, cells=14)
    with pytest.raises(ValueError, match="14 cells in each direction at most, not 15"):
        ChaserFloodfill(LABELS, cells=15)
    with pytest.raises(ValueError, match="a number of cells"):
        parse_encoder("floodfill-chaser:11,8")
