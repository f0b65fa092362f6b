"""Prioritised level replay and the curriculum play the levels that they say, and training levels alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from further import assert_same_state
from scipy.stats import chisquare
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize
from toy_games import ColourGame

from lcd.agents import PPO
from lcd.agents.improvements.curriculum import CurriculumPPO, LearningProgress
from lcd.agents.improvements.level_choice import LevelChooser, LevelChoosingPPO, PlayedLevels
from lcd.agents.improvements.level_replay import LevelReplay, LevelReplayPPO
from lcd.envs import ProcgenOptions, make_vec_env
from lcd.envs.external.options import ExternalOptions

pytestmark = pytest.mark.costly()

SMALL = {"encoder": "small", "n_steps": 8, "batch_size": 16, "n_epochs": 1, "device": "cpu", "seed": 0}
QUICK = ExternalOptions("own_games:Grid", num_levels=6, start_level=20)  # episodes of twelve steps at most


def played(
    levels: list[list[int]], advantages: list[list[float]], ended: dict[int, list[float]] | None = None
) -> PlayedLevels:
    pairs = [(level, each) for level, returns in (ended or {}).items() for each in returns]
    of_ends = np.array([level for level, _ in pairs], np.int64), np.array([each for _, each in pairs], np.float64)
    return PlayedLevels(np.array(levels), np.array(advantages, np.float32), *of_ends)


def shares(chooser: LevelChooser, draws: int = 20_000) -> np.ndarray:
    return np.bincount(chooser.choose(draws), minlength=chooser.count) / draws


class Levels(BaseCallback):
    """Takes note of the level of every step, and of those that begin."""

    def __init__(self) -> None:
        super().__init__()
        self.of_steps: list[int] = []
        self.begun: list[int] = []
        self.begun_at: list[int] = []

    def _on_step(self) -> bool:
        infos, dones = self.locals["infos"], self.locals["dones"]
        self.of_steps += [info["prev_level_seed"] for info in infos]
        self.begun += [info["level_seed"] for info, done in zip(infos, dones, strict=True) if done]
        self.begun_at += [self.num_timesteps] * int(dones.sum())
        return True


def test_replayed_levels_are_drawn_by_rank_and_staleness() -> None:
    replay = LevelReplay(5, 0, temperature=0.5, staleness=0.25)
    replay.learn(played([[0, 1], [0, 3]], [[1.0, -4.0], [-2.0, 2.0]]))
    assert replay.scores.tolist() == [1.5, 4.0, 0, 2.0, 0]
    replay.begin(np.array([0, 3]))
    assert replay.idle.tolist() == [1, 2, 2, 0, 2]
    by_score = np.array([1 / 9, 1, 0, 1 / 4, 0]) / (1 / 9 + 1 + 1 / 4)
    by_staleness = np.array([1, 2, 0, 0, 0]) / 3
    wanted = 0.75 * by_score + 0.25 * by_staleness
    np.testing.assert_allclose(replay.probabilities(), wanted)
    drawn = shares(replay)  # three of five were played: so many draws replay, the others are of the two that were not
    np.testing.assert_allclose(drawn, 0.6 * wanted + 0.4 * np.array([0, 0, 0.5, 0, 0.5]), atol=0.01)


def test_a_level_keeps_its_score_until_it_is_played_again() -> None:
    replay = LevelReplay(3, 0)
    assert shares(replay).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    replay.learn(played([[0, 1, 2]], [[1.0, 5.0, 2.0]]))
    replay.learn(played([[1, 1, 1]], [[0.0, 0.5, -1.0]]))
    assert replay.scores.tolist() == [1, 0.5, 2]
    assert shares(replay)[2] > 0.9  # at the published temperature the first in rank has nearly all but the stale share


class _Unchanging(LevelReplay):
    """A distribution that no rollout changes."""

    def learn(self, played: PlayedLevels) -> None:
        pass

    def begin(self, levels: np.ndarray) -> None:
        pass


def test_levels_are_played_as_often_as_the_distribution_says() -> None:
    env = VecMonitor(make_vec_env(QUICK, 8, "pixels", 0))
    model = LevelReplayPPO(env=env, **(SMALL | {"n_steps": 64, "batch_size": 512}))
    chooser = _Unchanging(6, 1, temperature=1.0, staleness=0.2)
    chooser.scores[:], chooser.played[:], chooser.idle[:] = [3, 1, 2, 6, 5, 4], True, [0, 9, 0, 0, 0, 0]
    model._chooser = chooser
    levels = Levels()
    model.learn(64 * 8 * 12, callback=levels)
    assert set(levels.of_steps) == set(range(20, 26))
    began = np.bincount(np.array(levels.begun) - 20, minlength=6)
    assert began.sum() > 500
    assert chisquare(began, began.sum() * chooser.probabilities()).pvalue > 0.01
    assert chisquare(began).pvalue < 1e-6


@pytest.fixture(params=[LevelReplayPPO, CurriculumPPO], ids=lambda kind: kind.__name__)
def learner(request: pytest.FixtureRequest) -> type[LevelChoosingPPO]:
    return request.param


def normalised(options: Any, games: int) -> VecEnv:
    return VecNormalize(VecMonitor(make_vec_env(options, games, "pixels", 0)), norm_obs=False)


def test_only_training_levels_are_played(learner: type[LevelChoosingPPO]) -> None:
    options = ProcgenOptions("bossfight", num_levels=7, start_level=50)
    model, levels = learner(env=normalised(options, 8), **(SMALL | {"n_steps": 64, "batch_size": 512})), Levels()
    model.learn(64 * 8 * 4, callback=levels)
    assert set(levels.of_steps) <= set(range(50, 57))
    assert len(levels.begun) > 10
    assert model.chooser.count == 7


def test_learners_are_told_what_they_played(learner: type[LevelChoosingPPO], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[PlayedLevels] = []
    kind = learner.chooser_class

    def learn(chooser: LevelChooser, rollout: PlayedLevels) -> None:
        told.append(replace(rollout, advantages=rollout.advantages.copy()))  # the buffer's own array

    monkeypatch.setattr(kind, "learn", learn)
    model, levels = learner(env=normalised(QUICK, 4), **(SMALL | {"n_steps": 40})), Levels()
    buffers = []
    improve = model.train
    model.train = lambda: (buffers.append(model.rollout_buffer.advantages.copy()), improve())  # type: ignore[method-assign]
    model.learn(2 * 160, callback=levels)
    assert len(told) == 2
    flat = np.concatenate([each.levels.ravel() for each in told])
    assert (flat + 20).tolist() == levels.of_steps
    for rollout, advantages in zip(told, buffers, strict=True):
        assert np.array_equal(rollout.advantages, advantages)
    ended = np.concatenate([each.ended_returns for each in told])
    assert len(ended) == len(levels.begun)
    assert set(ended) == {0.0, 1.0}  # in the game's own unit, though the learner's rewards are normalised


def test_every_game_has_a_fresh_choice_after_a_rollout(learner: type[LevelChoosingPPO]) -> None:
    """What the first rollout shows decides all episodes that begin in the second."""
    model = learner(env=normalised(QUICK, 4), **(SMALL | {"n_steps": 40}))
    model.chooser.choose = lambda games: np.full(games, 1 if model.num_timesteps < 160 else 3)  # type: ignore[method-assign]
    levels = Levels()
    model.learn(320, callback=levels)
    first = {level for step, level in zip(levels.begun_at, levels.begun, strict=True) if step <= 160}
    second = {level for step, level in zip(levels.begun_at, levels.begun, strict=True) if step > 160}
    assert (first, second) == ({21}, {23})


def test_a_curriculum_plays_each_level_twice_first() -> None:
    progress = LearningProgress(4, 0, uniform=0.0)
    assert (shares(progress) > 0.2).all()
    progress.learn(played([[0]], [[0.0]], {0: [1.0, 2.0], 1: [5.0]}))
    np.testing.assert_allclose(shares(progress), [0, 1 / 3, 1 / 3, 1 / 3], atol=0.02)


def test_a_curriculum_follows_what_is_being_learned_and_forgotten() -> None:
    progress = LearningProgress(3, 0, window=2, uniform=0.0)
    progress.learn(played([[0]], [[0.0]], {0: [9.0, 9.0, 9.0], 1: [0.0, 2.0, 4.0], 2: [0.0, 0.0, 0.0]}))
    assert shares(progress).tolist() == [0, 1, 0]
    progress.learn(played([[0]], [[0.0]], {1: [4.0, 4.0], 0: [6.0, 3.0]}))
    assert shares(progress).tolist() == [1, 0, 0]
    progress.learn(played([[0]], [[0.0]], {2: [1.0], 0: [3.0]}))  # each has a change in one of its last two
    np.testing.assert_allclose(shares(progress), [0.5 + 0.25 / 3, 0.25 / 3, 0.25 + 0.25 / 3], atol=0.02)


def test_a_part_of_a_curriculum_is_drawn_uniformly() -> None:
    progress = LearningProgress(4, 0, uniform=0.2)
    progress.learn(played([[0]], [[0.0]], {0: [0.0, 9.0]} | {level: [1.0, 1.0] for level in (1, 2, 3)}))
    np.testing.assert_allclose(shares(progress), [0.85, 0.05, 0.05, 0.05], atol=0.01)


@pytest.fixture(params=[LevelReplay, LearningProgress], ids=lambda kind: kind.__name__)
def choosers(request: pytest.FixtureRequest) -> Iterator[tuple[LevelChooser, LevelChooser]]:
    return request.param(9, 0), request.param(9, 1)


def test_a_chooser_goes_on_from_its_snapshot(choosers: tuple[LevelChooser, LevelChooser]) -> None:
    one, other = choosers
    rng = np.random.default_rng(0)

    def rollout() -> PlayedLevels:
        levels, advantages = rng.integers(0, 9, (20, 4)), rng.normal(size=(20, 4))
        return PlayedLevels(levels, advantages, rng.integers(0, 9, 30), rng.normal(size=30))

    for _ in range(3):
        one.learn(rollout())
        one.begin(one.choose(5))
    assert one.choose(50).tolist() != other.choose(50).tolist()
    other.restore(one.snapshot())
    for _ in range(3):
        again = rollout()
        for each in (one, other):
            each.learn(again)
            each.begin(np.arange(3))
        assert one.choose(50).tolist() == other.choose(50).tolist()


def test_a_saved_model_goes_on_choosing(learner: type[LevelChoosingPPO], tmp_path: Path) -> None:
    model = learner(env=normalised(QUICK, 4), **(SMALL | {"n_steps": 40}))
    model.learn(2 * 160)
    model.save(tmp_path / "model.zip")
    alone = learner.load(tmp_path / "model.zip", device="cpu")
    loaded = learner.load(tmp_path / "model.zip", env=normalised(QUICK, 8), device="cpu")
    for each in (alone, loaded):
        assert_same_state(model.chooser.snapshot(), each.chooser.snapshot())
    assert not loaded.further_state()["has_chosen"]  # the new games were told nothing yet
    loaded.chooser.choose = lambda games: np.full(games, 4)  # type: ignore[method-assign]
    levels = Levels()
    loaded.learn(320, callback=levels)
    assert set(levels.begun) == {24}
    alone.set_env(normalised(QUICK, 4))
    alone.chooser.choose = lambda games: np.full(games, 2)  # type: ignore[method-assign]
    levels = Levels()
    alone.learn(160, callback=levels)
    assert set(levels.begun) == {22}


def test_a_saved_model_begins_anew_where_it_gets_other_levels(learner: type[LevelChoosingPPO], tmp_path: Path) -> None:
    model = learner(env=normalised(QUICK, 4), **(SMALL | {"n_steps": 40}))
    model.learn(160)
    model.save(tmp_path / "model.zip")
    for other in (replace(QUICK, start_level=21), replace(QUICK, num_levels=9)):
        loaded = learner.load(tmp_path / "model.zip", env=normalised(other, 4), device="cpu")
        anew = learner(env=normalised(other, 4), **(SMALL | {"n_steps": 40}))
        assert_same_state(loaded.chooser.snapshot(), anew.chooser.snapshot())
        loaded.learn(160)
        alone = learner.load(tmp_path / "model.zip", device="cpu")
        alone.set_env(normalised(other, 4))
        levels = Levels()
        alone.learn(160, callback=levels)
        assert alone.chooser.count == other.num_levels
        assert set(levels.begun) <= set(range(other.start_level, other.start_level + other.num_levels))


def test_what_cannot_be_chosen_is_refused(learner: type[LevelChoosingPPO]) -> None:
    with pytest.raises(ValueError, match="levels of this environment cannot be chosen"):
        learner(env=ColourGame(), **SMALL)
    sequential = ProcgenOptions("coinrun", num_levels=5, use_sequential_levels=True)
    with pytest.raises(ValueError, match="levels of this environment cannot be chosen"):
        learner(env=make_vec_env(sequential, 2, "pixels", 0), **SMALL)
    with pytest.raises(ValueError, match="set num_levels"):
        learner(env=make_vec_env(ProcgenOptions("coinrun"), 2, "pixels", 0), **SMALL)


def test_a_curriculum_needs_the_returns_of_episodes() -> None:
    model = CurriculumPPO(env=make_vec_env(QUICK, 4, "pixels", 0), **(SMALL | {"n_steps": 40}))
    with pytest.raises(ValueError, match="wrap the environment in VecMonitor"):
        model.learn(160)


def test_other_learners_leave_the_levels_to_the_game() -> None:
    env = make_vec_env(QUICK, 4, "pixels", 0)
    env.set_next_levels = None  # type: ignore[attr-defined]
    PPO(env=env, **SMALL).learn(64)
