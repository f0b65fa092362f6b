"""The tree's structure: arrows point one way, and import names that are the project's own."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import lcd

ROOT = Path(__file__).parents[1]

LAYERS = (
    "io",
    "measurement",
    "envs",
    "agents",
    "alignment",
    "pretraining",
    "experiments",
    "teachers",
    "studies",
    "analyses",
    "cli",
)
"""Packages of `lcd`: each imports from itself and from those before it."""


def modules() -> dict[str, Path]:
    found = {}
    for file in Path(lcd.__file__).parent.rglob("*.py"):
        name = ".".join(["lcd", *file.relative_to(Path(lcd.__file__).parent).with_suffix("").parts])
        found[name.removesuffix(".__init__")] = file
    for folder in ("agents", "envs", "analyses"):  # reached through links, which rglob does not follow
        for file in (ROOT / folder).rglob("*.py"):
            found[".".join(["lcd", *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")] = file
    return found


def imported(file: Path, known: dict[str, Path]) -> set[str]:
    """Modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file} imports relatively"
            names |= {full if (full := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
    return names


def layer(module: str) -> int | None:
    parts = module.split(".")
    return LAYERS.index(parts[1]) if parts[0] == "lcd" and len(parts) > 1 and parts[1] in LAYERS else None


def test_arrows_point_one_way() -> None:
    known = modules()
    assert len(known) > 100
    upwards = {
        f"{name} imports {other}"
        for name, file in known.items()
        for other in imported(file, known)
        if (here := layer(name)) is not None and (there := layer(other)) is not None and there > here
    }
    assert not upwards


def test_every_module_is_in_a_layer() -> None:
    assert {name for name in modules() if layer(name) is None} == {"lcd", "lcd.__main__"}


def test_no_module_uses_the_old_names() -> None:
    """A user's own folders `envs` and `agents` would be imported in the place of the project's."""
    known = modules()
    for name, file in known.items():
        taken = {other.split(".")[0] for other in imported(file, known)} & {"envs", "agents", "analyses"}
        assert not taken, f"{name} imports {taken}"


def test_measurement_is_pure() -> None:
    """Statistics import no torch, draw nothing and read no files."""
    known = modules()
    libraries = {
        other.split(".")[0]
        for name, file in known.items()
        if name.startswith("lcd.measurement")
        for other in imported(file, known)
    }
    assert libraries - set(sys.stdlib_module_names) <= {"lcd", "numpy", "pandas", "scipy"}


def test_a_users_own_folders_do_not_break_it(tmp_path: Path) -> None:
    """Nearly every project of reinforcement learning has a folder of one of these names."""
    for name in ("envs", "agents", "analyses", "scripts", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('a module of the user')\n")
    script = tmp_path / "run.py"
    script.write_text(
        "import lcd\n"
        "found = lcd.diagnose('coinrun', 'smoke', seeds=1, workers=1, store='runs')\n"
        "print(found.verdict.name)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if Path(lcd.__file__).resolve().parents[1] != ROOT or "PYTHONPATH" in os.environ:  # not the installed one
        environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "inconclusive"  # a single seed never decides
