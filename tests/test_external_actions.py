import numpy as np
import own_games
import pytest
from gymnasium import spaces

from lcd.envs.external.family import EXTERNAL
from lcd.envs.external.game import ExternalGame, NumberedActions, actions_of, spaces_of
from lcd.envs.external.options import ExternalOptions
from lcd.envs.family import game_options, observation_space, policy_spaces

pytestmark = pytest.mark.costly("envs/external/*.py")


def test_a_grey_image_gets_a_channel_and_parts_of_actions_are_combined():
    options = game_options("own_games:Grey", num_levels=5)
    side = own_games.SIDE * own_games.CELL
    assert observation_space(options, "pixels").shape == (side, side, 1)
    frames, actions = policy_spaces(options, "pixels")
    assert (frames.shape, actions.n) == ((1, side, side), 4)


@pytest.mark.parametrize(
    ("space", "number", "last"),
    [
        (spaces.Discrete(3, start=2), 3, 4),
        (spaces.MultiDiscrete([2, 3]), 6, [1, 2]),
        (spaces.MultiBinary(3), 8, [1, 1, 1]),
        (spaces.Box(np.float32([-1, 0]), np.float32([1, 4])), 9, [1, 4]),
        (spaces.Box(np.int64([0, 0]), np.int64([1, 4]), dtype=np.int64), 6, [1, 4]),
    ],
)
def test_every_kind_of_action_has_a_number(space, number, last):
    found, action = actions_of(space)
    assert found == number
    assert np.array_equal(action(number - 1), last)
    assert space.contains(action(0))
    assert space.contains(action(number - 1))


@pytest.mark.parametrize("space", [spaces.MultiBinary(64), spaces.Box(-1, 1, (41,)), spaces.MultiDiscrete([99] * 40)])
def test_more_actions_than_a_policy_can_have_are_refused(space):
    """Their number is not one of 64 bits."""
    with pytest.raises(ValueError, match="combinations, more than 1,024"):
        actions_of(space)


def test_continuous_actions_may_have_more_values():
    found, action = actions_of(spaces.Box(np.float32([-1, 0]), np.float32([1, 4])), 5)
    assert found == 25
    assert np.allclose([action(number) for number in (0, 1, 5, 24)], [[-1, 0], [-1, 1], [-0.5, 0], [1, 4]])
    assert NumberedActions(own_games.Steered(), 5).action_space.n == 25
    options = ExternalOptions("own_games:Steered", action_values=5)
    assert spaces_of(options).actions.n == 25
    assert spaces_of(ExternalOptions("own_games:Steered")).actions.n == 9
    assert EXTERNAL.from_record(options.as_record())[0] == options
    with pytest.raises(ValueError, match=r"continuous actions, and those of own_games:Grid are Discrete.*leave it out"):
        spaces_of(ExternalOptions("own_games:Grid", action_values=5))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.MultiDiscrete([100, 100]), "10,000 combinations"),
        (spaces.Box(-np.inf, np.inf, (2,)), "are not taken"),
        (spaces.Text(3), "are not taken"),
    ],
)
def test_actions_that_have_no_number_are_refused(space, words):
    with pytest.raises(ValueError, match=words):
        actions_of(space)


def test_an_action_that_a_game_changes_is_the_same_the_next_time():
    game = ExternalGame(game_options("own_games:InPlace"), "pixels")
    game.begin(0)
    for _ in range(3):
        game.step(0)
    assert game.env.given == [[-1, -1]] * 3


def test_parts_of_an_action_begin_where_their_space_does():
    number, numbered = actions_of(spaces.MultiDiscrete([2, 2], start=[1, 3]))
    assert [numbered(action).tolist() for action in range(number)] == [[1, 3], [1, 4], [2, 3], [2, 4]]
