"""In Python a game is also given as the options of its family."""

import gymnasium
import own_games
import pytest

from lcd.envs import ProcgenOptions
from lcd.envs.calibration.options import CourierOptions
from lcd.envs.external.options import ExternalOptions
from lcd.envs.family import chosen_options, game_options
from lcd.studies.diagnosing import prepare_diagnosis


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
