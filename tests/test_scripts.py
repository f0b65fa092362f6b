"""Every script is run by the tests at its smallest size."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent
SCRIPTS = TESTS.parent / "scripts"


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def run() -> set[str]:
    """Scripts whose main function a test runs, as the first argument of `run_script` or `run_script_apart`."""
    found = set()
    for file in TESTS.glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("run_script"):
                found |= {node.args[0].id} if isinstance(node.args[0], ast.Name) else set()
    return found


def test_the_main_function_of_every_script_is_run():
    scripts = {file.stem for file in SCRIPTS.glob("*.py") if "\ndef main(" in file.read_text()}
    assert len(scripts) > 20
    assert scripts - run() == set()


def test_scripts_without_a_main_function_are_imported_by_tests():
    modules = {file.stem for file in SCRIPTS.glob("*.py") if "\ndef main(" not in file.read_text()}
    assert modules <= set().union(*(imported(file) for file in TESTS.glob("test_*.py")))
