"""What may be asked of Procgen, and what importing the package prints."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

import gymnasium
import numpy as np
import pytest

from lcd.envs import GAMES, ProcgenBatch, ProcgenOptions, ProcgenVecEnv, class_names, get_game
from lcd.envs.procgen.options import APPEARANCES, appearances_that_change_play


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"game": "starpilto"}, "Unknown game 'starpilto': did you mean starpilot"),
        ({"game": "chess"}, "Unknown game 'chess'"),
        ({"game": "maze", "distribution_mode": "medium"}, "'medium': choose one of easy, hard"),
        ({"game": "bigfish", "distribution_mode": "memory"}, "bigfish has no 'memory' mode: choose one of easy, hard"),
        ({"game": "maze", "num_levels": -1}, "num_levels must be a whole number from 0 to .*, not -1"),
        ({"game": "maze", "num_levels": 2.5}, "num_levels must be a whole number .*, not 2.5"),
        ({"game": "maze", "start_level": 2**31}, "start_level must be a whole number"),
        ({"game": "maze", "start_level": 2**31 - 5, "num_levels": 10}, "lower one of them"),
        ({"game": "maze", "start_level": 5}, "start_level 5 has no effect with num_levels=0"),
        (
            {"game": "maze", "distribution_mode": "exploration", "num_levels": 3},
            "leave num_levels and start_level at 0",
        ),
    ],
)
def test_a_wrong_option_is_named_with_its_remedy(wrong, message):
    with pytest.raises(ValueError, match=message):
        ProcgenOptions(**wrong)


def test_wrong_views_and_counts_are_named():
    options = ProcgenOptions("maze")
    with pytest.raises(ValueError, match="Unknown view 'depth': choose one of pixels, semantic, both"):
        ProcgenBatch(options, 1, "depth")
    with pytest.raises(ValueError, match="num_envs must be at least 1, not 0"):
        ProcgenVecEnv(options, num_envs=0)
    with pytest.raises(ValueError, match="num_envs must be at least 1, not 0"):
        gymnasium.make_vec("lcd/Maze-v0", num_envs=0)
    for threads in (-1, "2"):
        with pytest.raises(ValueError, match="num_threads is a whole number, at least 0, not"):
            ProcgenBatch(options, 1, num_threads=threads)
    with pytest.raises(ValueError, match="set paint_vel_info=False"):
        ProcgenBatch(ProcgenOptions("ninja", paint_vel_info=True), 1, "semantic")
    with pytest.raises(ValueError, match="set use_generated_assets=False"):
        ProcgenBatch(ProcgenOptions("ninja", use_generated_assets=True), 1, "both")
    with pytest.raises(ValueError, match="none is unseen: set num_levels"):
        options.unseen_levels(0)


def test_a_game_is_found_in_any_case():
    assert get_game("StarPilot") is GAMES["starpilot"]
    assert ProcgenOptions("BigFish").game == "bigfish"


@pytest.mark.parametrize("game", GAMES)
def test_every_class_has_one_label(game):
    names = class_names(game)
    assert len(set(names.values())) == len(names)
    assert names[0] == "empty"
    assert max(names) == 64


def test_importing_prints_nothing():
    code = "import lcd.envs; lcd.envs.ProcgenBatch(lcd.envs.ProcgenOptions('maze'), 1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("game", GAMES)
def test_no_appearance_changes_the_game_or_its_label_maps(game):
    """Runs on label maps are shared between appearances."""
    plain = [name for name in APPEARANCES if not appearances_that_change_play(game, [name])]
    drawings = [{}, *(APPEARANCES[name] for name in plain)]
    batches = [
        ProcgenBatch(ProcgenOptions(game, num_levels=20, **drawing), 4, "semantic", seed=1) for drawing in drawings
    ]
    random = np.random.default_rng(0)
    for _ in range(60):
        actions = random.integers(15, size=4).astype(np.int32)
        first, *others = [batch.step(actions) for batch in batches]
        for other in others:
            assert np.array_equal(first.observations, other.observations)
            assert np.array_equal(first.rewards, other.rewards)
            assert np.array_equal(first.terminated, other.terminated)
    for batch in batches:
        batch.close()


@pytest.mark.parametrize("game", GAMES)
def test_plain_drawings_are_followed_by_the_label_maps(game):
    drawing = {option: value for options in APPEARANCES.values() for option, value in options.items()}
    with closing(ProcgenBatch(ProcgenOptions(game, num_levels=20, **drawing), 8, "both", seed=1)) as batch:
        random = np.random.default_rng(0)
        for _ in range(400):
            batch.step(random.integers(15, size=8).astype(np.int32))  # a divergence is an error
