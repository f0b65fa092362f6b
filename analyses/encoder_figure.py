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

MEASURES = {
    "alignment": "agreement with what matters\n(Spearman, gradient)",
    "robustness": "smallest perturbation\n(L2 norm)",
    "invariance": "states found again\nin other looks",
}


def draw_encoders(shares: pd.DataFrame, means: pd.DataFrame) -> Figure:
    """Draw the study.

    Parameters
    ----------
    shares : pandas.DataFrame
        One row a (game, encoder): share, share_low, share_high of the perceptual demand that it closes.
    means : pandas.DataFrame
        One row a (game, encoder), with the encoder that learns from nothing: score, and the columns of `MEASURES`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    games = list(shares["game"].unique())
    figure = Figure(figsize=(12, 2.2 + 0.75 * len(games)), layout="constrained")
    left, *rest = figure.subplots(1, 1 + len(MEASURES), width_ratios=[1.5, *[1.0] * len(MEASURES)])
    _draw_shares(left, shares, games)
    for panel, (measure, name) in zip(rest, MEASURES.items(), strict=True):
        _draw_measure(panel, means, measure)
        panel.set_xlabel(name)
        panel.spines[["top", "right"]].set_visible(False)
    rest[0].set_ylabel("score with advice, less that of scratch")
    handles = [
        left.plot([], [], look.marker, color=look.colour, label=name)[0]
        for name, look in LOOKS.items()
        if name in set(means["encoder"])
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    return figure


def _draw_shares(panel: Axes, shares: pd.DataFrame, games: list[str]) -> None:
    encoders = [name for name in LOOKS if name in set(shares["encoder"])]
    for row in shares.to_dict("records"):
        look = LOOKS[row["encoder"]]
        place = games.index(row["game"]) + 0.7 * ((encoders.index(row["encoder"]) + 0.5) / len(encoders) - 0.5)
        ends = [max(-FARTHEST, min(FARTHEST, row[name])) for name in ("share_low", "share_high")]
        panel.plot(ends, [place, place], color=look.colour, lw=1.2)
        for end, limit, arrow in zip(ends, (row["share_low"], row["share_high"]), "<>", strict=True):
            if abs(limit) > FARTHEST:
                panel.plot([end], [place], arrow, color=look.colour, ms=4)
        if abs(row["share"]) <= FARTHEST:
            panel.plot([row["share"]], [place], look.marker, color=look.colour, ms=6)
    for share in (0, 1):
        panel.axvline(share, color=NEUTRAL, lw=0.8, ls="-" if share == 0 else ":")
    panel.set_yticks(range(len(games)), games)
    panel.invert_yaxis()
    panel.set_xlim(-1.05 * FARTHEST, 1.05 * FARTHEST)
    panel.set_xlabel("share of the perceptual demand closed, with 95 % limits")
    panel.spines[["top", "right"]].set_visible(False)


def _draw_measure(panel: Axes, means: pd.DataFrame, measure: str) -> None:
    for _, rows in means.groupby("game", sort=False):
        own = rows[rows["encoder"] == "scratch"].iloc[0]
        for row in rows.to_dict("records"):
            look = LOOKS[row["encoder"]]
            panel.plot([row[measure]], [row["score"] - own["score"]], look.marker, color=look.colour, ms=6)
    panel.axhline(0, color=NEUTRAL, lw=0.8)
