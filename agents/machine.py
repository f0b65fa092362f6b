"""Hardware bfloat16, and memory allocation for training on a CPU."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from typing import Literal

import torch


@cache
def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device has bfloat16 instructions; without them bfloat16 is emulated, slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Older versions of torch do not report it.
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False


def fastest_precision(device: str | None = None) -> Literal["bfloat16", "float32"]:
    """Precision in which encoders compute fastest on a device, by default a GPU where there is one."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return "bfloat16" if bfloat16_is_fast(torch.device(device)) else "float32"


@cache
def keep_freed_memory() -> bool:
    """Make the C library keep freed memory for the next allocation instead of returning it to the kernel.

    Training allocates and frees the same large activations at every minibatch. By default glibc returns blocks of this
    size at once, and the page faults of getting them again cost a third of the time with the Nature encoder and more
    than half with IMPALA. There is no effect on other C libraries, and none of a second call.

    Returns
    -------
    bool
        Whether the C library accepted the setting.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    m_trim_threshold, m_mmap_threshold, m_arena_max = -1, -3, -8  # names and values from malloc.h
    libc = ctypes.CDLL(None)
    largest_in_old_versions = 1 << 25
    kept = libc.mallopt(m_mmap_threshold, 1 << 30) or libc.mallopt(m_mmap_threshold, largest_in_old_versions)
    libc.mallopt(m_arena_max, 1)  # the other threads' own heaps are too small for such blocks
    return bool(kept) and bool(libc.mallopt(m_trim_threshold, 2**31 - 1))
