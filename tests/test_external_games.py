import json
import time
from contextlib import closing
from dataclasses import replace

import gymnasium as gym
import numpy as np
import own_games
import pytest
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env as sb3_make_vec_env
from tiny import TINY

from lcd.envs import family_of, make_vec_env
from lcd.envs.external.game import ExternalGame, GameFault
from lcd.envs.external.images import image_reader, label_map
from lcd.envs.external.making import UnknownGame, make_game, named, registered_games
from lcd.envs.external.options import ExternalOptions
from lcd.envs.external.privileged import kind_of
from lcd.envs.family import chosen_options, game_options, observation_space, options_from_record, policy_spaces
from lcd.experiments.plan import plan_game
from lcd.io.watching import WATCH

pytestmark = pytest.mark.costly("envs/external/*.py")

GRID = "own_games:Grid"


@pytest.mark.parametrize(
    ("game", "settings"),
    [
        (GRID, {}),
        ("own_games:OwnGrid-v0", {"env_kwargs": {"limit": 9}}),
        ("own_games:make_grid", {"env_kwargs": '{"limit": 9}'}),
        ("own_games:Hidden", {"semantic": "where"}),
        ("own_games:Hidden", {"semantic": "own_games:Labelled"}),
        ("own_games:Dictionary", {}),
        ("own_games:Dictionary", {"image_key": "image"}),
        ("own_games:Steered", {}),
    ],
)
def test_a_game_of_somebody_else_is_played_in_both_views(game, settings):
    options = game_options(game, num_levels=20, **settings)
    env = make_vec_env(options, 3, "both", seed=1)
    observed = env.reset()
    side = own_games.SIDE * own_games.CELL
    assert observed["pixels"].shape == (3, side, side, 3)
    assert observed["semantic"].shape == (3, side, side)
    assert observed["semantic"].dtype == np.uint8
    rng, ended = np.random.default_rng(0), 0
    for _ in range(30):
        observed, rewards, dones, infos = env.step(rng.integers(env.action_space.n, size=3))
        where = observed["semantic"] == 1
        assert (observed["pixels"][where] == 250).all()  # the player is white wherever its label is
        for index in np.flatnonzero(dones):
            ended += 1
            assert infos[index]["terminal_observation"]["pixels"].shape == (side, side, 3)
            assert 0 <= infos[index]["prev_level_seed"] < 20
            assert infos[index]["TimeLimit.truncated"] == (rewards[index] == 0)
    assert ended > 3
    assert options_from_record(json.loads(json.dumps(options.as_record()))) == (options, {"game", "num_levels", "env"})
    env.close()


def test_games_of_somebody_else_go_on_without_those_that_have_finished():
    env = make_vec_env(game_options(GRID, num_levels=5), 4, "both")
    env.reset()
    env.step(np.zeros(4, int))
    before = env._batch.observe()
    alone = env.part(np.array([1, 3]))
    assert alone.num_envs == 2
    assert all((alone._batch.observe()[view] == before[view][[1, 3]]).all() for view in before)
    alone.step(np.ones(2, int))
    assert all((env._batch.observe()[view] == before[view]).all() for view in before)  # the others stand still
    alone.close()
    env.seed(0)
    env.reset()  # the games are not closed with those that were parted
    env.close()


def test_levels_are_the_seeds_of_episodes():
    options = game_options(GRID, num_levels=5)
    one, same = make_vec_env(options, 4, "semantic", seed=3), make_vec_env(options, 4, "semantic", seed=3)
    assert np.array_equal(one.reset(), same.reset())
    unseen = make_vec_env(options.unseen_levels(5), 4, "pixels", seed=3)
    unseen.reset()
    assert all(info["level_seed"] >= 5 for info in unseen.reset_infos)
    assert all(info["level_seed"] < 5 for info in one.reset_infos)


def test_a_vector_is_a_privileged_view_too():
    options = game_options("own_games:Remembered", num_levels=5)
    env = make_vec_env(options, 2, "semantic")
    assert env.reset().shape == (2, 4)
    assert policy_spaces(options, "semantic")[0].shape == (4,)


def image_space(*shape, high=255, kind=np.uint8):
    return spaces.Box(0, high, shape, kind)


@pytest.mark.parametrize(
    ("space", "shape"),
    [
        (image_space(64, 48), (64, 48, 1)),
        (image_space(64, 48, 1), (64, 48, 1)),
        (image_space(64, 48, 3), (64, 48, 3)),
        (image_space(64, 48, 4), (64, 48, 4)),
        (image_space(3, 64, 48), (64, 48, 3)),
        (image_space(4, 84, 84), (84, 84, 4)),
        (image_space(3, 64, 48, high=1, kind=np.float32), (64, 48, 3)),
        (spaces.Dict(a=image_space(8, 9, 3), b=spaces.Discrete(2)), (8, 9, 3)),
    ],
)
def test_images_of_every_kind_are_read_as_bytes_with_channels_last(space, shape):
    read, found = image_reader(space)
    assert found == shape
    image = read(space.sample())
    assert (image.shape, image.dtype) == (shape, np.uint8)


