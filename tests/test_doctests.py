"""Examples in docstrings give what they say; those that would train for long are marked to be skipped."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
from test_layout import known_modules

EXAMPLES = sorted(name for name, file in known_modules().items() if ">>> " in file.read_text())


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_give_what_they_say(name):
    """Names are those of `lcd`, under which alone a module is imported, though links lead to its folder."""
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def test_each_example_is_found_once():
    files = [known_modules()[name].resolve() for name in EXAMPLES]
    assert len(files) == len(set(files))
    root = Path(__file__).parents[1]
    folders = ("lcd", "agents", "envs", "analyses")
    written = {file.resolve() for folder in folders for file in (root / folder).rglob("*.py")}
    assert set(files) == {file for file in written if ">>> " in file.read_text()}
