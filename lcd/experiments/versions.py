"""Versions of what decides what a run learns."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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


@cache
def commit() -> str | None:
    """Commit of the checkout that the package runs from, with ``+`` behind it where files differ from it.

    Returns
    -------
    str or None
        None outside a checkout, or where git does not tell.
    """
    file = Path(__file__).resolve()
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # of another repository

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(file.parent), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10, env=own, stdin=subprocess.DEVNULL
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)  # another repository may hold the folder
        return git("rev-parse", "HEAD") + "+" * bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None


def processor_of(device: str) -> str:
    """Name of what computes on one of torch's devices: a graphics card, or else this machine's processor."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
