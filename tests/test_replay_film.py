"""Films of replays: what a frame's caption says of the action and of the return."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lcd.analyses.replay_film import write_film
from lcd.envs.family import family_of, find_game
from lcd.studies.replay import Replay


@pytest.mark.parametrize(
    ("game", "action", "name"),
    [
        ("maze", 2, "LEFT+UP"),
        ("maze", 4, "no key"),
        ("tracker", 4, "right"),
        ("courier", 1, "up"),
        ("MiniGrid-DoorKey-5x5-v0", 6, "done"),
        ("Crafter", 16, "make_iron_sword"),
    ],
)
def test_actions_have_the_names_that_their_game_gives_them(game, action, name):
    family, found = find_game(game)
    options = family.options(found)
    names = family_of(options).action_names(options)
    assert names[action] == name
    assert len(names) == family.action_space(options).n


def test_actions_without_names_are_numbered(monkeypatch):
    family, found = find_game("own_games:Grid")
    assert family.action_names(family.options(found)) == ()
    assert replay(names=(), actions=[0, 17, 3]).action_name(1) == "action 17"


def replay(names, actions, rewards=(1.0, 2.0, 0.0)):
    frames = np.zeros((3, 64, 64, 3), np.uint8)
    ended = np.array([False, False, True])
    return Replay("mine", frames, frames[..., 0], np.array(actions), np.zeros(3), np.array(rewards), ended, names)


@pytest.mark.parametrize(("label", "width"), [(0, 256), (1, 2 * 256 + 8)])
def test_a_film_shows_label_maps_where_there_are_any(tmp_path, label, width):
    made = replay(("stay",), [0, 0, 0])
    made.labels[1, 5, 5] = label
    write_film(made, tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        assert film.width == width


def test_a_caption_names_the_action_and_the_return_before_its_step(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("PIL.ImageDraw.ImageDraw.text", lambda self, place, text, ink: said.append(text))
    write_film(replay(("stay", "jump"), [0, 1, 0]), tmp_path / "film.gif")
    assert [text.split()[-1] for text in said[::2]] == ["stay", "jump", "stay"]
    assert [text.split("   ")[0] for text in said[1::2]] == ["return 0.0", "return 1.0", "return 3.0"]
