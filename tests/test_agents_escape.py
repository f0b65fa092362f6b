"""The floods of chaser's teacher stop where an enemy might be first, and who heeds them lives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from lcd.agents import parse_encoder
from lcd.envs import ProcgenOptions
from lcd.envs.procgen.routes import distances_to
from lcd.teachers.encoders.escape import AHEAD, ENEMY, ORB, WALL, ChaserFloodfill, Lookout, Outlook
from lcd.teachers.encoders.floodfill import NEXT
from lcd.teachers.evaluation import examine_expert

CELLS, PIXELS = 11, 64
LABELS = spaces.Box(0, 64, (PIXELS, PIXELS), np.uint8)


def drawn(kinds):
    """Label maps of levels whose cells hold one thing each, shape (batch, 11, 11) before."""
    pixel = np.arange(PIXELS) * CELLS // PIXELS
    return torch.from_numpy(kinds[:, pixel][:, :, pixel].astype(np.uint8))


def times_by_searching(kinds, row, column):
    """What floods say, found cell by cell."""
    free = kinds != WALL
    free[row, column] = False
    to_enemy = distances_to((kinds == ENEMY) & free, free)
    found = []
    for down, right in NEXT:
        first = row + down, column + right
        if not (min(first) >= 0 and max(first) < CELLS and free[first]):
            found.append((AHEAD, AHEAD, 0))
            continue
        orb, front, seen, step = AHEAD, {first} if to_enemy[first] > 1 else set(), set(), 0
        while front:
            if orb == AHEAD and any(kinds[cell] == ORB for cell in front):
                orb = step
            seen |= front
            step += 1
            beside = {(r + d, c + e) for r, c in front for d, e in NEXT}
            inside = {cell for cell in beside if min(cell) >= 0 and max(cell) < CELLS and free[cell]}
            front = {cell for cell in inside - seen if to_enemy[cell] > step + 1}
        found.append((orb, min(to_enemy[first], AHEAD), step))
    return np.array(found).T


@pytest.mark.parametrize(("at_once", "looks"), [(60, 1), (1, 1), (60, 8), (1, 8)])
def test_floods_reach_what_a_search_reaches_before_an_enemy_can(at_once, looks, monkeypatch):
    monkeypatch.setattr("lcd.teachers.encoders.escape.steps_between_looks", lambda device: looks)
    random = np.random.default_rng(0)
    kinds = random.choice([0, ORB, WALL, ENEMY], p=[0.6, 0.05, 0.3, 0.05], size=(60, CELLS, CELLS))
    rows, columns = random.integers(CELLS, size=(2, 60))
    kinds[np.arange(60), rows, columns] = 1
    ahead = Outlook(*(torch.cat(parts) for parts in zip(*map(Lookout(), drawn(kinds).split(at_once)), strict=True)))
    for number, (row, column) in enumerate(zip(rows, columns, strict=True)):
        orb, enemy, end = times_by_searching(kinds[number], row, column)
        assert ahead.orb[number].tolist() == orb.tolist()
        assert ahead.enemy[number].tolist() == enemy.tolist()
        assert ahead.end[number].tolist() == end.tolist()
        assert ahead.nearest[number].tolist() == ((orb == orb.min()) & (orb < AHEAD)).tolist()


def test_who_minds_enemies_clears_more_levels_than_who_follows_the_shortest_way():
    options = ProcgenOptions("chaser", num_levels=1000)
    wary, hasty = (examine_expert(options, expert, 48, seed=1) for expert in ("wary", "way"))
    assert wary.mean > 10.5 > hasty.mean


def test_it_has_room_for_fourteen_cells():
    assert parse_encoder("floodfill-chaser:14")[0](LABELS, cells=14)
    with pytest.raises(ValueError, match="14 cells in each direction at most, not 15"):
        ChaserFloodfill(LABELS, cells=15)
    with pytest.raises(ValueError, match="a number of cells"):
        parse_encoder("floodfill-chaser:11,8")
