"""Figure of scaling laws: what was measured, and where the chosen law leads."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lcd.analyses.diagnosis_figure import CELL_STYLES
from lcd.analyses.palette import COLOURS, MARKERS
from lcd.measurement.scaling import Fit
from lcd.studies.scaling import GAPS

BEYOND = 10.0
"""Multiple of the largest size up to which laws are drawn."""

COLUMNS = 4

COLOURS_OF_GAPS = {gap: CELL_STYLES[cell].colour for cell, gap in GAPS.items()}
"""Gaps have the colours of their cells."""


def draw_scaling(values: pd.DataFrame, laws: Mapping[tuple[str, str], Fit], size: str) -> Figure:
    """Draw a panel a game: means over seeds as points, the chosen law through them and, dashed, beyond them.

    Parameters
    ----------
    values : pandas.DataFrame
        See `lcd.studies.scaling.Scaling`. Demands are left out beside gaps: they are differences of what is drawn.
    laws
        The law of each (game, quantity).
    size
        What the sizes are.

    Returns
    -------
    matplotlib.figure.Figure
    """
    shown = list(dict.fromkeys(name for _, name in laws))
    if not COLOURS_OF_GAPS.keys().isdisjoint(shown):
        shown = [name for name in shown if name not in ("perceptual", "policy")]
    games = list(dict.fromkeys(game for game, name in laws if name in shown))
    columns = min(COLUMNS, len(games))
    rows = math.ceil(len(games) / columns)
    figure = Figure(figsize=(3.0 * columns + 0.4, 2.3 * rows + 0.7), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for panel, game in zip(panels.flat, games, strict=False):
        for number, quantity in enumerate(shown):
            of = values[(values["game"] == game) & (values["quantity"] == quantity)]
            _draw(panel, of.groupby("size")["value"].mean(), laws.get((game, quantity)), number, quantity)
        panel.set_title(game, fontsize=10)
        panel.set_xscale("log")
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels.flat[len(games) :]:
        panel.set_axis_off()
    for row in panels:
        row[0].set_ylabel("gap" if shown[0].startswith("gap") else shown[0])
    for panel in panels[-1]:
        panel.set_xlabel(size)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    return figure


def _draw(panel: Axes, means: pd.Series, law: Fit | None, number: int, label: str) -> None:
    colour = COLOURS_OF_GAPS.get(label, COLOURS[number % len(COLOURS)])
    marker = MARKERS[number % len(MARKERS)]
    sizes = means.index.to_numpy(np.float64)
    panel.plot(sizes, means, marker, color=colour, ms=4, label=label)
    if law is None:
        return
    inside, beyond = np.geomspace(sizes.min(), sizes.max(), 50), np.geomspace(sizes.max(), BEYOND * sizes.max(), 50)
    panel.plot(inside, law.predict(inside), color=colour, lw=1.2)
    panel.plot(beyond, law.predict(beyond), color=colour, lw=1.0, ls="--")
    low, high = np.nanmin(means), np.nanmax(means)
    room = 0.25 * max(high - low, 0.2)
    bottom, top = panel.get_ylim() if number else (low, high)
    panel.set_ylim(min(bottom, low - room), max(top, high + room))
