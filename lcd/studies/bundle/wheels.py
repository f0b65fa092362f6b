"""Resolving and installing wheels for another Python and platform, with uv, and what was installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import parse_tag
from packaging.utils import canonicalize_name
from packaging.version import Version

from lcd.studies.bundle.node import Node

OVERRIDES = ("numpy>=1.24.1",)
"""Requirements in the place of what packages declare: gym3 asks for numpy 1, and runs with numpy 2."""

REPEATABLE = {"PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": "315532800"}
"""Environment of builds, so that they give the same bytes: gym's setup.py writes its metadata in the order of a set."""

_OF_INSTALLER = ("direct_url.json", "uv_cache.json", "uv_build.json", "REQUESTED", "INSTALLER")
"""Files that tell how and from where a wheel was installed, which differs between machines."""


@dataclass(frozen=True)
class Package:
    """An installed package.

    Attributes
    ----------
    name, version
        As its metadata has them, the name normalised.
    tags
        Of its wheel.
    bytes
        Of its files.
    """

    name: str
    version: str
    tags: tuple[str, ...]
    bytes: int


def run_uv(*arguments: str | Path) -> str:
    """Run uv, and return what it prints.

    Raises
    ------
    ValueError
        If uv is not installed, or refuses; the sentence is uv's own.
    """
    try:
        from uv import find_uv_bin
    except ImportError:
        raise ValueError("uv is not installed: pip install 'learning-challenge-diagnosticator[bundle]'.") from None
    command, environment = [find_uv_bin(), *map(str, arguments)], os.environ | REPEATABLE
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(word for word in done.stderr.split() if word.isascii())  # without the lines that uv draws
        raise ValueError(f"uv cannot {' '.join(map(str, arguments[:2]))}: {said[-1500:]}")
    return done.stdout


def without(lines: Iterable[str], names: Iterable[str]) -> list[str]:
    """Lines of a constraints file without comments, and without those for some packages.

    Parameters
    ----------
    lines
        The lines, each a requirement, a comment or empty.
    names
        Normalised names of packages whose lines are left out.

    Raises
    ------
    ValueError
        If a line is no requirement.
    """
    kept, left = [], set(names)
    for line in lines:
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            name = canonicalize_name(Requirement(text).name)
        except InvalidRequirement:
            raise ValueError(f"{text[:100]!r} is no requirement: write lines such as numpy==1.26.4.") from None
        if name not in left:
            kept.append(text)
    return kept


def resolve(wheel: Path, extras: Sequence[str], node: Node, constraints: Sequence[str], work: Path) -> list[str]:
    """Versions of the packages to pack.

    First everything is resolved with the versions that the machine has, then those packages are left out, with what
    only they need, at the same versions.

    Parameters
    ----------
    wheel
        The LCD.
    extras
        Its extras.
    node
        The machine.
    constraints
        Versions to keep to, one requirement each; those of packages that the machine has are disregarded.
    work
        Folder for uv's input.

    Returns
    -------
    list of str
        Requirements with exact versions, and the wheel's own.

    Raises
    ------
    ValueError
        If there are no such versions, or the machine is said to have what nothing needs.
    """
    have = [each.name for each in node.have]
    exact = [f"{each.name}=={each.version}" for each in node.have if each.version is not None]
    inside = f"[{','.join(extras)}]" if extras else ""
    project = f"{wheel.name.partition('-')[0].replace('_', '-')}{inside} @ {wheel.resolve().as_uri()}"
    _write(work / "wanted.in", [project])
    _write(work / "overrides.in", OVERRIDES)
    _write(work / "constraints.in", [*without(constraints, have), *exact])
    all_of_them = _compile(node, work)
    names = {canonicalize_name(line.partition("==")[0]) for line in all_of_them if "==" in line}
    if unknown := [name for name in have if name not in names]:
        raise ValueError(f"--have {unknown[0]}: the LCD needs no package of this name there; leave it out.")
    if not have:
        return all_of_them
    _write(work / "constraints.in", without((line for line in all_of_them if "==" in line), have))
    _write(work / "excludes.in", have)
    return _compile(node, work, "--excludes", work / "excludes.in")


