"""Where Procgen does not load, one sentence says why and what to install."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lcd.cli.errors import BAD_INPUT, exit_status
from lcd.envs import ProcgenBatch, ProcgenOptions
from lcd.envs.procgen.library import ProcgenMissing, has_wheel

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")


def sentence():
    with pytest.raises(ProcgenMissing) as caught:
        ProcgenBatch(ProcgenOptions("maze"), 1)
    assert exit_status(caught.value) == BAD_INPUT
    assert isinstance(caught.value, ImportError)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "procgen", None)
    assert re.search(
        r"^Procgen is not installed .*: pip install 'learning-challenge-diagnosticator\[procgen\]'\.$", sentence()
    )


@pytest.mark.parametrize(
    ("system", "name", "machine", "version", "exists"),
    [
        ("linux", "Linux", "x86_64", (3, 12), True),
        ("linux", "Linux", "x86_64", (3, 13), False),
        ("linux", "Linux", "aarch64", (3, 11), False),
        ("darwin", "Darwin", "arm64", (3, 10), False),
        ("darwin", "Darwin", "x86_64", (3, 10), True),
        ("darwin", "Darwin", "x86_64", (3, 11), False),
        ("win32", "Windows", "AMD64", (3, 10), True),
        ("win32", "Windows", "AMD64", (3, 12), False),
    ],
)
def test_where_there_is_no_wheel_it_says_where_there_is_one(monkeypatch, system, name, machine, version, exists):
    monkeypatch.setitem(sys.modules, "procgen", None)
    monkeypatch.setattr(platform, "system", lambda: name)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(sys, "version_info", (*version, 0))
    assert has_wheel() == exists
    if not exists:
        number = ".".join(map(str, version))
        assert f"does not exist for {name} ({machine}) with Python {number}: there are wheels for Linux" in sentence()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("something else")])
def test_another_error_stays_what_it_is(monkeypatch, error):
    def raises(**settings):
        raise error

    module = ModuleType("procgen")
    module.ProcgenGym3Env = raises
    monkeypatch.setitem(sys.modules, "procgen", module)
    with pytest.raises(OSError) as caught:
        ProcgenBatch(ProcgenOptions("maze"), 1)
    assert caught.value is error


def without(library, *command):
    """Run a command where a library of the system is not there, in a mount namespace of its own."""
    hide = (
        f"d=$(mktemp -d) && mount -t tmpfs t $d && mkdir $d/up $d/work && "
        f"mount -t overlay o -o lowerdir={LIBRARIES},upperdir=$d/up,workdir=$d/work {LIBRARIES} && "
        f'rm {LIBRARIES}/{library}* && exec "$@"'
    )
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", *map(str, command)], capture_output=True, text=True, timeout=300
    )


@pytest.mark.costly("lcd/cli/*.py")
@pytest.mark.parametrize("library", ["libGL.so.1", "libglib-2.0.so.0", "libgthread-2.0.so.0"])
def test_without_a_library_of_the_system_it_names_the_packages(library, tmp_path):
    """As in a slim container: the library is really hidden."""
    if not (shutil.which("unshare") and os.access("/", os.W_OK) and (LIBRARIES / library).exists()):
        pytest.skip("needs root and Linux's namespaces")
    if without(library, "true").returncode:
        pytest.skip("mounts are not allowed here")
    done = without(library, sys.executable, "-m", "lcd.cli.main", "watch", "maze", "--out", tmp_path / "film.gif")
    assert (done.returncode, done.stderr.count("\n")) == (BAD_INPUT, 1), done.stderr
    assert f"Procgen needs {library}, which this system lacks: apt-get install libgl1 libglib2.0-0" in done.stderr
    assert not list(tmp_path.iterdir())
    games = without(library, sys.executable, "-m", "lcd.cli.main", "games")
    assert games.returncode == 0, games.stderr
    calibration = "import gymnasium, lcd.envs; gymnasium.make('lcd/Courier-v0').reset(seed=0)"
    assert without(library, sys.executable, "-c", calibration).returncode == 0
