"""Styles of the demands, shared by all figures."""

from __future__ import annotations

from typing import NamedTuple


class DemandStyle(NamedTuple):
    """Plot style of one demand."""

    name: str
    colour: str
    marker: str
    line: str


# Okabe and Ito's colours, safe for colour-blind readers, and another marker and line each.
DEMAND_STYLES = {
    "perceptual": DemandStyle("perceptual demand P", "#009E73", "o", "-"),
    "policy": DemandStyle("policy-learning demand L", "#CC79A7", "s", "--"),
    "joint": DemandStyle("joint demand J", "#888888", "^", ":"),
}
NEUTRAL = "#555555"
