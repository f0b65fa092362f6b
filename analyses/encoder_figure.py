"""The figure of the study of encoders: which share of the perceptual demand each closes, and what foretells it."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.palette import NEUTRAL


class _Look(NamedTuple):
    colour: str
    marker: str


# Okabe and Ito's colours, safe for colour-blind readers, and another marker each.
LOOKS = {
    "scratch": _Look("#555555", "o"),
    "random": _Look("#999999", "x"),
    "efficientnet_lite0": _Look("#E69F00", "^"),
    "slow-features": _Look("#56B4E9", "v"),
    "segmentation": _Look("#009E73", "s"),
    "harmonized": _Look("#CC79A7", "D"),
}
FARTHEST = 2.0
"""Shares are drawn up to here on either side; an arrow says that a limit lies beyond."""


NAMES = {
    "gradient": "looks where it matters (gradient)",
    "integrated_gradients": "the same (integrated gradients)",
    "smooth_gradient": "the same (SmoothGrad)",
    "occlusion": "the same (occlusion)",
    "revealed": "that revealed brings decisions back",
    "hidden": "that hidden leaves decisions",
    "robustness": "withstands perturbations",
    "perturbation": "is perturbed where it matters",
    "invariance": "finds states again in other looks",
}
"""What the measures of `lcd.foretelling.MEASURES` are called in a figure."""


def draw_encoders(shares: pd.DataFrame, correlations: pd.DataFrame, means: pd.DataFrame) -> Figure:
    """Draw the study.

    Parameters
    ----------
    shares : pandas.DataFrame
        One row a (game, encoder): share, share_low, share_high of the perceptual demand that it closes.
    correlations : pandas.DataFrame
        What `lcd.foretelling.rank_correlations` gave for `lcd.foretelling.MEASURES`.
    means : pandas.DataFrame
        What `lcd.foretelling.foretelling` gave for them.

    Returns
    -------
    matplotlib.figure.Figure
    """
    games = list(shares["game"].unique())
    figure = Figure(figsize=(11, 2.0 + 0.75 * max(len(games), 4)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1.0])
    _draw_shares(left, shares, games)
    _draw_foretelling(right, correlations, means)
    for panel in (left, right):
        panel.spines[["top", "right"]].set_visible(False)
    handles = [
        left.plot([], [], look.marker, color=look.colour, label=name)[0]
        for name, look in LOOKS.items()
        if name in set(shares["encoder"])
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False)
    return figure


def _draw_shares(panel: Axes, shares: pd.DataFrame, games: list[str]) -> None:
    encoders = [name for name in LOOKS if name in set(shares["encoder"])]
    for row in shares.to_dict("records"):
        look = LOOKS[row["encoder"]]
        place = games.index(row["game"]) + 0.7 * ((encoders.index(row["encoder"]) + 0.5) / len(encoders) - 0.5)
        _draw_limits(panel, (row["share_low"], row["share_high"]), place, look.colour, FARTHEST)
        if abs(row["share"]) <= FARTHEST:
            panel.plot([row["share"]], [place], look.marker, color=look.colour, ms=6)
    for share in (0, 1):
        panel.axvline(share, color=NEUTRAL, lw=0.8, ls="-" if share == 0 else ":")
    panel.set_yticks(range(len(games)), games)
    panel.invert_yaxis()
    panel.set_xlim(-1.05 * FARTHEST, 1.05 * FARTHEST)
    panel.set_xlabel("share of the perceptual demand closed,\nwith 95 % limits")


def _draw_limits(panel: Axes, limits: tuple[float, float], place: float, colour: str, farthest: float) -> None:
    """Draw limits as a line that ends in an arrow where they lie beyond what is drawn; unknown ones not at all."""
    if any(limit != limit for limit in limits):
        return
    ends = [max(-farthest, min(farthest, limit)) for limit in limits]
    panel.plot(ends, [place, place], color=colour, lw=1.2)
    for end, limit, arrow in zip(ends, limits, "<>", strict=True):
        if abs(limit) > farthest:
            panel.plot([end], [place], arrow, color=colour, ms=4)


def _draw_foretelling(panel: Axes, correlations: pd.DataFrame, means: pd.DataFrame) -> None:
    for place, measure in enumerate(NAMES):
        found = correlations.loc[correlations["measure"] == measure, "spearman"]
        panel.plot(found, [place] * len(found), "|", color=NEUTRAL, ms=7, label="a game" if place == 0 else None)
        row = means[means["measure"] == measure].iloc[0]
        panel.plot([row["least"], row["most"]], [place, place], color="#BBBBBB", lw=5, solid_capstyle="butt")
        _draw_limits(panel, (row["low"], row["high"]), place, "black", 1.0)
        panel.plot([row["spearman"]], [place], "D", color="black", ms=5, label="mean" if place == 0 else None)
    panel.axvline(0, color=NEUTRAL, lw=0.8)
    panel.set_xlim(-1.05, 1.05)
    panel.set_yticks(range(len(NAMES)), list(NAMES.values()))
    panel.invert_yaxis()
    panel.set_xlabel("rank correlation with the score\nover a game's encoders")
    panel.plot([], [], color="#BBBBBB", lw=5, label="without one of them")
    panel.legend(frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
