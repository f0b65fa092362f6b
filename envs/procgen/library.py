"""Loading of Procgen's compiled library, with clear messages where it fails."""

from __future__ import annotations

import platform
import re
import sys
import warnings
from typing import Any

SYSTEM_PACKAGES = "apt-get install libgl1 libglib2.0-0 on Debian and Ubuntu, dnf install mesa-libGL glib2 on Fedora"
PLATFORMS = (
    "Linux (x86-64) with Python 3.10, 3.11 and 3.12, and for Intel macOS and Windows (x86-64) with Python 3.10 only"
)

_LIBRARY = re.compile(r"(lib[\w.+-]*?\.so[.\d]*): cannot open shared object file")


class ProcgenMissing(ImportError, ValueError):
    """Procgen cannot be loaded on this machine; the message says what would help."""


def procgen_env(**settings: Any) -> Any:
    """A batch of Procgen's games, a ``procgen.ProcgenGym3Env`` with the given settings.

    Raises
    ------
    ProcgenMissing
        If Procgen is not installed, or a library of the system that it needs is not.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from procgen import ProcgenGym3Env
        return ProcgenGym3Env(**settings)
    except (ImportError, OSError) as error:
        if (advice := _advice(error)) is None:
            raise
        raise ProcgenMissing(advice) from error


def _advice(error: ImportError | OSError) -> str | None:
    """Remedy for an error in loading Procgen, None for other errors."""
    if lacking := _LIBRARY.search(str(error)):
        return f"Procgen needs {lacking[1]}, which this system lacks: {SYSTEM_PACKAGES}."
    if not isinstance(error, ImportError):
        return None
    if not has_wheel():
        version = ".".join(map(str, sys.version_info[:2]))
        return (
            f"Procgen does not exist for {platform.system()} ({platform.machine()}) with Python {version}: there are "
            f"wheels for {PLATFORMS}. A container with Linux (x86-64) runs it elsewhere."
        )
    return f"Procgen is not installed ({error}): pip install 'learning-challenge-diagnosticator[procgen]'."


def has_wheel() -> bool:
    """Whether the package index has Procgen for this system, processor and Python."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    if sys.version_info[:2] == (3, 10):
        return sys.platform in ("linux", "darwin", "win32")
    return sys.platform == "linux" and sys.version_info[:2] in ((3, 11), (3, 12))
