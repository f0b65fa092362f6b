"""Games that are told which level they play next play that level, and all others play as before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toy_games import ColourGame

from lcd.envs import GameOptions, ProcgenOptions, ProcgenVecEnv, make_vec_env
from lcd.envs.calibration.difficulty import DifficultyFactors
from lcd.envs.calibration.options import CourierOptions, TrackerOptions
from lcd.envs.external.options import ExternalOptions
from lcd.envs.levels import choosable_levels
from lcd.envs.procgen.batch import ProcgenBatch
from lcd.envs.procgen.engine import Engine
from lcd.envs.procgen.levels import layout_of

pytestmark = pytest.mark.costly()

GAMES = (
    ProcgenOptions("bossfight", num_levels=40),  # themes of different sizes, in the label maps switched off
    ProcgenOptions("plunder", num_levels=40),  # its label maps play with other themes
    ProcgenOptions("dodgeball", num_levels=30, start_level=10),
    CourierOptions(DifficultyFactors(), 40),
    TrackerOptions(num_levels=40),
    ExternalOptions("own_games:Grid", num_levels=40),
)
TOLD = np.array([1, 3])
WANTED = np.array([27, 11])


def ends_of(env: Any, steps: int, seed: int = 0) -> list[list[int]]:
    """Levels that begin in each game, while it is played at random."""
    random = np.random.default_rng(seed)
    began: list[list[int]] = [[] for _ in range(env.num_envs)]
    for _ in range(steps):
        _, _, ended, infos = env.step(random.integers(env.action_space.n, size=env.num_envs))
        for game in np.flatnonzero(ended).tolist():
            began[game].append(infos[game]["level_seed"])
    return began


@pytest.mark.parametrize("view", ["pixels", "semantic", "both"])
@pytest.mark.parametrize("options", GAMES, ids=lambda options: options.game)
def test_told_games_play_the_level_and_others_play_as_before(options: GameOptions, view: str) -> None:
    told, alone = make_vec_env(options, 4, view, 7), make_vec_env(options, 4, view, 7)
    for env in (told, alone):
        env.reset()
    told.env_method("set_next_levels", TOLD, WANTED)
    steps = 700 if options.family != "external" else 80
    began, before = ends_of(told, steps), ends_of(alone, steps)
    for game, level in zip(TOLD, WANTED, strict=True):
        assert began[game]
        assert set(began[game]) == {level}
        assert set(before[game]) != {level}
    for game in (0, 2):
        assert began[game][:1] == before[game][:1]  # later episodes depend on how long the first ones were, by chance
    assert told.get_attr("divergences")[0] == alone.get_attr("divergences")[0]
    for env in (told, alone):
        env.close()


def test_untold_games_draw_exactly_as_if_nobody_was_told() -> None:
    options = ProcgenOptions("bossfight", num_levels=40)
    told, alone = (make_vec_env(options, 4, "pixels", 7) for _ in range(2))
    for env in (told, alone):
        env.reset()
    told.env_method("set_next_levels", TOLD, WANTED)
    random = np.random.default_rng(0)
    for _ in range(400):
        actions = random.integers(15, size=4)
        mine, theirs = told.step(actions), alone.step(actions)
        for game in (0, 2):
            assert np.array_equal(mine[0][game], theirs[0][game])
            assert mine[3][game]["level_seed"] == theirs[3][game]["level_seed"]
    for env in (told, alone):
        env.close()


@pytest.mark.parametrize("game", ["maze", "starpilot"])
def test_the_level_is_laid_out_as_its_number_says(game: str) -> None:
    batch = ProcgenBatch(ProcgenOptions(game, num_levels=40), 2, "pixels", 0)
    batch.set_next_levels(np.array([0, 1]), np.array([31, 5]))
    batch.restart()
    found = [layout_of(batch.saved_state(index)) for index in range(2)]
    batch.close()
    wanted = []
    for level in (31, 5):
        engine = Engine(ProcgenOptions(game, num_levels=1, start_level=level), 1, 99)
        wanted.append(layout_of(engine.get_state(0)))
        engine.close()
    assert found == wanted
    assert found[0] != found[1]


@pytest.mark.parametrize("options", [GAMES[0], GAMES[3]], ids=lambda options: options.game)
def test_a_snapshot_holds_what_games_were_told(options: GameOptions) -> None:
    first, second = (make_vec_env(options, 4, "pixels", seed) for seed in (0, 1))
    first.reset()
    first.env_method("set_next_levels", TOLD, WANTED)
    second.env_method("restore", first.env_method("snapshot")[0])
    began = ends_of(second, 700)
    assert set(began[1]) == {27}
    assert set(began[3]) == {11}
    second.seed(3)
    second.reset()  # begins from a seed, and has forgotten them
    assert set(ends_of(second, 700)[1]) != {27}
    for env in (first, second):
        env.close()


def test_a_chosen_level_is_replaced_by_the_next_choice() -> None:
    env = make_vec_env(GAMES[3], 2, "semantic", 0)
    env.reset()
    env.env_method("set_next_levels", np.array([0]), np.array([5]))
    env.env_method("set_next_levels", np.array([0]), np.array([6]))
    assert set(ends_of(env, 300)[0]) == {6}


@pytest.mark.parametrize(
    "options",
    [
        ProcgenOptions("coinrun", num_levels=10, use_sequential_levels=True),
        ProcgenOptions("coinrun", num_levels=10, use_generated_assets=True),
    ],
    ids=["sequential", "generated"],
)
def test_games_that_draw_their_levels_say_so(options: ProcgenOptions) -> None:
    assert choosable_levels(options) is None
    env = ProcgenVecEnv(options, 1)
    assert env.choosable_levels is None
    env.reset()
    with pytest.raises(ValueError, match="draw their levels themselves"):
        env.set_next_levels(np.array([0]), np.array([0]))
    env.close()
    assert choosable_levels(ColourGame()) is None  # nor do those that know nothing of it


def test_levels_that_there_are_not_are_refused() -> None:
    env = ProcgenVecEnv(ProcgenOptions("maze", num_levels=30, start_level=10), 2)
    assert env.choosable_levels == range(10, 40)
    with pytest.raises(RuntimeError, match="reset"):
        env.set_next_levels(np.array([0]), np.array([10]))
    env.reset()
    for games, levels, sentence in (
        ([0], [40], "from 10 to 39, not \\[40\\]"),
        ([0], [9], "from 10 to 39"),
        ([2], [10], "count from 0"),
        ([0, 1], [10], "One whole number"),
        ([0], [10.5], "One whole number"),
    ):
        with pytest.raises(ValueError, match=sentence):
            env.set_next_levels(np.array(games), np.array(levels))
    env.close()
