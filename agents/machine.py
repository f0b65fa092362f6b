"""What the processor can do fast, and how to let it."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

import torch


@cache
def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 numbers in hardware, so that mixed precision pays.

    Without such instructions bfloat16 is emulated, which is slower than float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Older versions of torch cannot tell.
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False


@cache
def keep_freed_memory() -> bool:
    """Ask the C library to keep freed blocks for the next allocation instead of returning them to the kernel.

    Training allocates and frees the same large activations at every minibatch. glibc gives blocks of this size back at
    once, and the page faults of getting them anew cost a third of the time with the Nature encoder and more than half
    with IMPALA. Has no effect on other C libraries, or when done twice.

    Returns
    -------
    bool
        Whether the C library took the request.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    m_trim_threshold, m_mmap_threshold, m_arena_max = -1, -3, -8  # names and values from malloc.h
    libc = ctypes.CDLL(None)
    largest_in_old_versions = 1 << 25
    kept = libc.mallopt(m_mmap_threshold, 1 << 30) or libc.mallopt(m_mmap_threshold, largest_in_old_versions)
    libc.mallopt(m_arena_max, 1)  # the other threads' own heaps are too small for such blocks
    return bool(kept) and bool(libc.mallopt(m_trim_threshold, 2**31 - 1))
