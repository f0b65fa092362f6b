"""What the processor can do is found out without ever failing."""

from __future__ import annotations

import platform

import pytest
import torch

from lcd.agents.machine import bfloat16_is_fast, keep_freed_memory


@pytest.mark.parametrize("device", ["cpu", "meta", "mps"])
def test_bfloat16_support_is_known_for_any_device(device):
    assert bfloat16_is_fast(torch.device(device)) in (True, False)
    assert not bfloat16_is_fast(torch.device("meta"))


def test_bfloat16_support_is_known_in_versions_of_torch_without_capabilities(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert bfloat16_is_fast.__wrapped__(torch.device("cpu")) is False


@pytest.mark.parametrize("library", ["glibc", "musl", ""])
def test_memory_is_kept_or_not_but_never_fails(monkeypatch, library):
    monkeypatch.setattr(platform, "libc_ver", lambda: (library, ""))
    ask = keep_freed_memory.__wrapped__
    if library == "glibc" and platform.system() != "Linux":
        pytest.skip("no glibc here")
    assert ask() in ((True, False) if library == "glibc" else (False,))
    assert keep_freed_memory() in (True, False)
    keep_freed_memory.cache_clear()
