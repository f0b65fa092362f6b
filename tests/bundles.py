"""Small wheels that stand for the LCD and what it needs, and a machine that has all that a bundle asks for."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
CPYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"

FACTS = {
    "python": "3.12",
    "machine": "x86_64",
    "glibc": [2, 28],
    "have": [{"name": "torch", "version": "2.12.1", "at_least": "2.11"}],
    "libraries": {
        "needed": ["libGL.so.1"],
        "of_node": ["libstdc++.so.6"],
        "absent": [],
        "packed": ["libGL.so.1"],
        "glibc": [2, 34],
    },
    "archive": {"name": "lcd.tar.xz", "bytes": 3, "sha256": "0" * 64},
    "unpacked_bytes": 1000,
}


def machine(**changes: object) -> Any:
    """A machine on which nothing is missing, apart from what is changed."""
    from lcd.studies.bundle.unpack import Machine

    good = Machine(
        python=("3.12", "python3"),
        implementation="cpython",
        machine="x86_64",
        glibc=(2, 36),
        versions={"torch": "2.12.1+cu128"}.get,
        loads=lambda name: True,
        driver=(13, 0),
        torch_cuda=(12, 8),
    )
    return good._replace(**changes)


def facts(**changes: object) -> dict:
    return json.loads(json.dumps(FACTS)) | changes


def write_wheel(folder: Path, name: str, version: str, needs=(), *, tag="py3-none-any", files=None, extras=()) -> Path:
    """A wheel of nothing but its metadata and some files."""
    about = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name.replace('_', '-')}", f"Version: {version}"]
    lines += [f"Provides-Extra: {extra}" for extra in extras] + [f"Requires-Dist: {need}" for need in needs]
    content = {
        **(files or {f"{name}.py": "pass\n"}),
        f"{about}/METADATA": "\n".join(lines) + "\n",
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    content[f"{about}/RECORD"] = "".join(f"{each},,\n" for each in [*content, f"{about}/RECORD"])
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in content.items():
            archive.writestr(each, text)
    return path


def write_index(folder: Path) -> Path:
    """An index of small wheels; returns that of the LCD, which asks for torch and, by way of gym3, for numpy 1."""
    folder.mkdir()
    write_wheel(folder, "torch", "2.12.1", ["sympy"])
    write_wheel(folder, "torch", "2.13.0", ["sympy"])
    for name, version in (
        ("sympy", "1.0"),
        ("numpy", "1.26.4"),
        ("numpy", "2.5.0"),
        ("plain", "1.0"),
        ("plain", "2.0"),
    ):
        write_wheel(folder, name, version)
    write_wheel(folder, "gym3", "0.3.3", ["numpy<2"])
    write_wheel(folder, "compiled", "1.0", tag=f"{CPYTHON}-{CPYTHON}-manylinux_2_17_x86_64")
    main = "import plain, sys\ndef main():\n    print('The LCD runs:', *sys.argv[1:])\n"
    return write_wheel(
        folder,
        "learning_challenge_diagnosticator",
        "0.1.0",
        ["torch>=2.11", "numpy>=1.24.1", "gym3", "plain", "compiled; extra == 'fast'"],
        files={"lcd/__init__.py": "", "lcd/cli/__init__.py": "", "lcd/cli/main.py": main},
        extras=["fast"],
    )


def write_source(folder: Path, name: str, version: str, *, compiled: bool) -> None:
    """A source distribution; its wheel's content depends on the hash seed, and its tag, if compiled, on the machine."""
    backend = (
        "import sys\n"
        f"sys.path.append({str(Path(__file__).parent)!r})\n"
        "import platform\n"
        "from bundles import CPYTHON, Path, write_wheel\n"
        "def build_wheel(folder, *_):\n"
        "    here = f'{CPYTHON}-{CPYTHON}-linux_{platform.machine()}'\n"
        f"    tag, text = here if {compiled} else 'py3-none-any', f'# {{set(map(str, range(50)))}}'\n"
        f"    files = {{{name + '.py'!r}: text}}\n"
        f"    return write_wheel(Path(folder), {name!r}, {version!r}, tag=tag, files=files).name\n"
    )
    project = (
        f"[project]\nname = {name!r}\nversion = {version!r}\n"
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
    )
    about = f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n"
    with tarfile.open(folder / f"{name}-{version}.tar.gz", "w:gz") as archive:
        for each, text in (("backend.py", backend), ("pyproject.toml", project), ("PKG-INFO", about)):
            member = tarfile.TarInfo(f"{name}-{version}/{each}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
