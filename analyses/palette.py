"""How demands are drawn, in every figure alike."""

from __future__ import annotations

from typing import NamedTuple


class DemandLook(NamedTuple):
    """How one demand is drawn."""

    name: str
    colour: str
    marker: str
    line: str


# Okabe and Ito's colours, safe for colour-blind readers, and another marker and line each.
DEMAND_LOOKS = {
    "perceptual": DemandLook("perceptual demand P", "#009E73", "o", "-"),
    "policy": DemandLook("policy-learning demand L", "#CC79A7", "s", "--"),
    "joint": DemandLook("joint demand J", "#888888", "^", ":"),
}
NEUTRAL = "#555555"
