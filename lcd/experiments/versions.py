"""Versions of what decides what a run learns."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "learning-challenge-diagnosticator",
    "torch",
    "stable-baselines3",
    "gymnasium",
    "procgen",
    "procgen-mirror",
    "numpy",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run learns."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