def test_channels_that_come_first_are_moved_and_not_reshaped():
    space = image_space(3, 5, 6, high=1, kind=np.float32)
    picture = np.random.default_rng(0).random((3, 5, 6)).astype(np.float32)
    assert np.array_equal(image_reader(space)[0](picture), np.round(np.moveaxis(picture, 0, -1) * 255).astype(np.uint8))


def test_a_small_label_map_is_enlarged_to_the_frame():
    found = label_map(np.array([[0, 1], [2, 3]]), (4, 6), 65)
    assert np.array_equal(found, np.kron([[0, 1], [2, 3]], np.ones((2, 3))))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("crash", r"Broken fails in step 3 of level 7 \(ZeroDivisionError: the level has no floor\)\.$"),
        ("exit", r"Broken fails in step 3 of level 7 \(SystemExit: bye\)\.$"),
        ("nan", "Broken pays a reward of nan in step 3 of level 7"),
        ("shape", r"cannot be read in step 3 of level 7 .*the shape \(59, 60, 3\) instead of \(60, 60, 3\)"),
        ("label", "a label is 65: labels go from 0 to 64"),
        ("four", "gives no observation, reward, terminated, truncated and info, as .* does, in step 3 of level 7"),
    ],
)
def test_a_fault_of_a_game_is_named_with_its_step_and_level(how, words):
    game = ExternalGame(game_options("own_games:Broken", env_kwargs={"how": how}))
    game.begin(7)
    for _ in range(2):
        game.step(0)
    with pytest.raises(GameFault, match=words) as caught:
        game.step(0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("game", "settings", "words"),
    [
        ("own_games:Nothing", {}, "Nothing"),
        ("no_such_module:Game-v0", {}, "cannot be found: No module named 'no_such_module'"),
        ("ALE/NoSuchGame-v5", {}, "ale-py|NoSuchGame"),
        ("own_games:Wordy", {}, "no images"),
        (GRID, {"env_kwargs": {"colour": 3}}, r"Making own_games:Grid with .*colour.* fails \(TypeError"),
        (GRID, {"env_kwargs": "[1]"}, "must be an object in JSON"),
        (GRID, {"image_key": "image"}, "for observations in a dictionary"),
        ("own_games:Dictionary", {"image_key": "steps"}, "choose among image"),
        (GRID, {"semantic": "labels"}, "no method 'labels'"),
        (GRID, {"semantic": "own_games:Nothing"}, "no class or function 'Nothing'"),
        (GRID, {"gravity": 1}, "has no setting 'gravity'"),
    ],
)
def test_games_that_cannot_be_played_are_one_clear_sentence(game, settings, words):
    with pytest.raises(ValueError, match=words) as caught:
        observation_space(game_options(game, **settings), "both")
    assert "\n" not in str(caught.value)


def test_a_game_is_named_by_what_makes_it():
    assert named(own_games.Grid) == (GRID, {})
    assert named(own_games.make_grid) == ("own_games:make_grid", {})
    assert named(gym.spec("OwnGrid-v0")) == ("own_games:OwnGrid-v0", {})
    for begins in {"ALE/Breakout-v5", "MiniGrid-Empty-5x5-v0"} & {*registered_games()}:
        options = chosen_options(begins)
        with closing(gym.make(begins)) as made:
            assert (named(made), named(made.spec)) == ((begins, {}), (begins, {}))
            assert chosen_options(made) == options
    assert named(gym.make("OwnGrid-v0", limit=5)) == ("own_games:OwnGrid-v0", {"env_kwargs": {"limit": 5}})
    asked = {"env_kwargs": {"render_mode": None}}  # which is no argument of its registration
    assert named(replace(gym.spec("OwnGrid-v0"), kwargs={"render_mode": None})) == ("own_games:OwnGrid-v0", asked)
    assert named("starpilot") == ("starpilot", {})
    for unnameable in (lambda: own_games.Grid(), sb3_make_vec_env("OwnGrid-v0", 2)):
        with pytest.raises(UnknownGame):
            named(unnameable)


class NoArguments(own_games.Grid):
    def __init__(self, render_mode=None):
        super().__init__(render_mode=render_mode)


