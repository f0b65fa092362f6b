"""Tables of surveys in the documentation are what `scripts/survey_page.py` prints of their data."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import survey_page
from running import run_script

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("survey", ["procgen-quick", "procgen-standard"])
def test_the_documentation_shows_a_surveys_tables(survey, capsys):
    assert run_script(survey_page, DOCS / survey / "tables") == 0
    printed = capsys.readouterr().out
    games = pd.read_csv(DOCS / survey / "tables" / "games.csv")["game"]
    assert printed.count("\n") == 2 + len(games)
    assert printed in (DOCS / "taxonomy.md").read_text(encoding="utf-8")
