"""Whether two learners go on alike: their further states are equal to the bit."""

from __future__ import annotations

from typing import Any

import torch

from lcd.io.untrusted import portable


def flat(state: Any, name: str = "") -> dict[str, Any]:
    """The leaves of a nested state by their places in it."""
    if isinstance(state, (dict, list)):
        pairs = state.items() if isinstance(state, dict) else enumerate(state)
        return {place: leaf for key, each in pairs for place, leaf in flat(each, f"{name}/{key}").items()}
    return {name: state}


def assert_same_state(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = (flat(portable(each)) for each in (one, other))
    assert list(first) == list(second)
    for place, leaf in first.items():
        if isinstance(leaf, torch.Tensor):
            assert leaf.shape == second[place].shape, place
            assert torch.allclose(leaf, second[place], rtol=0, atol=0, equal_nan=True), place
        else:
            assert leaf == second[place], place