def test_a_game_whose_arguments_nobody_knows_is_refused(monkeypatch):
    """An environment that was not made by Gymnasium does not tell its arguments: runs would have lost them."""
    with pytest.raises(UnknownGame, match=r"A Grid does not tell with which limit, cell it was made.* give its class"):
        named(own_games.Grid(limit=20))
    monkeypatch.setattr(own_games, "NoArguments", NoArguments, raising=False)
    NoArguments.__module__ = "own_games"
    assert named(NoArguments()) == ("own_games:NoArguments", {})


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("exits", r"Making own_games:Twisted with .* fails \(SystemExit: 0\): check its arguments"),
        ("no space", "has no observation_space"),
        ("fractions", "an observation holds 0.0784314, and its space is one of bytes"),
        ("beyond", "an observation holds (320|420), and its space is one of bytes"),
        ("below", "an observation holds -0.921569, and its space goes from 0 to 1"),
        ("fails", r"cannot be read in its reset of level 0 \(RuntimeError: there is no map\)"),
        ("larger", r"shape \(61, 60\), and the image \(60, 60\), so that labels would be lost"),
        ("large", "a vector holds 1e.300"),
        ("short", "has 2 numbers, and had 1 before: give always as many"),
        ("old", r"gives no pair of an observation and a dictionary, as Gymnasium's reset\(seed=…\) does"),
        ("huge", "pays a reward of 1e.300, which single precision does not hold, in step 1 of level 0"),
        ("none", "pays None, which is no number, in step 1 of level 0"),
    ],
)
def test_an_odd_game_is_refused_in_one_sentence(what, words):
    with pytest.raises((ValueError, GameFault), match=words) as caught:
        game = ExternalGame(game_options("own_games:Twisted", env_kwargs={"what": what}))
        game.begin(0)
        game.step(0)
    assert "\n" not in str(caught.value)


def test_a_game_that_cannot_close_is_left_to_itself():
    options = game_options("own_games:Twisted", env_kwargs={"what": "closing"}, num_levels=3)
    assert "source" in family_of(options).version(options)
    make_vec_env(options, 2).close()


def test_a_game_that_seeds_what_all_draw_from_does_not_seed_its_learner():
    def played(draw):
        np.random.seed(5)  # noqa: NPY002
        game = ExternalGame(game_options("own_games:Seeding"), "pixels")
        frames, drawn = [game.begin(3)["pixels"]], []
        for _ in range(4):
            drawn += [np.random.random()] if draw else []  # noqa: NPY002
            frames.append(game.step(0)[0]["pixels"])
        return np.stack(frames), drawn

    frames, drawn = played(draw=True)
    assert np.array_equal(frames, played(draw=False)[0])
    np.random.seed(5)  # noqa: NPY002
    assert drawn == [np.random.random() for _ in range(4)]  # noqa: NPY002


def test_a_limit_takes_the_place_of_the_registered_one():
    def steps(**settings):
        game = ExternalGame(game_options("own_games:LimitedGrid-v0", env_kwargs={"limit": 99}, **settings), "semantic")
        game.begin(1)
        return next(step for step in range(1, 100) if any(game.step(0)[2:]))

    assert (steps(), steps(max_episode_steps=8)) == (5, 8)
    with pytest.raises(UnknownGame, match="LimitedGrid-v0 end after 5 steps, and this one was made without a limit"):
        named(gym.make("LimitedGrid-v0", max_episode_steps=-1))


def test_a_module_without_the_game_is_named_with_its_file():
    with pytest.raises(
        UnknownGame, match=r"module own_games \(.*own_games.py\) has no class .*'NoGame', and registers"
    ):
        make_game(game_options("own_games:NoGame"))


@pytest.mark.parametrize("shape", [(2, 3), (30, 4), (4, 30), (5, 2)])
def test_a_table_that_is_unlike_the_image_is_a_list_of_objects(shape):
    assert kind_of(np.ones(shape, int), (64, 64)) == "object list"
    assert kind_of(np.ones(shape), (64, 64)) == "object list"


def test_a_table_like_the_image_is_a_label_map_and_numbers_in_a_row_are_a_vector():
    assert [kind_of(np.ones(each, int), (210, 160)) for each in ((210, 160), (13, 9), (8,))] == [
        "label map",
        "label map",
        "vector",
    ]
    assert kind_of(np.ones((8, 8)), (64, 64)) == "object list"  # labels are whole numbers


@pytest.mark.parametrize("semantic", [None, "object_list"])
def test_a_list_of_objects_is_seen_as_its_numbers_object_by_object(semantic):
    game = ExternalGame(game_options("own_games:Listed", semantic=semantic))
    shown = game.begin(3)["semantic"]
    inner = game.env.unwrapped
    assert shown.tolist() == [1, *inner.me, 2, *inner.goal]
    assert shown.dtype == np.float32
    game.close()


