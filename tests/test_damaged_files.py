"""Damaged files of every kind, handed to the commands that read them; `scripts/damaged_files.py` tries many more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from damaged_files import rows


@pytest.mark.parametrize("seed", [11])
def test_damaged_files_are_refused_in_a_sentence_or_still_valid(seed):
    table = rows(44, seed)
    for row in table:
        assert row["tried"] == row["refused"] + row["accepted"] + row["faults"] == 2, row
        assert row["faults"] == 0, row["examples"]
    assert sum(row["refused"] for row in table) > 22
