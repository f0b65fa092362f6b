"""The tree's structure: arrows point one way, and import names that are the project's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from imports import imported, modules

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


def known_modules() -> dict[str, Path]:
    return {name: file for name, file in modules(ROOT).items() if file.parent.name != "tests"}


def layer(module: str) -> int | None:
    parts = module.split(".")
    return LAYERS.index(parts[1]) if parts[0] == "lcd" and len(parts) > 1 and parts[1] in LAYERS else None


def test_arrows_point_one_way() -> None:
    known = known_modules()
    assert len(known) > 100
    upwards = {
        f"{name} imports {other}"
        for name, file in known.items()
        for other in imported(file, ROOT)
        if (here := layer(name)) is not None and (there := layer(other)) is not None and there > here
    }
    assert not upwards


def test_every_module_is_in_a_layer() -> None:
    assert {name for name in known_modules() if layer(name) is None} == {"lcd", "lcd.__main__"}


def test_importing_lcd_shows_what_people_use_and_loads_no_library() -> None:
    assert all(hasattr(lcd, name) for name in lcd.__all__)
    assert dir(lcd) == sorted(lcd.__all__)  # whatever else has been imported by now
    script = "import sys, lcd; print(*dir(lcd)); print(*{'numpy', 'pandas', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == " ".join(sorted(lcd.__all__)) + "\n\n"


def test_no_module_uses_the_old_names() -> None:
    """A user's own folders `envs` and `agents` would be imported in the place of the project's."""
    known = known_modules()
    for name, file in known.items():
        taken = {other.split(".")[0] for other in imported(file, ROOT)} & {"envs", "agents", "analyses"}
        assert not taken, f"{name} imports {taken}"


def test_measurement_is_pure() -> None:
    """Statistics import no torch, draw nothing and read no files."""
    known = known_modules()
    libraries = {
        other.split(".")[0]
        for name, file in known.items()
        if name.startswith("lcd.measurement")
        for other in imported(file, ROOT)
    }
    assert libraries - set(sys.stdlib_module_names) <= {"lcd", "numpy", "pandas", "pydantic", "scipy"}


@pytest.mark.costly("lcd/**/*.py", "agents/**/*.py", "envs/**/*.py", "analyses/*.py")
def test_a_users_own_folders_do_not_break_it(trained, trained_copy, tmp_path: Path) -> None:
    """Nearly every project of reinforcement learning has a folder of one of these names."""
    for name in ("envs", "agents", "analyses", "scripts", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('a module of the user')\n")
    missing = next(run for run in trained.plan.cells if run.seed == 0 and run.learning == "imitation")
    shutil.rmtree(trained_copy.folder(missing))
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        "import lcd\n"
        "from lcd.agents import load_policy\n"
        "from lcd.studies import planning\n"
        "from lcd.teachers.library import shipped_teacher\n"
        f"sys.path.append({str(Path(__file__).parent)!r})\n"
        "from tiny import GAME, TINY\n"
        "load_policy(shipped_teacher(GAME)[0])\n"  # its encoder is found by name
        "planning.PRESETS = {**planning.PRESETS, 'tiny': TINY}\n"
        "found = lcd.diagnose(GAME, 'tiny', seeds=1, train_teacher=True, workers=1)\n"
        "print(found.verdict.name)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if Path(lcd.__file__).resolve().parents[1] != ROOT or "PYTHONPATH" in os.environ:  # not the installed one
        environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "inconclusive"  # a single seed never decides
    assert trained_copy.has(missing)
