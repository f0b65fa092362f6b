"""Figure of the demands' responses to the difficulty factors of the calibration game."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lcd.analyses.palette import DEMAND_STYLES
from lcd.envs.calibration.difficulty import PERCEPTUAL, POLICY


def draw_calibration(responses: pd.DataFrame, dissociations: pd.DataFrame) -> Figure:
    """Draw a panel for each factor: demands with their intervals, and the cells a and d.

    Parameters
    ----------
    responses
        What `lcd.studies.calibration.response.response_table` returned.
    dissociations
        What `lcd.studies.calibration.response.dissociation` returned for the same family of scores and split.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = [[factor for factor in family if factor in set(responses["dial"])] for family in (PERCEPTUAL, POLICY)]
    rows = [row for row in rows if row]
    width = max(len(row) for row in rows)
    figure = Figure(figsize=(2.6 * width + 0.6, 3.0 * len(rows) + 0.9), layout="constrained")
    panels = figure.subplots(len(rows), width, sharex=True, sharey=True, squeeze=False)
    for of_row, factors in zip(panels, rows, strict=True):
        for panel in of_row[len(factors) :]:
            panel.set_visible(False)
        for panel, factor in zip(of_row, factors, strict=False):
            found = dissociations[dissociations["dial"] == factor].iloc[0]
            _draw_factor(panel, responses[responses["dial"] == factor])
            panel.set_title(
                f"{factor}\nSpearman {found['spearman']:.2f}, leak {found['leak']:.0%} "
                f"[{found['leak_low']:.0%}, {found['leak_high']:.0%}]",
                fontsize=9,
            )
        of_row[0].set_ylabel("normalised score")
    for panel in panels[-1]:
        panel.set_xlabel("difficulty factor")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(2, width), frameon=False, fontsize=9)
    return figure


def _draw_factor(panel: Axes, responses: pd.DataFrame) -> None:
    tables = {name: rows.sort_values("value") for name, rows in responses.groupby("quantity")}
    for name, label, dashes in (("d", "d, both solved", (0, (8, 3))), ("a", "a, neither solved", (0, (2, 2)))):
        panel.plot(tables[name]["value"], tables[name]["estimate"], ls=dashes, color="0.2", lw=0.7, label=label)
    for name, style in DEMAND_STYLES.items():
        table = tables[name]
        panel.plot(
            table["value"], table["estimate"], style.marker + style.line, color=style.colour, ms=4, label=style.name
        )
        panel.fill_between(table["value"], table["low"], table["high"], color=style.colour, alpha=0.2, lw=0)
    panel.axhline(0, color="0.8", lw=0.8, zorder=0)
    low, high = panel.get_ylim()
    panel.set_ylim(min(low, -0.3), max(high, 1.1))
    panel.spines[["top", "right"]].set_visible(False)
