"""Teachers that are trained, evaluated, shipped, listed and watched."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY
from typer.testing import CliRunner

from lcd.agents import Episodes, load_policy
from lcd.analyses.replay_film import write_film
from lcd.analyses.teachers_figure import draw_teachers, teacher_table
from lcd.cli.main import app
from lcd.cli.watch import command as watch
from lcd.envs import ProcgenOptions
from lcd.experiments.given_teacher import GivenTeacher
from lcd.experiments.settings import Hyperparameters
from lcd.studies.planning import plan_diagnosis
from lcd.studies.replay import Replay, record
from lcd.teachers import library, making, recipes, training
from lcd.teachers.evaluation import PPO_50M_RETURNS, Score, evaluate_expert, evaluate_teacher, tune_inverse_temperature
from lcd.teachers.initial import untrained_policy
from lcd.teachers.library import Card, shipped_games, shipped_teacher
from lcd.teachers.search import SearchSettings

pytestmark = pytest.mark.costly("lcd/teachers/data/*", "lcd/teachers/encoders/*.py")

SMALL = Hyperparameters(num_envs=4, rollout_steps=16, minibatches=2)
RECIPE = recipes.Recipe(SearchSettings(6, 12, route_weight=0.1), steps=128, encoder="impoola:4", hyperparameters=SMALL)


@pytest.fixture(scope="module")
def library_folder(tmp_path_factory):
    """A folder with a teacher of maze, made in a moment."""
    folder = tmp_path_factory.mktemp("teachers") / "maze"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "SEGMENT_STEPS", 64)
        options = ProcgenOptions("maze", num_levels=making.TRAINING_LEVELS)
        making.make_teacher(options, RECIPE, folder, episodes=4, expert_episodes=3)
    return folder


def test_a_teacher_is_small_and_its_card_says_how_it_was_made(library_folder):
    path, card = shipped_teacher("maze", library_folder)
    policy, inside = load_policy(path)
    assert inside["game"] == card.game == "maze"
    assert {parameter.dtype for parameter in policy.parameters()} == {torch.float32}
    weights = sum(parameter.numel() for parameter in policy.parameters())
    assert path.stat().st_size < 2 * weights + 10_000
    assert card.steps == 128
    assert card.recipe["encoder"] == "impoola:4"
    assert card.expert == Score(10.0, 10.0, 10.0, 3)
    assert card.unseen.low <= card.unseen.mean <= card.unseen.high
    assert Card.read(path.with_suffix(".json")) == card
    assert card.share_of_ppo_50m(Score(7.5, 7, 8, 9)) == pytest.approx(0.5)  # 5 at random, 10 at most
    assert card.share_of_ppo_50m(card.expert) == 1


def test_a_teacher_starts_from_another(library_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SEGMENT_STEPS", 64)
    path, card = shipped_teacher("maze", library_folder)
    first = replace(card, inverse_temperature=3.0)
    options = ProcgenOptions("maze", num_levels=making.TRAINING_LEVELS)
    resting = replace(RECIPE, steps=64, hyperparameters=replace(SMALL, learning_rate=1e-12))
    made, card = making.make_teacher(options, resting, tmp_path, episodes=4, expert_episodes=2, begin=(path, first))
    assert card.steps == first.steps + 64
    assert card.core_hours >= first.core_hours
    assert card.begun_from == first.checksum != card.checksum
    assert first.begun_from is None
    before, after = load_policy(path)[0].state_dict(), load_policy(made)[0].state_dict()
    factor = card.inverse_temperature / 3  # its temperature is taken back before training
    for name, value in before.items():
        torch.testing.assert_close(after[name], value * (factor if "action_net" in name else 1), rtol=2e-3, atol=1e-6)
    with pytest.raises(ValueError, match="another recipe"):
        making.make_teacher(options, resting, tmp_path)
    with pytest.raises(ValueError, match="has the encoder impoola:4, whose weights do not fit the recipe's impoola:8"):
        making.make_teacher(options, replace(resting, encoder="impoola:8"), tmp_path / "new", begin=(path, first))
    assert not (tmp_path / "new").exists()


def test_a_teacher_of_hard_levels_starts_from_one_of_easy_ones_and_has_a_name_of_its_own(
    library_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "SEGMENT_STEPS", 64)
    options = ProcgenOptions("maze", "hard", num_levels=making.TRAINING_LEVELS)
    easy = shipped_teacher("maze", library_folder)
    recipe = replace(RECIPE, steps=64)
    path, card = making.make_teacher(options, recipe, tmp_path, episodes=4, expert_episodes=2, begin=easy)
    assert path.name == "maze-hard.safetensors"
    assert (card.distribution_mode, card.begun_from, card.steps) == ("hard", easy[1].checksum, 128 + 64)
    assert card.share_of_ppo_50m(card.unseen) is None  # known in easy mode only
    assert shipped_teacher("maze", tmp_path, distribution_mode="hard") == (path, card)
    assert (shipped_games(tmp_path), shipped_games(tmp_path, distribution_mode="hard")) == ([], ["maze"])
    with pytest.raises(ValueError, match="No teacher for maze comes with"):
        shipped_teacher("maze", tmp_path)
    with pytest.raises(ValueError, match=r"for maze-hard .* `lcd teachers train maze --mode hard` makes one"):
        shipped_teacher("maze", library_folder, distribution_mode="hard")
    with pytest.raises(ValueError, match="no teachers for the mode 'memory': choose easy or hard"):
        shipped_teacher("maze", library_folder, distribution_mode="memory")


def test_a_teacher_starts_from_one_with_more_rounds(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SEGMENT_STEPS", 64)
    options = ProcgenOptions("maze", num_levels=making.TRAINING_LEVELS)
    recipe = replace(RECIPE, encoder="recurrent:9,4,3", steps=64, hyperparameters=replace(SMALL, learning_rate=1e-12))
    path, card = making.make_teacher(options, recipe, tmp_path / "3", episodes=4, expert_episodes=2)
    fewer = replace(recipe, encoder="recurrent:9,4,2")
    made, _ = making.make_teacher(options, fewer, tmp_path / "2", episodes=4, expert_episodes=2, begin=(path, card))
    before, after = load_policy(path)[0], load_policy(made)[0]
    assert [policy.features_extractor.network[0].count for policy in (before, after)] == [3, 2]
    name = "features_extractor.network.0.pass_on.weight"
    torch.testing.assert_close(after.state_dict()[name], before.state_dict()[name], rtol=2e-3, atol=1e-6)


def test_a_file_that_its_card_does_not_describe_is_refused(library_folder, tmp_path):
    for suffix in ("safetensors", "json"):
        (tmp_path / f"maze.{suffix}").write_bytes((library_folder / f"maze.{suffix}").read_bytes())
    assert shipped_games(tmp_path) == ["maze"]
    with (tmp_path / "maze.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="not the file that its card describes"):
        shipped_teacher("maze", tmp_path)
    (tmp_path / "maze.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(ValueError, match="no card of a teacher"):
        shipped_teacher("maze", tmp_path)
    with pytest.raises(ValueError, match="lcd teachers train starpilot"):
        shipped_teacher("starpilot", tmp_path)


def test_scores_have_the_interval_of_their_episodes():
    returns = np.array([[0.0, 10.0], [10.0, 10.0]])
    score = Score.of(returns)
    assert (score.mean, score.episodes) == (7.5, 4)
    assert score.high - score.mean == pytest.approx(3.182 * 5 / 2, rel=1e-3)  # t(3), deviation 5, 4 episodes


def test_the_inverse_temperature_with_the_highest_return_is_chosen(monkeypatch):
    policy = untrained_policy("maze", "impoola:4")
    weight = policy.action_net.weight.detach().clone()
    seen = []

    def evaluated(policy, env, episodes, seed, inverse_temperature):
        seen.append(inverse_temperature)
        shape = env.num_envs, episodes
        returns = np.full(shape, -abs(inverse_temperature - 2.5))
        return Episodes(returns, np.ones(shape, np.int64), np.zeros(shape, np.int64))

    monkeypatch.setattr("lcd.teachers.evaluation.evaluate", evaluated)
    assert tune_inverse_temperature(policy, ProcgenOptions("maze"), 8, 0) == 2.5
    assert seen == [1.0, 1.5, 2.5, 4.0, 8.0]
    assert torch.allclose(policy.action_net.weight, 2.5 * weight)


def test_evaluations_play_as_many_episodes_as_asked():
    score = evaluate_teacher(untrained_policy("maze", "impoola:4"), ProcgenOptions("maze"), 3, seed=0)
    assert score.episodes == 3
    assert 0 <= score.mean <= 10
    expert = evaluate_expert(ProcgenOptions("maze"), RECIPE.expert, episodes=3, seed=0)
    assert expert == Score(10.0, 10.0, 10.0, 3)


def test_every_game_has_a_reference_above_chance():
    from lcd.envs import GAMES

    assert set(PPO_50M_RETURNS) == set(GAMES)
    assert all(PPO_50M_RETURNS[name] > game.easy[0] for name, game in GAMES.items())


def test_a_recording_holds_whole_episodes_in_both_views():
    replay = record(untrained_policy("bigfish", "impoola:4"), ProcgenOptions("bigfish"), episodes=2, seed=1)
    steps = len(replay.actions)
    assert replay.frames.shape == (steps, 64, 64, 3)
    assert replay.labels.shape == (steps, 64, 64)
    assert replay.ended.sum() == 2
    assert replay.ended[-1]
    assert replay.returns[-1] == replay.rewards[np.flatnonzero(replay.ended)[0] + 1 :].sum()
    short = record(untrained_policy("bigfish", "impoola:4"), ProcgenOptions("bigfish"), episodes=2, max_steps=5, seed=1)
    assert np.array_equal(short.actions, replay.actions[:5])


def test_returns_begin_anew_with_every_episode():
    zeros = np.zeros(5)
    rewards, ended = np.array([1.0, 2, 0, 4, 1]), np.array([False, True, False, False, True])
    replay = Replay(
        "maze", np.zeros((5, 64, 64, 3), np.uint8), np.zeros((5, 64, 64), np.uint8), zeros, zeros, rewards, ended
    )
    assert replay.returns.tolist() == [1, 3, 0, 4, 5]


def test_a_film_shows_every_step(tmp_path):
    replay = record(untrained_policy("maze", "impoola:4"), ProcgenOptions("maze"), max_steps=7)
    write_film(replay, tmp_path / "film.gif")
    film = Image.open(tmp_path / "film.gif")
    assert film.n_frames == 7
    assert film.size == (2 * 256 + 8, 256 + 34)


@pytest.fixture
def shipped(library_folder, monkeypatch):
    """The made teacher takes the place of those that come with the package."""
    for function in (library.shipped_games, library.shipped_teacher, library.shipped_cards):
        monkeypatch.setattr(function, "__defaults__", (library_folder,))
    return library_folder


def test_a_diagnosis_imitates_the_reference_teacher_unless_told_otherwise(shipped):
    def plan(game="maze", mode="easy", **teacher):
        return plan_diagnosis(game, TINY, distribution_mode=mode, **({"teacher": None} | teacher))

    card = shipped_teacher("maze")[1]
    assert plan().given_teacher == GivenTeacher(shipped / "maze.safetensors", card.checksum, "reference")
    assert plan().teacher_run is None
    for other in (plan(train_teacher=True), plan(mode="hard"), plan("starpilot")):
        assert other.given_teacher is None
        assert other.teacher_run.keep_best
    own = shipped / "maze.safetensors"
    assert plan(teacher=own).given_teacher.name == str(own)
    with pytest.raises(ValueError, match="choose one of the two"):
        plan(teacher=own, train_teacher=True)


def test_commands_list_make_and_show_teachers(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "SEGMENT_STEPS", 64)
    monkeypatch.setattr(recipes, "RECIPES", {"maze": RECIPE})
    listed = CliRunner().invoke(app, ["teachers"], env={"COLUMNS": "160"})
    assert listed.exit_code == 0, listed.output
    assert "maze" in listed.output
    for number, who in enumerate((["--teacher", "maze"], ["maze"])):
        shown = CliRunner().invoke(app, ["watch", *who, "--max-steps", "4", "--out", f"{number}.gif"])
        assert shown.exit_code == 0, shown.output
    assert Image.open(tmp_path / "0.gif").n_frames <= 4
    assert (tmp_path / "0.gif").read_bytes() == (tmp_path / "1.gif").read_bytes()
    arguments = ["teachers", "train", "maze", "--episodes", "4", "--folder", "made"]
    made = CliRunner().invoke(app, arguments)
    assert made.exit_code == 0, made.output
    again = shipped_teacher("maze", tmp_path / "made")[1]
    first = shipped_teacher("maze")[1]
    assert replace(again, core_hours=0, expert=first.expert) == replace(first, core_hours=0)


def test_the_figure_shows_every_teacher_against_the_same_references(shipped):
    card = shipped_teacher("maze")[1]
    cards = [card, replace(card, game="heist")]
    table = teacher_table(cards, {"maze": 7.5, "heist": 3.5})
    scores = table.pivot_table(index="game", columns="quantity", values="score")
    assert scores.loc["maze"].to_dict() | {"teacher": 0, "teacher, training": 0} == {
        "PPO 25M": 0.5,
        "PPO 50M": 1,
        "expert": 1,
        "teacher": 0,
        "teacher, training": 0,
    }
    assert scores.loc["heist", "PPO 25M"] == 0
    assert scores.loc["maze", "teacher"] == pytest.approx((card.unseen.mean - 5) / 5)
    (axes,) = draw_teachers(table).axes
    assert {label.get_text() for label in axes.get_yticklabels()} == {"maze", "heist"}


class Seen(Exception):
    pass


def test_a_teacher_is_watched_on_levels_it_has_not_seen_unless_asked_otherwise(monkeypatch, tmp_path):
    levels = []

    def stopped(policy, options, **settings):
        levels.append((options.start_level, options.num_levels))
        raise Seen

    monkeypatch.setattr("lcd.studies.replay.record", stopped)
    for on_training_levels in (False, True):
        with pytest.raises(Seen):
            watch("maze", training=on_training_levels, out=tmp_path / "film.gif")
    assert levels[0][0] == 100_000
    assert levels[1] == (0, 100_000)
