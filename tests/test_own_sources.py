"""The source of a user's own modules is part of a run's identity; an installed package's version is."""

import importlib
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from tiny import TINY

from lcd.agents import import_encoder
from lcd.agents.encoders.registry import ENCODERS
from lcd.envs import family_of
from lcd.envs.family import game_options
from lcd.experiments.given_teacher import checksum_of
from lcd.experiments.plan import plan_game, with_encoder
from lcd.experiments.run import learner
from lcd.io.modules import is_own, source_of, version_of_modules
from lcd.studies.game_encoders import GameEncoder

TESTS = Path(__file__).parent

WRAPPER = """
import gymnasium

class Labels(gymnasium.Wrapper):
    def label_map(self):
        return self.env.unwrapped.label_map()
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Writes modules of a user's own, and forgets them after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    encoders = dict(ENCODERS)

    def write(**sources):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()

    write(
        sourced_game=(TESTS / "own_games.py").read_text() + "\nfrom sourced_rules import LIMIT\n",
        sourced_rules="LIMIT = 12\n",
        sourced_views=WRAPPER,
        sourced_nets=(TESTS / "own_encoders.py").read_text().replace("own-tiny", "sourced-tiny"),
    )
    yield write
    for name in [name for name in sys.modules if name.startswith("sourced_")]:
        del sys.modules[name]
    for name in set(ENCODERS) - set(encoders):
        del ENCODERS[name]


def version_of(**settings):
    options = game_options(settings.pop("game", "sourced_game:Grid"), **settings)
    return family_of(options).version(options)


@pytest.mark.parametrize("edited", ["sourced_game", "sourced_rules"])
def test_an_edited_game_is_another_run(modules, tmp_path, edited):
    options = game_options("sourced_game:Grid")
    before = plan_game(options, TINY).cells[0]
    assert plan_game(options, TINY).cells[0] == before
    source = (tmp_path / f"{edited}.py").read_text()
    modules(**{edited: source + "\nEDITED = True\n"})
    assert plan_game(options, TINY).cells[0].identity != before.identity
    with pytest.raises(ValueError, match="game sourced_game:Grid has changed since the run was planned"):
        learner(before, None, "cpu", 0)
    modules(**{edited: source})
    assert plan_game(options, TINY).cells[0].identity == before.identity


def test_an_edited_wrapper_of_an_installed_game_is_another_run(modules):
    pytest.importorskip("minigrid")
    plain = f"minigrid {version('minigrid')}"
    modules(sourced_views=WRAPPER.replace("self.env.unwrapped.label_map()", "[[0]]"))
    settings = {"game": "MiniGrid-Empty-5x5-v0", "semantic": "sourced_views:Labels"}
    before = version_of(**settings)
    assert before.startswith(f"{plain}, source ")
    modules(sourced_views=WRAPPER.replace("self.env.unwrapped.label_map()", "[[1]]"))
    assert version_of(**settings) != before
    assert version_of(game="MiniGrid-Empty-5x5-v0") == plain


def test_a_function_around_an_installed_game_is_of_the_users_own(modules):
    pytest.importorskip("minigrid")
    modules(sourced_maker="import gymnasium\ndef make():\n    return gymnasium.make('MiniGrid-Empty-5x5-v0')\n")
    assert version_of(game="sourced_maker:make").startswith(f"minigrid {version('minigrid')}, source ")


@pytest.mark.parametrize("encoder", ["sourced_nets:Tiny", "sourced-tiny"])
def test_an_edited_encoder_is_another_run(modules, tmp_path, encoder):
    import_encoder("sourced_nets:Tiny")
    run = plan_game("maze", TINY).cells[0]
    before = with_encoder(run, encoder)
    assert before.identity != replace(before, encoder_version=None).identity
    assert type(before).from_dict(before.as_dict()) == before
    modules(sourced_nets=(tmp_path / "sourced_nets.py").read_text() + "\nEDITED = True\n")
    assert with_encoder(run, encoder).identity != before.identity
    with pytest.raises(ValueError, match=r"encoder sourced.* has changed since the run was planned"):
        learner(before, None, "cpu", 0)
    assert with_encoder(run, run.encoder) == run


def test_a_teacher_is_told_apart_by_the_same_source(modules, tmp_path):
    modules(sourced_teachers="import sourced_rules\n")
    before = checksum_of("sourced_teachers:make", object())
    assert source_of("sourced_teachers") == b"import sourced_rules\nLIMIT = 12\n"
    modules(sourced_rules="LIMIT = 13\n")
    assert checksum_of("sourced_teachers:make", object()) != before


def test_imports_of_packages_are_followed_and_those_of_others_are_not(modules, tmp_path):
    package = tmp_path / "sourced_package"
    package.mkdir()
    (package / "__init__.py").write_text("NAME = 1\n")
    (package / "games.py").write_text("import os, numpy, no_such_module\nfrom . import levels\nfrom .. import beyond\n")
    (package / "levels.py").write_text("from .games import LEVELS\n")
    found = source_of("sourced_package.games")
    assert [found.count(part.read_bytes()) for part in package.glob("*.py")] == [1, 1, 1]
    assert b"numpy" in found
    assert len(found) == sum(part.stat().st_size for part in package.glob("*.py"))


def test_installed_modules_are_known_by_their_version():
    assert not any(is_own(name) for name in ("numpy", "os", "lcd.envs", "no_such_module"))
    assert is_own("tiny")
    assert version_of_modules("numpy.linalg", "numpy") == f"numpy {version('numpy')}"
    assert version_of_modules("os") is None


@pytest.mark.parametrize(
    ("game", "of_game", "identity"),
    [("maze", "procgen 0.10.7", "e63998e35557"), ("MiniGrid-Empty-5x5-v0", "minigrid 3.2.0", "0cf15ba60596")],
)
def test_runs_of_shipped_games_keep_their_identity(game, of_game, identity):
    if game.startswith("MiniGrid"):
        pytest.importorskip("minigrid")
    run = plan_game(game, TINY).cells[0]
    assert run.game_version.partition(" ")[0] == of_game.partition(" ")[0]
    assert run.game_version.count(" ") == 1
    assert replace(run, precision="float32", game_version=of_game).identity == identity


def test_an_encoder_that_was_pretrained_on_an_edited_game_is_not_taken_again(modules, tmp_path):
    def file_of(game):
        return GameEncoder.of(plan_game(game, TINY), "segmentation", tmp_path).file.name

    before = file_of("sourced_game:Grid")
    modules(sourced_rules="LIMIT = 13\n")
    assert file_of("sourced_game:Grid") != before
    assert file_of("maze") == "maze-easy-segmentation-nature-200levels-2048frames-v2.safetensors"
