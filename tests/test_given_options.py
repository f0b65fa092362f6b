"""In Python a game is also given as the options of its family."""

from types import MappingProxyType

import gymnasium
import own_games
import pytest

from lcd.envs import ProcgenOptions
from lcd.envs.calibration.family import CALIBRATION
from lcd.envs.calibration.options import CourierOptions
from lcd.envs.external.options import ExternalOptions
from lcd.envs.family import chosen_options, game_options
from lcd.envs.procgen.adaptors import ProcgenEnv
from lcd.envs.procgen.family import PROCGEN
from lcd.studies.diagnosing import prepare_diagnosis
from lcd.studies.survey.plan import Survey


def planned(game, tmp_path, **settings):
    prepared = prepare_diagnosis(game, "smoke", store=tmp_path / "store", **settings)
    return prepared.game_plan


@pytest.mark.parametrize(
    ("options", "game", "settings"),
    [
        (ProcgenOptions("maze", "hard"), "maze", {"distribution_mode": "hard", "train_teacher": True}),
        (CourierOptions(), "courier", {}),
        (ExternalOptions("own_games:Grid", env_kwargs='{"limit": 5}'), own_games.Grid, {"env_kwargs": {"limit": 5}}),
    ],
)
def test_options_plan_what_the_name_with_the_same_settings_plans(options, game, settings, tmp_path):
    further = {name: settings[name] for name in settings if name == "train_teacher"}
    assert planned(options, tmp_path, **further).runs == planned(game, tmp_path, **settings).runs


def test_options_bring_their_number_of_training_levels(tmp_path):
    plan = planned(ProcgenOptions("maze", num_levels=50), tmp_path, train_teacher=True)
    assert {run.options.num_levels for run in plan.runs} == {50}


@pytest.mark.parametrize(
    ("options", "settings", "words"),
    [
        (ProcgenOptions("maze"), {"distribution_mode": "hard"}, "distribution_mode is given beside .*set it in these"),
        (ProcgenOptions("maze", num_levels=5, start_level=3), {}, "Training begins with level 0, not 3"),
    ],
)
def test_options_that_a_diagnosis_cannot_take_as_they_are_are_refused(options, settings, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        planned(options, tmp_path, **settings)


def test_a_family_that_no_package_registers_is_named():
    class Unregistered(type(CourierOptions())):
        family = "unregistered"

    with pytest.raises(ValueError, match="family of games 'unregistered' is not registered"):
        chosen_options(Unregistered())


def test_every_way_to_give_a_game_leads_to_the_same_options():
    own_games.Grid(limit=5)
    gymnasium.register("GivenGrid-v0", "own_games:Grid", kwargs={"limit": 5})
    spec = gymnasium.spec("GivenGrid-v0")
    assert chosen_options(spec) == chosen_options(spec.make())
    assert chosen_options(own_games.Grid) == game_options("own_games:Grid") == chosen_options("own_games:Grid")
    del gymnasium.registry["GivenGrid-v0"]


class OneGame(type(CALIBRATION)):
    name = "one"
    games = MappingProxyType({"courier": CALIBRATION.games["courier"]})


def test_a_family_is_taken_for_its_only_game(monkeypatch):
    family = OneGame()
    with pytest.raises(ValueError, match="family of games 'one' is not registered"):
        chosen_options(family)
    monkeypatch.setattr("lcd.envs.family.families", lambda: {"one": family, PROCGEN.name: PROCGEN})
    assert chosen_options(family) == CourierOptions()
    with pytest.raises(ValueError, match="family of games 'one' is not registered"):
        chosen_options(OneGame())
    with pytest.raises(ValueError, match=r"The family procgen has 16 games: name one of them, bigfish, "):
        chosen_options(PROCGEN)


def test_a_survey_takes_what_makes_its_games(registered):
    survey = Survey((own_games.Grid, gymnasium.spec("lcd/StarPilot-v0"), "maze"))
    assert survey.games == ("own_games:Grid", "starpilot", "maze")
    shared = r"games of a survey share their settings, and .* has its own"
    for game in (ProcgenOptions("maze", "hard"), gymnasium.make("lcd/Maze-v0", distribution_mode="hard").spec):
        with pytest.raises(ValueError, match=shared):
            Survey((game,))
    assert Survey((gymnasium.spec(registered),)).games == (f"own_games:{registered}",)
    with pytest.raises(ValueError, match=r"has settings of its own: name it, with arguments = \{'own_games:Given"):
        Survey((gymnasium.make(registered, limit=7).spec,))


@pytest.fixture
def registered():
    gymnasium.register("GivenSurvey-v0", "own_games:Grid", kwargs={"limit": 5})
    yield "GivenSurvey-v0"
    del gymnasium.registry["GivenSurvey-v0"]


@pytest.mark.parametrize(
    "settings", [{}, {"distribution_mode": "hard"}, {"num_levels": 30, "render_mode": "rgb_array"}]
)
def test_an_environment_of_this_package_is_its_game(settings):
    env = gymnasium.make("lcd/StarPilot-v0", **settings)
    of_game = {name: value for name, value in settings.items() if name != "render_mode"}
    assert chosen_options(env) == chosen_options(env.spec) == ProcgenOptions("starpilot", **of_game)
    env.close()
    with gymnasium.make("lcd/Courier-v0", view="semantic") as courier:
        assert chosen_options(courier) == CourierOptions()
    assert chosen_options(ProcgenEnv("maze", distribution_mode="hard")) == ProcgenOptions("maze", "hard")


def wrapped(env):
    return gymnasium.wrappers.TransformReward(env, lambda reward: -reward)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: wrapped(gymnasium.make("lcd/Maze-v0")), "The wrapper TransformReward is around ProcgenEnv"),
        (lambda: gymnasium.make("lcd/Maze-v0", max_episode_steps=5), "The wrapper TimeLimit is around ProcgenEnv"),
        (lambda: gymnasium.make("lcd/Maze-v0", max_episode_steps=5).spec, "maze has no setting 'max_episode_steps'"),
        (lambda: wrapped(gymnasium.make("CartPole-v1")), "The wrapper TransformReward is around CartPoleEnv"),
        (lambda: wrapped(gymnasium.make("CartPole-v1")).spec, "CartPole-v1 adds the wrapper TransformReward"),
        (
            lambda: gymnasium.wrappers.TimeLimit(gymnasium.make("CartPole-v1"), 3),
            "The wrapper TimeLimit is around CartPoleEnv",
        ),
    ],
)
def test_wrappers_that_runs_would_not_have_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        chosen_options(make())


def test_the_limit_of_an_environment_is_a_setting():
    assert chosen_options(gymnasium.make("CartPole-v1", max_episode_steps=5)).max_episode_steps == 5
    assert chosen_options(gymnasium.make("CartPole-v1")).max_episode_steps is None


def test_levels_are_given_once(tmp_path):
    env = gymnasium.make("lcd/Maze-v0", num_levels=30)
    with pytest.raises(ValueError, match="num_levels is given beside ProcgenOptions"):
        planned(env, tmp_path, levels=500)
    assert {run.options.num_levels for run in planned(env, tmp_path).runs} == {30}
    for levels in (0, "7", 2**31):
        with pytest.raises(ValueError, match=r"^levels must be"):
            planned("maze", tmp_path, levels=levels)
