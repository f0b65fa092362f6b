"""Packing the LCD for a machine without internet: one archive, and a script that checks the machine and unpacks it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lcd.io.files import check_output_folder, checksum, replacing
from lcd.io.limits import path as path_of
from lcd.studies.bundle import unpack
from lcd.studies.bundle.archive import write_archive
from lcd.studies.bundle.libraries import SystemLibraries, find_libraries, here
from lcd.studies.bundle.node import USUAL_PLATFORM, Node, read_node
from lcd.studies.bundle.wheels import Package, install, least_versions, resolve, run_uv

NAME = "learning-challenge-diagnosticator"
SCRIPT = "unpack.py"
OF_TREE = ("pyproject.toml", "README.md", "LICENSE", "lcd")
"""What the wheel is built from; links in lcd/ lead to the rest."""


@dataclass(frozen=True)
class Bundle:
    """A bundle that was written.

    Attributes
    ----------
    archive, script
        Its two files.
    python
        Version of the Python that it is for.
    packages
        What is packed, by name.
    libraries
        The system libraries.
    bytes, unpacked_bytes
        Of the archive, and of what is in it.
    """

    archive: Path
    script: Path
    python: str
    packages: tuple[Package, ...]
    libraries: SystemLibraries
    bytes: int
    unpacked_bytes: int


def bundle(
    python: str | None = None,
    *,
    have: Sequence[str] = (),
    extras: Sequence[str] = (),
    platform: str = USUAL_PLATFORM,
    source: Path | str | None = None,
    constraints: Path | str | None = None,
    out: Path | str = Path("lcd-bundle"),
    report: Callable[[str], None] = lambda what: None,
) -> Bundle:
    """Pack the LCD with its reference teachers for a Linux machine without internet.

    Wheels come from the package index, through uv and its settings (such as ``UV_INDEX`` and ``UV_FIND_LINKS``). System
    libraries that they need, such as libGL and glib, are copied from this machine, where its processor is that of the
    other. There, ``python3 unpack.py FOLDER`` names what is missing or unpacks.

    Parameters
    ----------
    python
        Version of its Python, such as ``"3.12"``; by default that of this one.
    have
        Packages that it has, each as ``"NAME"`` or ``"NAME==VERSION"``: they are not packed, nor is what only they
        need. The versions constrain the others'.
    extras
        Extras of the LCD, such as ``"minigrid"``. Procgen is packed wherever there are wheels of it.
    platform
        Its processor and the glibc that wheels may ask for, such as ``"x86_64-manylinux_2_28"``.
    source
        Tree or wheel of the LCD; by default the tree that this one is imported from.
    constraints
        File of versions to keep to; by default the tree's ``constraints.txt``. Lines for packages in `have` are
        disregarded.
    out
        Output folder of the archive and the script.
    report
        Called with a sentence at the beginning of each part of the work.

    Returns
    -------
    Bundle

    Raises
    ------
    ValueError
        If the machine cannot be read or is none that the LCD runs on, there are no such versions, or uv or the source
        is missing.
    """
    node = read_node(python, platform, have)
    out = path_of("out", out)
    check_output_folder(out, "--out")
    constraints = None if constraints is None else path_of("constraints", constraints)
    tree = path_of("source", source) if source is not None else _own_tree()
    pins = _constraints(constraints, tree)
    with TemporaryDirectory(prefix="lcd-bundle-") as folder:
        work = Path(folder)
        report("Building the LCD's wheel.")
        wheel = _wheel(tree, work / "wheel")
        wanted = _extras(extras, node, wheel)
        report(f"Resolving versions for Python {node.python} on {node.uv_platform}.")
        requirements = resolve(wheel, wanted, node, pins, work)
        report(f"Fetching {len(requirements)} packages.")
        content = work / "content"
        site = content / "site"
        packages = install(requirements, node, site, work)
        report("Looking for the system libraries that they load.")
        found = find_libraries(
            (path for path in sorted(site.rglob("*")) if path.is_file()),
            here(node.machine) if node.is_like_this else {},
        )
        (content / "libraries").mkdir()
        for name, file in found.packed.items():
            shutil.copy(file, content / "libraries" / name)
        report("Writing the archive.")
        archive = out / f"lcd-{_version(packages)}-cp{node.python.replace('.', '')}-{node.uv_platform}.tar.xz"
        total = write_archive(content, archive)
        facts = _facts(node, packages, found, least_versions(site, node), archive, total)
        with replacing(out / SCRIPT) as partial:
            partial.write_text(script_text(facts), "utf-8")
    return Bundle(archive, out / SCRIPT, node.python, tuple(packages), found, archive.stat().st_size, total)


def script_text(facts: Mapping[str, Any]) -> str:
    """The script that checks and unpacks, with the facts of an archive in it.

    Parameters
    ----------
    facts
        What `lcd.studies.bundle.unpack.check` reads.
    """
    text = Path(unpack.__file__).read_text("utf-8")
    placeholder = 'FACTS = "{}"\n'
    assert text.count(placeholder) == 1
    return text.replace(placeholder, f"FACTS = {json.dumps(facts, sort_keys=True)!r}  # noqa: E501\n")


def _facts(
    node: Node,
    packages: Sequence[Package],
    libraries: SystemLibraries,
    least: Mapping[str, str],
    archive: Path,
    total: int,
) -> dict[str, Any]:
    have = [{"name": each.name, "version": each.version, "at_least": least.get(each.name)} for each in node.have]
    return {
        "lcd": _version(packages),
        "python": node.python,
        "machine": node.machine,
        "glibc": libraries.wheels_glibc,
        "have": have,
        "packages": {each.name: each.version for each in packages},
        "libraries": {
            "needed": libraries.needed,
            "of_node": libraries.of_node,
            "packed": list(libraries.packed),
            "absent": libraries.absent,
            "glibc": libraries.packed_glibc,
        },
        "archive": {"name": archive.name, "bytes": archive.stat().st_size, "sha256": checksum(archive)},
        "unpacked_bytes": total,
    }


def _version(packages: Sequence[Package]) -> str:
    return next(each.version for each in packages if each.name == NAME)


def _own_tree() -> Path:
    import lcd

    tree = Path(lcd.__file__).resolve().parents[1]
    if not (tree / "pyproject.toml").is_file():
        raise ValueError(
            "This LCD was not installed from a source tree: name the tree, or a wheel of it, with --source."
        )
    return tree


def _constraints(file: Path | None, tree: Path) -> list[str]:
    if file is None:
        file = tree / "constraints.txt"
        if not file.is_file():
            return []
    try:
        return file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read as a constraints file: name another with --constraints.") from error


def _wheel(source: Path, folder: Path) -> Path:
    """The LCD's wheel: the one that is named, or one that is built from a copy of the tree."""
    if source.suffix == ".whl" and source.is_file():
        return source
    if not (source / "pyproject.toml").is_file() or not (source / "lcd").is_dir():
        raise ValueError(f"{source} is no wheel and no source tree of the LCD: name another with --source.")
    tree = folder / "tree"
    tree.mkdir(parents=True)
    for name in OF_TREE:
        if (source / name).is_dir():
            shutil.copytree(source / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source / name, tree / name)
    run_uv("build", "--wheel", "--quiet", "--out-dir", folder, tree)
    return next(folder.glob("*.whl"))


def _extras(extras: Sequence[str], node: Node, wheel: Path) -> list[str]:
    found = next(iter(distributions(path=[str(wheel)])), None)
    known = set(found.metadata.get_all("Provides-Extra") or ()) if found is not None else set()
    if unknown := [name for name in extras if name not in known]:
        raise ValueError(f"The LCD has no extra {unknown[0]!r}: choose from {', '.join(sorted(known))}.")
    if "procgen" in extras and not node.has_procgen:
        raise ValueError(f"There are no wheels of Procgen for Python {node.python} on {node.machine}: leave it out.")
    return sorted({*extras, *(["procgen"] if node.has_procgen and "procgen" in known else [])})
