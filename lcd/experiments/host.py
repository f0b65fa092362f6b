"""What of the machine a process may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import joblib


def usable_cores() -> int:
    """Cores of the processor that this process may use, within the affinity and the quota that it was given.

    A container's quota counts (of Linux's control groups), and ``LOKY_MAX_CPU_COUNT`` lowers the number further, see
    `joblib.cpu_count`.

    Raises
    ------
    ValueError
        If ``LOKY_MAX_CPU_COUNT`` is no number.
    """
    try:
        return max(1, int(joblib.cpu_count()))
    except ValueError:
        given = os.environ.get("LOKY_MAX_CPU_COUNT")
        raise ValueError(f"LOKY_MAX_CPU_COUNT={given!r} is no number of cores: set one, or unset it.") from None


def free_host_bytes(proc: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory of the machine that is free, or of the container if that has less; None where nobody says.

    Parameters
    ----------
    proc
        Where Linux tells of the machine's memory.
    group
        Where it tells of the container's.
    """
    found: list[int] = []
    with suppress(OSError, ValueError, IndexError):
        lines = (line.split() for line in proc.read_text().splitlines())
        found += [1024 * int(words[1]) for words in lines if words[0] == "MemAvailable:"]
    with suppress(OSError, ValueError):  # there is no container, or it is not bounded
        free = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
        found.append(free + _reclaimable(group / "memory.stat"))
    return max(0, min(found)) if found else None


def _reclaimable(stat: Path) -> int:
    """Bytes that a container's files take in memory and give back when it is needed."""
    with suppress(OSError, ValueError):
        lines = (line.split() for line in stat.read_text().splitlines())
        return sum(int(words[1]) for words in lines if words[:1] == ["inactive_file"])
    return 0
