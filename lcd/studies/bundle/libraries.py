"""System libraries that wheels load: which they are, and copies of this machine's.

Wheels carry most of what they need. What the manylinux policies let them expect of a machine (PEP 600), such as libGL
and glib, a cluster's node may lack.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

OF_NODE = re.compile(
    r"ld-linux.*|lib(c|m|dl|rt|util|pthread|resolv|nsl|crypt|anl)\.so.*|lib(stdc\+\+|gcc_s)\.so.*|libpython.*"
    r"|lib(cuda|nvidia-.*|nvcuvid)\.so.*"
)
"""Libraries that are never packed: glibc and the driver belong to the loader and the kernel, and an older libstdc++ in
front of the machine's own would break its other packages."""

CHECKED = re.compile(r"lib(stdc\+\+|gcc_s)\.so.*")
"""Those of them that a minimal machine may lack."""

_FLAGS = {"x86_64": "x86-64", "aarch64": "AArch64"}
"""Names of machines in the loader's cache."""

_MAGIC = b"\x7fELF"


@dataclass(frozen=True)
class Needs:
    """What a compiled file needs.

    Attributes
    ----------
    names
        The libraries it is linked with (DT_NEEDED).
    glibc
        The least version of glibc that has its symbols (.gnu.version_r), such as (2, 28); (0, 0) for none.
    """

    names: frozenset[str]
    glibc: tuple[int, int]


@dataclass(frozen=True)
class SystemLibraries:
    """The system libraries of a bundle.

    Attributes
    ----------
    needed
        Those that the wheels themselves ask for, apart from what a machine always has.
    of_node
        Those that the machine must have.
    packed
        Files of this machine by their names there.
    absent
        Those that this machine lacks, so that they are not packed.
    wheels_glibc, packed_glibc
        The least glibc of the wheels and of the packed libraries.
    """

    needed: tuple[str, ...]
    of_node: tuple[str, ...]
    packed: Mapping[str, Path]
    absent: tuple[str, ...]
    wheels_glibc: tuple[int, int]
    packed_glibc: tuple[int, int]


def needs(file: Path) -> Needs | None:
    """What a file needs; None if it is not compiled code.

    Parameters
    ----------
    file
        Any file.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile
    from elftools.elf.gnuversions import GNUVerNeedSection

    with file.open("rb") as stream:
        if stream.read(4) != _MAGIC:
            return None
        try:
            read = ELFFile(stream)
            dynamic, versions = (read.get_section_by_name(name) for name in (".dynamic", ".gnu.version_r"))
            names, used = set[str](), list[str]()
            if isinstance(dynamic, DynamicSection):
                names = {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")}  # type: ignore[attr-defined]
            if isinstance(versions, GNUVerNeedSection):
                used = [each.name for _, group in versions.iter_versions() for each in group]
            found = (re.fullmatch(r"GLIBC_(\d+)\.(\d+)(\.\d+)?", name) for name in used)
            glibc = max((((int(each[1]), int(each[2]))) for each in found if each), default=(0, 0))
        except ELFError:
            return None  # such as the data of a test of somebody's
    return Needs(frozenset(names), glibc)


def cached_libraries(listing: str, machine: str) -> dict[str, Path]:
    """Files of libraries by their names, from what ``ldconfig -p`` prints; the first of a name is what is loaded.

    Parameters
    ----------
    listing
        The text.
    machine
        The processor, as `platform.machine` calls it.
    """
    found: dict[str, Path] = {}
    for line in listing.splitlines():
        matched = re.fullmatch(r"\s*(\S+) \(([^)]*)\) => (\S+)", line)
        if matched and _FLAGS[machine] in matched[2].split(","):
            found.setdefault(matched[1], Path(matched[3]))
    return found


def here(machine: str) -> dict[str, Path]:
    """Libraries of this machine by their names; none where there is no cache of its loader.

    Parameters
    ----------
    machine
        The processor, as `platform.machine` calls it.
    """
    command = shutil.which("ldconfig", path="/sbin:/usr/sbin:/bin:/usr/bin")
    if command is None:
        return {}
    done = subprocess.run([command, "-p"], capture_output=True, text=True, check=False)
    return cached_libraries(done.stdout, machine)


def find_libraries(site: Iterable[Path], available: Mapping[str, Path]) -> SystemLibraries:
    """Find the system libraries that wheels need, and those that these need in turn.

    Parameters
    ----------
    site
        Files of the wheels.
    available
        Libraries that can be packed, by their names.
    """
    of_wheels = {file.name: found for file in site if (found := needs(file)) is not None}
    asked = {name for found in of_wheels.values() for name in found.names} - of_wheels.keys()
    of_node = {name for name in asked if OF_NODE.fullmatch(name)}
    needed = sorted(asked - of_node)
    packed: dict[str, Path] = {}
    absent, glibc, waiting = set(), (0, 0), list(needed)
    while waiting:
        name = waiting.pop()
        if name in packed or name in absent:
            continue
        if name not in available:
            absent.add(name)
            continue
        packed[name] = available[name]
        if (found := needs(available[name])) is not None:
            glibc = max(glibc, found.glibc)
            waiting += [other for other in found.names if not OF_NODE.fullmatch(other) and other not in of_wheels]
    return SystemLibraries(
        needed=tuple(needed),
        of_node=tuple(sorted(name for name in of_node if CHECKED.fullmatch(name))),
        packed=dict(sorted(packed.items())),
        absent=tuple(sorted(absent)),
        wheels_glibc=max((found.glibc for found in of_wheels.values()), default=(0, 0)),
        packed_glibc=glibc,
    )
