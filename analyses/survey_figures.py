"""Figures of a survey: curves, ranks, seeds and steps needed for verdicts, and agreement with other scores."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from lcd.analyses.diagnosis_figure import CELL_STYLES, draw_cells
from lcd.analyses.names import write_names
from lcd.analyses.palette import DEMAND_STYLES, NEUTRAL
from lcd.measurement.scores import mean_curves
from lcd.studies.taxonomy.positions import PLANE
from lcd.studies.taxonomy.taxonomy import Taxonomy

COLUMNS = 4
FAMILY_NAMES = {"area": "area", "log_area": "area, log steps", "final": "final"}


def draw_curves(taxonomy: Taxonomy) -> Figure:
    """Plot the four learning curves of every game on unseen levels, one panel a game, each with its own scale.

    Parameters
    ----------
    taxonomy : Taxonomy
        What to draw; likewise in the other functions.

    Returns
    -------
    matplotlib.figure.Figure
    """
    games = list(taxonomy.positions["game"])
    rows = math.ceil(len(games) / COLUMNS)
    figure = Figure(figsize=(12, 0.7 + 2.1 * rows), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False, sharex=True).ravel()
    for panel, game in zip(panels, games, strict=False):
        curves = taxonomy.tables.curves
        of_game = mean_curves(curves[(curves["game"] == game) & (curves["levels"] == "unseen")])
        draw_cells(panel, of_game)
        panel.set_title(game, loc="left", fontsize=10)
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.tick_params(labelbottom=True)
        _plain(panel)
    for panel in panels[len(games) :]:
        panel.set_axis_off()
    lines = [
        Line2D([], [], color=style.colour, linestyle=style.line, label=style.name) for style in CELL_STYLES.values()
    ]
    figure.legend(handles=lines, loc="outside upper center", ncols=4, frameon=False)
    figure.supylabel("normalised score on unseen levels, with the range of the seeds", fontsize=10)
    figure.supxlabel("environment steps", fontsize=10)
    return figure


def draw_ranks(taxonomy: Taxonomy) -> Figure:
    """Plot the rank of every game in each demand, with its interval under other draws of seeds."""
    games = len(taxonomy.positions)
    figure = Figure(figsize=(10, 1.4 + 0.28 * games), layout="constrained")
    for panel, demand in zip(figure.subplots(1, 2), PLANE, strict=True):
        style = DEMAND_STYLES[demand]
        ranks = taxonomy.ranks
        rows = ranks[ranks["demand"] == demand].sort_values("rank", ascending=False)
        panel.hlines(rows["game"], rows["low"], rows["high"], color=style.colour, lw=5, alpha=0.3)
        panel.plot(rows["rank"], rows["game"], style.marker, color=style.colour)
        panel.set_xlabel("rank, 1 the hardest, with 95 % of other seeds")
        panel.set_title(style.name, loc="left", fontsize=11)
        _plain(panel)
    return figure


def draw_needs(taxonomy: Taxonomy) -> Figure:
    """Plot the share of decided verdicts over numbers of seeds and over budgets."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    seeds, steps = figure.subplots(1, 2)
    seeds.plot(taxonomy.seeds["seeds"], taxonomy.seeds["decided"], "o-", color=NEUTRAL, label="decided verdicts")
    for demand in PLANE:
        style, column = DEMAND_STYLES[demand], f"icc_{demand}"
        seeds.plot(
            taxonomy.seeds["seeds"], taxonomy.seeds[column], marker=style.marker, ls=style.line, color=style.colour,
            label=f"ICC of {style.name.split()[-1]}",
        )  # fmt: skip
        steps.plot(
            taxonomy.steps["steps"], taxonomy.steps[demand], marker=style.marker, ls=style.line, color=style.colour,
            label=f"rank correlation of {style.name.split()[-1]} with the whole budget's",
        )  # fmt: skip
    steps.plot(taxonomy.steps["steps"], taxonomy.steps["decided"], "o-", color=NEUTRAL, label="decided verdicts")
    seeds.set_xlabel("seeds of each cell, if estimates and spreads stay")
    seeds.xaxis.set_major_locator(MaxNLocator(integer=True))
    steps.set_xlabel("environment steps of each cell")
    steps.xaxis.set_major_formatter(EngFormatter(sep=""))
    for panel in (seeds, steps):
        panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        panel.legend(fontsize=8, frameon=False)
        _plain(panel)
    return figure


def draw_agreement(taxonomy: Taxonomy) -> Figure:
    """Plot the agreement of other score families, and of the estimate from generalisation, with the demands."""
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    families, *scatters = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
    table = taxonomy.families
    names = [f"{row.levels}, {FAMILY_NAMES[row.score]}" for row in table.itertuples()]  # type: ignore[index]
    for shift, demand in zip((-0.15, 0.15), PLANE, strict=True):
        style = DEMAND_STYLES[demand]
        places = [place + shift for place in range(len(names))]
        families.hlines(places, min(0.0, table[demand].min()), table[demand], color=style.colour, lw=1.5)
        families.plot(table[demand], places, style.marker, color=style.colour, label=style.name)
    families.set_yticks(range(len(names)), names)
    families.invert_yaxis()
    families.set_xlabel("rank correlation with unseen, area")
    families.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    _plain(families)
    of_demands = [taxonomy.cheap[taxonomy.cheap["demand"] == demand] for demand in PLANE]
    for panel, demand, rows in zip(scatters, PLANE, of_demands, strict=True):
        _draw_cheap(panel, rows, demand, taxonomy.cheap_agreement)
    figure.draw_without_rendering()  # the layout settles at its second drawing
    for panel, rows in zip(scatters, of_demands, strict=True):
        write_names(panel, rows[["factorial", "cheap"]].to_numpy(), rows["game"].tolist(), size=7, all_names=False)
    return figure


def _draw_cheap(panel: Axes, rows: pd.DataFrame, demand: str, agreement: pd.DataFrame) -> None:
    style, found = DEMAND_STYLES[demand], agreement.set_index("demand").loc[demand]
    panel.errorbar(
        rows["factorial"], rows["cheap"], yerr=[rows["cheap"] - rows["low"], rows["high"] - rows["cheap"]],
        fmt=style.marker, color=style.colour, elinewidth=0.7,
    )  # fmt: skip
    panel.set_xlabel(f"{style.name}, factorial")
    panel.set_ylabel("from generalisation alone")
    panel.set_title(
        f"Spearman {found['spearman']:.2f} [{found['low']:.2f}, {found['high']:.2f}]", loc="left", fontsize=10
    )
    _plain(panel)


def _plain(panel: Axes) -> None:
    panel.spines[["top", "right"]].set_visible(False)
