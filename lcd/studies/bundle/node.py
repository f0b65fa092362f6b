"""The machine that a bundle is for: its Python, its platform, and the packages that it has."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
"""Versions that the LCD runs with, as its pyproject.toml has them."""

PROCGEN = {"x86_64": ("3.10", "3.11", "3.12")}
"""Versions of Python that Procgen's wheels for Linux are for, by the machine."""

USUAL_PLATFORM = "x86_64-manylinux_2_28"

_PLATFORM = re.compile(r"(x86_64|aarch64)-manylinux_2_(\d{1,2})")

_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""Names of three platforms before PEP 600, by glibc's minor version."""


@dataclass(frozen=True)
class Had:
    """A package that the machine has.

    Attributes
    ----------
    name
        Its name, normalised as in PEP 503.
    version
        Its version; None if any will do.
    """

    name: str
    version: str | None


@dataclass(frozen=True)
class Node:
    """A machine that a bundle is for.

    Attributes
    ----------
    python
        Version of its CPython, such as ``"3.12"``.
    machine
        Its processor, as `platform.machine` calls it.
    glibc
        Minor version of the glibc that wheels may ask for: 28 stands for 2.28.
    have
        Packages that it has, and that are not packed.
    """

    python: str
    machine: str
    glibc: int
    have: tuple[Had, ...] = ()

    @property
    def uv_platform(self) -> str:
        """Its platform as uv and PEP 600 name it."""
        return f"{self.machine}-manylinux_2_{self.glibc}"

    @property
    def has_procgen(self) -> bool:
        """Whether there are wheels of Procgen for it."""
        return self.python in PROCGEN.get(self.machine, ())

    @property
    def is_like_this(self) -> bool:
        """Whether this machine's system libraries run there, as far as the processor goes."""
        return sys.platform == "linux" and platform.machine() == self.machine

    def tags(self) -> frozenset[Tag]:
        """Tags of the wheels that it can install (PEP 425 and PEP 600)."""
        version = tuple(int(part) for part in self.python.split("."))
        platforms = []
        for minor in range(self.glibc, 4, -1):
            platforms.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in _OLD_NAMES:
                platforms.append(f"{_OLD_NAMES[minor]}_{self.machine}")
        interpreter = f"cp{self.python.replace('.', '')}"
        return frozenset(
            [*cpython_tags(version, platforms=platforms), *compatible_tags(version, interpreter, platforms)]
        )

    def markers(self) -> dict[str, str]:
        """Values of environment markers there (PEP 508)."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "platform_machine": self.machine,
            "platform_system": "Linux",
            "sys_platform": "linux",
            "os_name": "posix",
            "extra": "",
        }


def read_node(python: str | None, platform_name: str, have: Sequence[str]) -> Node:
    """Read a machine's description.

    Parameters
    ----------
    python
        Version of its Python, such as ``"3.12"``; None for that of this one.
    platform_name
        Such as ``"x86_64-manylinux_2_28"``.
    have
        Packages that it has, each as ``"NAME"`` or ``"NAME==VERSION"``.

    Raises
    ------
    ValueError
        If one of them cannot be read, or the LCD does not run there.
    """
    version = python if python is not None else f"{sys.version_info.major}.{sys.version_info.minor}"
    if version not in PYTHONS:
        raise ValueError(f"--python {version!r}: the LCD runs with Python {', '.join(PYTHONS)}; name one of them.")
    matched = _PLATFORM.fullmatch(platform_name)
    if matched is None:
        raise ValueError(
            f"--platform {platform_name!r} is not known: write x86_64 or aarch64, and the least glibc, as in "
            f"{USUAL_PLATFORM}."
        )
    packages = tuple(_had(text) for text in have)
    names = [each.name for each in packages]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"--have names {twice[0]} twice: name it once.")
    return Node(version, matched[1], int(matched[2]), packages)


def _had(text: str) -> Had:
    refusal = f"--have {text!r} is no package: write NAME or NAME==VERSION, such as torch==2.12.1."
    try:
        read = Requirement(text)
    except InvalidRequirement:
        raise ValueError(refusal) from None
    versions = [(each.operator, each.version) for each in read.specifier]
    plain = not (read.extras or read.url or read.marker)
    if not plain or len(versions) > 1 or any(operator != "==" or "*" in version for operator, version in versions):
        raise ValueError(refusal)
    return Had(canonicalize_name(read.name), versions[0][1] if versions else None)
