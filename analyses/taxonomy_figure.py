"""The map of a taxonomy: games in the plane of their demands, and the decomposition of each game's gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lcd.analyses.names import write_names
from lcd.analyses.palette import DEMAND_STYLES, NEUTRAL
from lcd.measurement.rule import NEGLIGIBLE
from lcd.studies.taxonomy.positions import PLANE
from lcd.studies.taxonomy.taxonomy import Placement, Taxonomy


class ClassStyle(NamedTuple):
    """Plot style of the games of one class."""

    colour: str
    marker: str
    symbol: str  # Plotly's name of the marker


# Okabe and Ito's colours, safe for colour-blind readers, and another marker each.
CLASS_STYLES = (
    ClassStyle("#0072B2", "o", "circle"),
    ClassStyle("#D55E00", "s", "square"),
    ClassStyle("#009E73", "^", "triangle-up"),
    ClassStyle("#CC79A7", "D", "diamond"),
    ClassStyle("#E69F00", "v", "triangle-down"),
    ClassStyle("#56B4E9", "P", "cross"),
)
NEARBY = 0.3
"""Part of an interval beyond the outermost game that lies within the map, in units of the score."""

FLOOR_LIMITED = " ".join(PLANE)
"""Value of the column `floor_limited` for games in which both demands are."""

DECIDED, UNDECIDED = "black", "0.45"
PLACED = "#B00020"
"""Colour of new games on the map."""


def draw_taxonomy(taxonomy: Taxonomy, placed: Sequence[Placement] = ()) -> Figure:
    """Plot the map of the games beside the decomposition of their gaps.

    Parameters
    ----------
    taxonomy : Taxonomy
        What to draw.
    placed : sequence of Placement
        New games, which are shown on the map by a star each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    positions, names = taxonomy.positions, taxonomy.classes.names
    figure = Figure(figsize=(12, max(5.2, 1.6 + 0.27 * len(positions))), layout="constrained")
    chart, bars = figure.subplots(1, 2, width_ratios=(1.15, 1))
    stars = [placement.position for placement in placed]
    _draw_map(chart, positions, names, stars)
    _draw_parts(bars, positions)
    figure.draw_without_rendering()  # names are placed in the room that the layout leaves
    _name_games(chart, positions, stars)
    return figure


def _draw_map(axes: Axes, positions: pd.DataFrame, names: Sequence[str], placed: Sequence[pd.DataFrame]) -> None:
    axes.axvspan(-1, NEGLIGIBLE, color="0.94", zorder=0, lw=0)
    axes.axhspan(-1, NEGLIGIBLE, color="0.94", zorder=0, lw=0)
    for name, style in zip(names, CLASS_STYLES, strict=False):
        rows = positions[positions["class"] == name]
        if rows.empty:
            continue
        spans = [_margins(rows, demand) for demand in ("perceptual", "policy")]
        drawn = axes.errorbar(
            rows["perceptual"], rows["policy"], xerr=spans[0], yerr=spans[1], fmt=style.marker, color=style.colour,
            ms=7, elinewidth=0.7, label=f"{name} ({len(rows)})", mec="white", mew=0.6,
        )  # fmt: skip
        floor_limited = rows[rows["floor_limited"] == FLOOR_LIMITED]
        axes.plot(
            floor_limited["perceptual"],
            floor_limited["policy"],
            style.marker,
            ms=6.4,
            mfc="white",
            mec=style.colour,
            mew=1.2,
            zorder=3,
        )
        for bars in drawn[2]:
            bars.set_alpha(0.4)
    everything = pd.concat([positions, *placed], ignore_index=True)
    for new in placed:
        spans = [_margins(new, demand) for demand in ("perceptual", "policy")]
        axes.errorbar(
            new["perceptual"], new["policy"], xerr=spans[0], yerr=spans[1], fmt="*", color=PLACED, ms=15,
            elinewidth=1.2, mec="white", mew=0.8, zorder=4, label=f"placed: {new['game'].iloc[0]}",
        )  # fmt: skip
    axes.set_xlim(*map_range(everything, "perceptual"))
    axes.set_ylim(*map_range(everything, "policy"))
    axes.axline((0, 0), slope=1, color="0.75", lw=0.8, ls=(0, (4, 4)), zorder=0)
    axes.set_xlabel("perceptual demand P")
    axes.set_ylabel("policy-learning demand L")
    axes.set_title("Games by what makes them hard, with 95 % intervals", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    if (positions["floor_limited"] == FLOOR_LIMITED).any():
        axes.plot([], [], "o", mfc="white", mec="0.3", mew=1.2, label="open: floor-limited demands")
    if (positions["verdict"] == "inconclusive").any():
        axes.plot([], [], " ", label="grey name: no verdict")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=9, frameon=False)


def _name_games(axes: Axes, positions: pd.DataFrame, placed: Sequence[pd.DataFrame]) -> None:
    """Write the names of all games beside their points, those without a verdict in grey."""
    everything = pd.concat([positions, *placed], ignore_index=True)
    styles = [
        {"color": DECIDED, "style": "normal"} if decided else {"color": UNDECIDED, "style": "italic"}
        for decided in positions["verdict"] != "inconclusive"
    ]
    styles += [{"color": PLACED, "style": "normal", "weight": "bold"}] * len(placed)
    write_names(
        axes, everything[["perceptual", "policy"]].to_numpy(), everything["game"].tolist(), size=8.5, styles=styles
    )


def map_range(positions: pd.DataFrame, demand: str) -> tuple[float, float]:
    """Range of an axis of the map: all games, and the parts of their intervals that lie near.

    Parameters
    ----------
    positions : pandas.DataFrame
        Of a `Taxonomy`.
    demand : str
        perceptual or policy.
    """
    games = positions[demand]
    lows, highs = (positions[f"{demand}_{end}"].fillna(games) for end in ("low", "high"))
    low = min(0.0, max(lows.min(), games.min() - NEARBY))
    high = max(2 * NEGLIGIBLE, min(highs.max(), games.max() + NEARBY))
    return float(low - NEGLIGIBLE), float(high + NEGLIGIBLE)


def _margins(rows: pd.DataFrame, demand: str) -> np.ndarray:
    limits = np.stack([rows[demand] - rows[f"{demand}_low"], rows[f"{demand}_high"] - rows[demand]])
    return np.nan_to_num(limits)


def _draw_parts(axes: Axes, positions: pd.DataFrame) -> None:
    """Plot the three demands of each game with their intervals, the largest gap on top."""
    rows = positions.sort_values("gap")
    places = np.arange(len(rows))
    for shift, (demand, style) in zip((0.22, 0.0, -0.22), DEMAND_STYLES.items(), strict=True):
        axes.errorbar(
            rows[demand], places + shift, xerr=_margins(rows, demand), fmt=style.marker, color=style.colour, ms=5,
            lw=1.2, label=style.name,
        )  # fmt: skip
    axes.plot(rows["gap"], places, "|", color="black", ms=13, mew=1.6, label="learning gap G")
    axes.axvline(0, color=NEUTRAL, lw=0.8)
    axes.set_yticks(places, rows["game"])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel("normalised score, 95 % intervals")
    axes.set_title("What the gap is made of", loc="left", fontsize=11)
    axes.grid(axis="y", color="0.92", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=9, frameon=False)
