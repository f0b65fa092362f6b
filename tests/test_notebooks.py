"""The notebooks run from beginning to end."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from synthetic_survey import survey

from lcd.studies.survey.tables import SurveyTables

NOTEBOOKS = Path(__file__).parent.parent / "analyses" / "notebooks"
SURVEY = "procgen-easy"

pytestmark = pytest.mark.costly(
    "analyses/notebooks/*.ipynb", "analyses/*.py", "lcd/studies/taxonomy/*.py", "lcd/studies/survey/reference/*/*"
)


def _run(source):
    notebook = nbformat.read(NOTEBOOKS / "taxonomy.ipynb", as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source.count(f'SURVEY = "{SURVEY}"') == 1
    first.source = first.source.replace(f'"{SURVEY}"', repr(source))
    NotebookClient(notebook, timeout=400).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    return outputs


def test_the_taxonomy_notebook_draws_every_figure_of_a_survey(tmp_path):
    SurveyTables.of(survey({(0.1, 0.4): 3, (0.4, 0.1): 3})).write(tmp_path)
    outputs = _run(str(tmp_path))
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 6
    assert any("72 runs of 6 games" in output.get("text", "") for output in outputs)


def test_the_taxonomy_notebook_runs_on_what_comes_with_the_package():
    assert sum("image/png" in output.get("data", {}) for output in _run(SURVEY)) == 6
