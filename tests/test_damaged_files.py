"""Damaged files of every kind, handed to the commands that read them; `scripts/damaged_files.py` tries many more."""

from __future__ import annotations

import damaged_files
import pytest
from running import run_script


@pytest.mark.costly("lcd/cli/*.py", "scripts/fuzzing/*.py")
@pytest.mark.parametrize("seed", [11])
def test_damaged_files_are_refused_in_a_sentence_or_still_valid(seed, monkeypatch, capsys):
    rows, tables = damaged_files.rows, []

    def kept(count, seed):
        tables.append(rows(count, seed))
        return tables[0]

    monkeypatch.setattr(damaged_files, "rows", kept)
    assert run_script(damaged_files, "--count", 58, "--seed", seed) == 0
    (table,) = tables
    for row in table:
        assert row["tried"] == row["refused"] + row["accepted"] + row["faults"] == 2, row
        assert row["faults"] == 0, row["examples"]
    assert sum(row["refused"] for row in table) > 23
    printed = capsys.readouterr().out
    assert all(row["kind"] in printed for row in table)
