"""The oldest versions that pyproject.toml allows: a file names them all, and with them everything works."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
OLDEST = ROOT / "tests" / "oldest-constraints.txt"
EXTRAS = (
    *("procgen", "minigrid", "crafter", "atari", "tensorboard", "efficientnet", "recurrent", "neural", "ray", "slurm"),
)

TRIED = (
    "test_agents_policy.py",
    "test_agents_evaluation.py",
    "test_diagnosis.py",
    "test_envs_gymnasium.py",
    "test_intervals.py",
    "test_scores.py",
)


def pinned(file):
    """Versions by name, of a file of constraints."""
    lines = (Requirement(line) for line in file.read_text().splitlines() if line and not line.startswith("#"))
    return {line.name.lower(): line for line in lines if line.marker is None or line.marker.evaluate()}


def lowest(requirement):
    """The lowest version that a requirement allows, or None if it names a single one."""
    (bound,) = (each.version for each in requirement.specifier if each.operator in (">=", "=="))
    return Version(bound)


def requirements():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (line for name in EXTRAS for line in project["optional-dependencies"][name])
    found = [Requirement(line) for line in (*project["dependencies"], *extras)]
    by_marker = ("procgen", "procgen-mirror", "tomli", "typing-extensions")  # not on every Python
    return [each for each in found if each.name not in by_marker]


def test_the_file_names_the_lowest_version_of_every_requirement():
    oldest = {name: lowest(each) for name, each in pinned(OLDEST).items()}
    wanted = {each.name.lower(): lowest(each) for each in requirements()}
    of_ci = pinned(ROOT / "constraints.txt")["torch"]
    assert oldest.pop("torch") == lowest(of_ci) >= wanted.pop("torch")
    assert oldest == wanted


HELPERS = ("pytest", "pytest-timeout", "hypothesis")
PYTEST = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")


def carry_out(folder, *commands):
    """Run commands in an environment of their own, which the first of them fills."""
    assert importlib.util.find_spec("venv")
    subprocess.run([sys.executable, "-m", "venv", folder / "environment"], check=True)
    program = folder / "environment" / "bin"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    clean |= {"OMP_NUM_THREADS": "1", "PATH": f"{program}{os.pathsep}{clean['PATH']}"}
    for arguments in commands:
        done = subprocess.run(
            [program / arguments[0], *map(str, arguments[1:])], capture_output=True, text=True, env=clean, cwd=folder
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the oldest versions have wheels for Python 3.11")
def test_everything_works_with_the_oldest_versions(tmp_path):
    """With the newest of everything that these ask for."""
    carry_out(
        tmp_path,
        ["pip", "install", "--quiet", "-c", OLDEST, "-e", f"{ROOT}[{','.join(EXTRAS)}]", *HELPERS],
        ["pip", "check"],
        [*PYTEST, *(ROOT / "tests" / name for name in TRIED)],
        ["lcd", "diagnose", "maze", "--preset", "smoke", "--seeds", "2", "--workers", "1", "--out", tmp_path / "maze"],
        ["lcd", "report", "procgen-easy", "--out", tmp_path / "report.html"],
    )


WITHOUT_PROCGEN = (
    "test_calibration_courier.py",
    "test_external_actions.py",
    "test_external_games.py",
    "test_external_studies.py",
    "test_intervals.py",
    "test_scores.py",
    "test_taxonomy.py",
)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_everything_but_procgen_works_beside_numpy_2_and_pandas_3(tmp_path):
    """The newest of everything, only torch as CI has it."""
    (tmp_path / "torch.txt").write_text(f"torch=={lowest(pinned(ROOT / 'constraints.txt')['torch'])}\n")
    wanted = "import numpy, pandas; assert numpy.__version__ >= '2' and pandas.__version__ >= '3'"
    absent = "import importlib.util as u; assert not u.find_spec('procgen') and not u.find_spec('gym3')"
    sweep = ["lcd", "calibrate", "--dials", "noise", "--values", "0,1", "--steps", "4096", "--seeds", "2"]
    carry_out(
        tmp_path,
        [
            "pip",
            "install",
            "--quiet",
            "-c",
            tmp_path / "torch.txt",
            "-e",
            ROOT,
            "pytest",
            "pytest-timeout",
            "hypothesis",
        ],
        ["pip", "check"],
        ["python", "-c", f"{wanted}; {absent}"],
        [
            "python",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *(ROOT / "tests" / name for name in WITHOUT_PROCGEN),
        ],
        [*sweep, "--out", tmp_path / "calibration"],
        ["lcd", "report", "procgen-easy", "--out", tmp_path / "report.html"],
    )
