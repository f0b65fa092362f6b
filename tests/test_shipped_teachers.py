"""The reference teachers that come with the package."""

from __future__ import annotations

import pytest

from lcd.agents import load_policy
from lcd.envs import ProcgenOptions, get_game
from lcd.teachers.evaluation import evaluate_teacher
from lcd.teachers.library import shipped_games, shipped_teacher

FRESH = {"num_levels": 1_000_000, "start_level": 1_000_000}
"""Levels that neither training nor any evaluation has used."""


SHIPPED = [(game, mode) for mode in ("easy", "hard") for game in shipped_games(distribution_mode=mode)]


@pytest.mark.parametrize(("game", "mode"), SHIPPED)
def test_a_shipped_teacher_is_the_one_of_its_card(game, mode):
    path, card = shipped_teacher(game, distribution_mode=mode)  # refuses a file with another checksum
    assert (card.game, card.distribution_mode) == (game, mode)
    assert path.stat().st_size <= 1_000_000


@pytest.mark.costly("lcd/teachers/data/*", "lcd/teachers/encoders/*.py")
@pytest.mark.parametrize(("game", "mode"), SHIPPED)
def test_a_shipped_teacher_plays_fresh_levels_as_its_card_says(game, mode):
    path, card = shipped_teacher(game, distribution_mode=mode)
    random, _ = get_game(game).normalisation(card.distribution_mode)
    found = evaluate_teacher(
        load_policy(path)[0], ProcgenOptions(game, card.distribution_mode, **FRESH), episodes=64, seed=4
    )
    assert found.mean > random + (card.unseen.mean - random) / 2
    assert found.low > random
