"""Tests marked costly run whenever one of their inputs has changed, and are recorded only when all of them passed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest import mock

import pytest
from costly import RECORD, checksum_of
from imports import imported, modules, reached

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent

pytest_plugins = ["pytester"]

FILES = {
    "lcd/__init__.py": "",
    "lcd/played.py": "from lcd.levels import WON\n",
    "lcd/levels.py": "WON = True\n",
    "lcd/elsewhere.py": "",
    "lcd/teacher.weights": "1",
    "constraints.txt": "torch==2.4\n",
    "tests/conftest.py": "import sys\nsys.path[:0] = [{here!r}, {root!r}]\npytest_plugins = ['costly']\n",
    "tests/test_played.py": (
        "import pytest\n"
        "from lcd import played\n"
        "pytestmark = pytest.mark.costly('lcd/*.weights')\n"
        "def test_it_wins(): assert played.WON\n"
        "def test_again(): assert played.WON\n"
    ),
    "tests/test_quick.py": "def test_quick(): pass\n",
}


@pytest.fixture
def project(pytester):
    """A project of a few files, with the plugin, whose costly tests have passed."""
    for name, text in FILES.items():
        file = pytester.path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.format(here=str(HERE), root=str(pytester.path)) if "{here" in text else text)
    (pytester.path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    return pytester


def outcomes(project, *arguments):
    """How many tests passed, were skipped and failed, run in this process with the small project's modules."""
    modules.cache_clear()
    imported.cache_clear()
    with mock.patch.dict(sys.modules):
        for name in list(sys.modules):
            if name.partition(".")[0] in ("lcd", "conftest"):
                del sys.modules[name]
        found = project.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", *arguments).parseoutcomes()
    return found.get("passed", 0), found.get("skipped", 0), found.get("failed", 0)


def test_costly_tests_are_skipped_until_an_input_changes(project):
    assert outcomes(project) == (3, 0, 0)  # never recorded
    assert outcomes(project, "-m", "costly", "--costly", "all", "--record-costly") == (2, 0, 0)
    assert outcomes(project) == (1, 2, 0)
    (project.path / "lcd/elsewhere.py").write_text("# nothing that they import")
    assert outcomes(project) == (1, 2, 0)
    for name in ("lcd/levels.py", "lcd/teacher.weights", "constraints.txt", "tests/test_played.py"):
        file = project.path / name
        before = file.read_text()
        file.write_text(before + "\n")
        assert outcomes(project) == (3, 0, 0), name
        file.write_text(before)
    assert outcomes(project) == (1, 2, 0)
    assert outcomes(project, "--costly", "all") == (3, 0, 0)


def test_many_processes_record_what_one_does(project):
    found = project.runpytest_subprocess("-p", "no:cacheprovider", "--numprocesses", "2", "--record-costly")
    assert found.parseoutcomes()["passed"] == 3
    assert set(json.loads((project.path / RECORD).read_text())) == {"test_played.py"}
    assert outcomes(project) == (1, 2, 0)


def test_what_did_not_pass_whole_is_not_recorded(project):
    record = project.path / RECORD
    assert outcomes(project, "-k", "wins", "--record-costly") == (1, 0, 0)
    assert json.loads(record.read_text()) == {}
    (project.path / "lcd/levels.py").write_text("WON = False\n")
    assert outcomes(project, "--record-costly") == (1, 0, 2)
    assert json.loads(record.read_text()) == {}


def test_inputs_are_what_is_imported_through_other_modules():
    found = {str(path.relative_to(ROOT)) for path in reached([HERE / "test_shipped_teachers.py"], ROOT)}
    assert {"lcd/teachers/evaluation.py", "agents/evaluation.py", "envs/procgen/engine.py", "lcd/__init__.py"} < found
    assert "analyses/report.py" not in found


def test_a_pattern_that_matches_nothing_is_refused(project):
    (project.path / "lcd/teacher.weights").unlink()
    with pytest.raises(pytest.UsageError, match=r"test_played\.py is marked costly\('lcd/\*\.weights'\).* no file"):
        checksum_of(project.path / "tests/test_played.py", project.path)


def test_every_record_is_of_a_file_with_costly_tests():
    record = ROOT / RECORD
    for name in json.loads(record.read_text()) if record.is_file() else {}:
        assert "pytest.mark.costly(" in (HERE / name).read_text(), name
