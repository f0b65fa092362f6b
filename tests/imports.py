"""Which of the project's modules a file imports, read from their sources without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

LINKED = ("agents", "envs", "analyses")
"""Folders of the top level that are imported as packages of `lcd`, through links that globbing does not follow."""


@cache
def modules(root: Path) -> dict[str, Path]:
    """Files of the package's modules and of those beside the tests, by the names that they are imported by."""
    found = {}
    for file in (root / "lcd").rglob("*.py"):
        found[".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")] = file
    for folder in LINKED:
        for file in (root / folder).rglob("*.py"):
            name = ".".join(["lcd", *file.relative_to(root).with_suffix("").parts])
            found[name.removesuffix(".__init__")] = file
    return found | {file.stem: file for file in (root / "tests").glob("*.py")}


@cache
def imported(file: Path, root: Path) -> frozenset[str]:
    """Modules that a file imports, anywhere in it; what is no module of the project is named as it is written."""
    known, names = modules(root), set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file} imports relatively"
            names |= {full if (full := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
    return frozenset(names)


def reached(start: Iterable[Path], root: Path) -> set[Path]:
    """The files themselves, and those of all modules of the project that they import, and these, and so on."""
    known, found, waiting = modules(root), set(), list(start)
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        for name in imported(file, root):
            parts = name.split(".")
            packages = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
            waiting += [known[package] for package in packages if package in known]
    return found
