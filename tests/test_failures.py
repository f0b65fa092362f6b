"""A run that fails says where in the user's code, and its whole traceback is kept until it is begun again."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lcd.experiments.job import failure_of, sentence_of
from lcd.experiments.plan import plan_game
from lcd.experiments.presets import PRESETS
from lcd.experiments.store import Store, _age


@pytest.fixture
def run():
    return plan_game("maze", PRESETS["smoke"]).cells[0]


def raised(function):
    with pytest.raises(Exception) as caught:
        function()
    return caught.value


def test_an_error_in_the_users_code_is_placed(tmp_path, monkeypatch):
    (tmp_path / "my_broken_nets.py").write_text("import json\n\n\ndef build():\n    return json.loads('{')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import my_broken_nets

    said = sentence_of(raised(my_broken_nets.build))
    assert said == "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1) " + (
        "(my_broken_nets.py, line 5)."
    )
    assert sentence_of(ValueError("It is too large.")) == "It is too large."
    assert sentence_of(KeyError("depth")) == "KeyError: 'depth'."
    del sys.modules["my_broken_nets"]


def test_a_whole_sentence_of_the_users_code_is_placed_too(tmp_path, monkeypatch):
    (tmp_path / "my_strict_nets.py").write_text("def build():\n    raise ValueError('The depth must be 3.')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import my_strict_nets

    said = sentence_of(raised(my_strict_nets.build))
    assert said == "ValueError: The depth must be 3 (my_strict_nets.py, line 2)."
    del sys.modules["my_strict_nets"]


def test_the_traceback_is_kept(tmp_path, run):
    store = Store(tmp_path)
    said = failure_of(raised(lambda: {}["depth"]), store, run)
    file = store.failure_file(run)
    assert said == f"KeyError: 'depth' (test_failures.py, line {LINE}). The traceback is in {file}."
    assert file.read_text().startswith("Traceback (most recent call last):")
    assert "KeyError: 'depth'" in file.read_text()


LINES = Path(__file__).read_text("utf-8").splitlines()
LINE = 1 + next(number for number, line in enumerate(LINES) if 'raised(lambda: {}["depth"])' in line)


def test_where_nothing_can_be_kept_the_sentence_stands_alone(tmp_path, run):
    (tmp_path / "store").write_text("no folder")
    store = SimpleNamespace(root=tmp_path / "store", failure_file=lambda run: tmp_path / "store" / "x.txt")
    assert failure_of(ValueError("It is too large."), store, run) == "It is too large."


def test_a_workspace_that_another_machine_finishes_meanwhile_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda path: True)  # it was there a moment ago
    assert _age(tmp_path / "gone") > 1e9