def test_spaces_that_change_are_a_fault():
    game = ExternalGame(game_options("own_games:Odd", env_kwargs={"how": "spaces"}))
    game.begin(5)
    with pytest.raises(
        GameFault, match=r"changes its action_space from Discrete\(4\) to Discrete\(2\) in step 4 of level 5"
    ):
        for _ in range(6):
            game.step(0)
    game.close()


def test_a_level_decides_what_a_game_draws_from_the_common_generators():
    """Not the learner, nor the games beside it, nor how many processes step them."""
    options = game_options("own_games:DrawsItsLevel", num_levels=1_000)
    shown = {}
    for threads in (0, 2):
        np.random.seed(threads)  # noqa: NPY002 (what a learner draws)
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        env = make_vec_env(options, 4, num_threads=threads, seed=0)
        shown[threads] = [env.reset().copy(), *(env.step(np.zeros(4, np.int64))[0].copy() for _ in range(3))]
        env.close()
        assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert len({frame.tobytes() for frame in shown[0][0]}) == 4
    for one, other in zip(shown[0], shown[2], strict=True):
        assert (one == other).all()
    assert family_of(options).levels_differ(options)


def test_a_game_that_seeds_the_common_generators_itself_is_watched_in_all_its_steps():
    played = []
    for outer in (1, 2):
        np.random.seed(outer)  # noqa: NPY002
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        game = ExternalGame(game_options("own_games:DrawsLate"))
        game.begin(5)
        played.append([game.step(0)[0]["pixels"].copy() for _ in range(80)])
        game.close()
        assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    for one, other in zip(*played, strict=True):
        assert (one == other).all()


def test_levels_that_no_seed_decides_are_no_levels():
    options = game_options("own_games:Unseeded", num_levels=20)
    assert not family_of(options).levels_differ(options)


def test_levels_that_are_alike_are_found():
    assert family_of(game_options(GRID)).levels_differ(game_options(GRID))
    alike = game_options("own_games:Alike", num_levels=20)
    assert not family_of(alike).levels_differ(alike)


def test_identities_tell_games_and_settings_apart():
    options = game_options(GRID)
    run = plan_game(options, TINY).cells[0]
    others = [replace(options, env_kwargs='{"limit": 5}'), replace(options, semantic="none")]
    identities = {replace(run, options=other.training_levels(200)).identity for other in others}
    assert len(identities | {run.identity}) == 3
    assert isinstance(run.options, ExternalOptions)


def test_a_step_that_hangs_is_named_and_ends_its_process(monkeypatch):
    said = []
    monkeypatch.setattr(WATCH, "limit", 0.2)
    monkeypatch.setattr(WATCH, "ended", said.append)
    monkeypatch.setattr(WATCH, "_thread", None)
    game = ExternalGame(game_options(GRID), "pixels")
    game.begin(7)
    monkeypatch.setattr(game.env, "step", lambda action: time.sleep(0.6) or own_games.Grid.step(game.env, action))
    game.step(0)
    assert said
    assert set(said) == {f"{GRID} in step 1 of level 7 has not come back for 0 seconds: it hangs."}
    said.clear()
    time.sleep(0.3)
    assert not said


def test_an_atari_games_levels_begin_alike_in_any_order_and_load_its_rom_once(monkeypatch):
    pytest.importorskip("ale_py")
    options = game_options("ALE/Breakout-v5")
    games = [make_game(options) for _ in range(2)]
    loaded = []
    for game in games:
        ale = game.unwrapped
        seed = ale.seed_game
        monkeypatch.setattr(ale, "seed_game", lambda number, seed=seed: loaded.append(number) or seed(number))
    firsts = [
        {level: game.reset(seed=level)[0] for level in order}
        for game, order in zip(games, ([3, 1, 2], [2, 3, 1]), strict=True)
    ]
    assert loaded == [3, 2]
    for level in (1, 2, 3):
        assert (firsts[0][level] == firsts[1][level]).all()
    assert not family_of(options).levels_differ(options)  # there are 30 beginnings, and training knows them all
    assert family_of(options).version(options).endswith(", levels by no-ops, 18,000 frames")


def test_no_play_decides_which_levels_come_next():
    env = make_vec_env(game_options("own_games:Grid", num_levels=1_000), 4)
    levels = []
    for policy in (lambda step: np.full(4, 1), lambda step: np.full(4, step % 4)):
        env.seed(5)
        env.reset()
        met = [[] for _ in range(4)]
        for step in range(300):
            _, _, dones, infos = env.step(policy(step))
            for index in np.flatnonzero(dones):
                met[index].append(infos[index]["prev_level_seed"])
        levels.append(met)
    env.close()
    assert all(min(map(len, met)) > 1 for met in levels)
    for one, other in zip(*levels, strict=True):
        both = min(len(one), len(other))
        assert one[:both] == other[:both]
