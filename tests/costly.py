"""Tests that take minutes and depend on few files run when one of these files has changed since they passed.

A test is marked ``costly(*patterns)``. The inputs of its file are the file itself, every module of the project that it
imports, directly or through others, the versions in ``constraints.txt``, and what the patterns match: data files and
modules that are found by name instead of an import. While the checksum of the inputs is the one in `RECORD`, the
marked tests of the file are skipped. ``pytest --record-costly`` runs those whose inputs changed, and records the
checksums of the files whose marked tests have all passed; with ``-m costly --costly all`` it runs them all.
``python tests/costly.py test_report.py`` tells by its status whether the inputs of a file have changed (0) or not (1).
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from imports import reached

RECORD = "tests/costly.json"
ALWAYS = "constraints.txt"


def patterns_of(file: Path) -> set[str]:
    """Patterns of the marks in a test file, read from its source."""
    calls = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)]
    marks = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "costly"]
    return {str(ast.literal_eval(argument)) for mark in marks for argument in mark.args}


def checksum_of(file: Path, root: Path) -> str:
    """SHA-256 of the names and contents of all inputs of a test file."""
    inputs = reached([file], root) | {root / ALWAYS}
    for pattern in patterns_of(file):
        matched = {path for path in root.glob(pattern) if path.is_file()}
        if not matched:
            raise pytest.UsageError(f"{file.name} is marked costly({pattern!r}), which matches no file.")
        inputs |= matched
    found = hashlib.sha256()
    for path in sorted(path for path in inputs if path.is_file()):
        found.update(str(path.relative_to(root)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def recorded(root: Path) -> dict[str, str]:
    """The checksum of the inputs with which the marked tests of each file have passed last."""
    record = root / RECORD
    return json.loads(record.read_text("utf-8")) if record.is_file() else {}


def is_costly(item: pytest.Item) -> bool:
    """Whether a test is run only where its inputs changed; slow ones are run where they are asked for."""
    return item.get_closest_marker("costly") is not None and item.get_closest_marker("slow") is None


class Costly:
    """What is known of the marked tests of a test run.

    Attributes
    ----------
    checksums
        Of the inputs, by the names of the test files.
    tests
        Names of all marked tests of each file, whether they are run or not, but for slow ones.
    passed
        Names of those that passed.
    """

    def __init__(self) -> None:
        self.checksums: dict[str, str] = {}
        self.tests: dict[str, set[str]] = defaultdict(set)
        self.passed: set[str] = set()

    @pytest.hookimpl(tryfirst=True)  # before -k and -m leave tests out
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        root, unchanged = config.rootpath, recorded(config.rootpath)
        for item in items:
            if is_costly(item):
                self.tests[item.path.name].add(item.nodeid)
                if item.path.name not in self.checksums:
                    self.checksums[item.path.name] = checksum_of(item.path, root)
        if config.option.costly == "all":
            return
        skip = pytest.mark.skip(reason="passed with the same inputs before; --costly all runs it nevertheless")
        for item in items:
            name = item.path.name
            known = unchanged.get(name)
            if is_costly(item) and known is not None and known == self.checksums.get(name):
                item.add_marker(skip)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)
        elif report.failed:
            self.passed.discard(report.nodeid)

    @pytest.hookimpl(optionalhook=True)  # of pytest-xdist
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker process has collected; which tests passed is reported as they do."""
        found = getattr(node, "workeroutput", {}).get("costly", {})
        for name, (checksum, tests) in found.items():
            self.checksums[name] = checksum
            self.tests[name] |= set(tests)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output["costly"] = {name: (self.checksums[name], sorted(tests)) for name, tests in self.tests.items()}
            return
        if not session.config.option.record_costly:
            return
        root = session.config.rootpath
        whole = {name: self.checksums[name] for name, tests in self.tests.items() if tests <= self.passed}
        kept = {name: known for name, known in recorded(root).items() if (root / "tests" / name).is_file()}
        text = json.dumps(dict(sorted((kept | whole).items())), indent=2) + "\n"
        (root / RECORD).write_text(text, "utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("costly tests")
    group.addoption(
        "--costly", choices=("changed", "all"), default="changed", help="run those whose inputs changed, or all"
    )
    group.addoption(
        "--record-costly",
        action="store_true",
        help=f"write the checksums of the inputs of those that passed to {RECORD}",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Costly(), "costly-tests")


if __name__ == "__main__":
    project = Path(__file__).parents[1]
    asked = sys.argv[1]
    sys.exit(recorded(project).get(asked) == checksum_of(project / "tests" / asked, project))