def _write(file: Path, lines: Iterable[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _for(node: Node) -> list[str]:
    return ["--python-version", node.python, "--python-platform", node.uv_platform]


def _compile(node: Node, work: Path, *more: str | Path) -> list[str]:
    files: list[str | Path] = [work / "wanted.in", "--overrides", work / "overrides.in"]
    files += ["--constraints", work / "constraints.in", *more]
    printed = run_uv("pip", "compile", "--no-header", "--no-annotate", "--quiet", *_for(node), *files)
    return [line.strip() for line in printed.splitlines() if line.strip()]


def install(pins: Sequence[str], node: Node, site: Path, work: Path) -> list[Package]:
    """Install packages into a folder, for another machine, and remove what only this one's installer needs.

    Parameters
    ----------
    pins
        What `resolve` returned.
    node
        The machine.
    site
        The folder; it is made.
    work
        Folder for uv's input.

    Returns
    -------
    list of Package
        By name.

    Raises
    ------
    ValueError
        If a package cannot be had, or was compiled for another machine.
    """
    _write(work / "pins.txt", pins)
    run_uv("pip", "install", "--target", site, "--no-deps", *_for(node), "--link-mode", "copy", "-r", work / "pins.txt")
    found = list(distributions(path=[str(site)]))
    for each in found:
        _clean(each, site)
    for leftover in (site / "bin", site / ".lock"):
        _remove(leftover)
    packages = sorted((_package(each) for each in found), key=lambda each: each.name)
    if foreign := [each for each in packages if not fits(each.tags, node)]:
        raise ValueError(
            f"{foreign[0].name} {foreign[0].version} has no wheel for Python {node.python} on {node.uv_platform}, and "
            f"was compiled for {', '.join(foreign[0].tags)}: choose another version with --constraints."
        )
    return packages


def fits(tags: Iterable[str], node: Node) -> bool:
    """Whether a wheel with these tags runs on a machine.

    Parameters
    ----------
    tags
        Such as ``"cp312-cp312-manylinux_2_17_x86_64"``.
    node
        The machine.
    """
    return bool(frozenset().union(*map(parse_tag, tags)) & node.tags())


def least_versions(site: Path, node: Node) -> dict[str, str]:
    """Least versions that packages of a folder ask of those that the machine has.

    Parameters
    ----------
    site
        The folder.
    node
        The machine.
    """
    least: dict[str, Version] = {}
    overridden = {canonicalize_name(Requirement(line).name) for line in OVERRIDES}
    asked = [text for each in distributions(path=[str(site)]) for text in each.requires or ()]
    names = {each.name for each in node.have}
    for text in asked:
        read = Requirement(text)
        name = canonicalize_name(read.name)
        if name not in names or (read.marker is not None and not read.marker.evaluate(dict(node.markers()))):
            continue
        for each in read.specifier:
            if each.operator in (">=", "~=") or (each.operator == "==" and name not in overridden):
                version = Version(each.version.removesuffix(".*"))
                least[name] = max(version, least.get(name, version))
    return {name: str(version) for name, version in sorted(least.items())}


def _package(found: Distribution) -> Package:
    tags = [line.partition(":")[2].strip() for line in (found.read_text("WHEEL") or "").splitlines()]
    wheel = [tag for tag in tags if tag.count("-") == 2]
    files = [Path(str(found.locate_file(each))) for each in found.files or ()]
    size = sum(each.stat().st_size for each in files if each.is_file())
    return Package(canonicalize_name(found.metadata["Name"]), found.version, tuple(wheel), size)


def _clean(found: Distribution, site: Path) -> None:
    """Remove the installer's files and commands, and their lines in RECORD."""
    for each in found.files or ():
        if each.name in _OF_INSTALLER and each.parent.name.endswith(".dist-info"):
            _remove(Path(str(found.locate_file(each))))
    record = next(site.glob(f"{_folder(found)}/RECORD"), None)
    if record is None:
        return
    lines = record.read_text("utf-8").splitlines()
    kept = sorted(line for line in lines if not _removed(line, site))
    record.write_text("".join(f"{line}\n" for line in kept), "utf-8")


def _folder(found: Distribution) -> str:
    return next(each.parent.name for each in found.files or () if each.parent.name.endswith(".dist-info"))


def _removed(line: str, site: Path) -> bool:
    name = line.rsplit(",", 2)[0].strip('"')
    return name.split("/")[0] in ("bin", "..") or not (site / name).exists()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
