"""Colours and markers that figures share."""

from __future__ import annotations

from typing import NamedTuple


class DemandStyle(NamedTuple):
    """Plot style of one demand."""

    name: str
    colour: str
    marker: str
    line: str


COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#999999")
"""Okabe and Ito's, safe for colour-blind readers."""

MARKERS = "osD^vP*X"
"""A marker for each of `COLOURS`."""

# Of the same colours, and another marker and line each.
DEMAND_STYLES = {
    "perceptual": DemandStyle("perceptual demand P", "#009E73", "o", "-"),
    "policy": DemandStyle("policy-learning demand L", "#CC79A7", "s", "--"),
    "joint": DemandStyle("joint demand J", "#888888", "^", ":"),
}
NEUTRAL = "#555555"
