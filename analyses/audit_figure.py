"""Figure of an audit: hidden losses, games that decide, other choices, smaller sets of games, and noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lcd.analyses.palette import DEMAND_STYLES, NEUTRAL
from lcd.measurement.hidden_losses import ALL_GAMES
from lcd.measurement.method_scores import SINGLE_GAMES
from lcd.studies.audit.result import Audit

MOST_ROWS = 16
"""Losses, games and choices that a panel shows."""

LONGEST = 34
"""Signs of a name."""

GAIN, LOSS, SET = DEMAND_STYLES["perceptual"].colour, "#D55E00", "#0072B2"
"""Okabe and Ito's colours, as in the other figures."""


def draw_audit(audit: Audit) -> Figure:
    """Draw a panel for each question of an audit.

    Parameters
    ----------
    audit : Audit
        What was found.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(13, 13), layout="constrained")
    parts = figure.subfigures(2, 1, squeeze=False, height_ratios=[1, 2])  # long names widen only their own part
    top, bottom = parts[:, 0]
    _draw_losses(top.subplots(), audit)
    panels = bottom.subplots(2, 2)
    for panel, draw in zip(panels.ravel(), (_draw_influence, _draw_choices, _draw_subsets, _draw_noise), strict=True):
        draw(panel, audit)
    for panel in figure.axes:
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _titled(panel: Axes, title: str) -> None:
    panel.set_title(title, loc="left", fontsize=11)


def _empty(panel: Axes, reason: str) -> None:
    panel.set_axis_on()
    panel.set_xticks([])
    panel.set_yticks([])
    panel.text(0.5, 0.5, reason, transform=panel.transAxes, ha="center", va="center", color=NEUTRAL, wrap=True)


def _draw_losses(panel: Axes, audit: Audit) -> None:
    """The largest losses behind positive mean gains, with their limits, beside the mean gain."""
    gains = audit.gains
    tested = gains[(gains["grouping"] != ALL_GAMES) & gains["q"].notna()]
    _titled(panel, f"Hidden losses (false-discovery rate {audit.error_rate:.0%})")
    if tested.empty:
        _empty(panel, "no gain can be tested")
        return
    rows = tested.sort_values(["hidden_loss", "gain"], ascending=[False, True]).head(MOST_ROWS).to_dict("records")
    for place, row in enumerate(rows):
        colour = LOSS if row["hidden_loss"] else NEUTRAL
        panel.plot([row["low"], row["high"]], [place, place], color=colour, lw=1.4)
        panel.plot(row["gain"], place, "o", color=colour, ms=6)
        panel.plot(row["mean_gain"], place, "D", color=GAIN, ms=6)
    panel.axvline(0, color=NEUTRAL, lw=0.8)
    names = [f"{_short(row['improvement'])} > {_short(row['baseline'])}: {row['group']}" for row in rows]
    panel.set_yticks(range(len(rows)), names, fontsize=8)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.set_xlabel(f"gain, in the normalised score ({audit.normalisation})")
    panel.plot([], [], "D", color=GAIN, label="mean gain over all games")
    panel.plot([], [], "o-", color=LOSS, label="significant loss in the group, with 95 % limits")
    panel.plot([], [], "o-", color=NEUTRAL, label="not significant")
    panel.legend(frameon=False, fontsize=8, loc="best")


def _draw_influence(panel: Axes, audit: Audit) -> None:
    """Share of the variance of the mean score that each game contributes, and the pairs that it decides."""
    games = audit.influence[audit.influence["grouping"] == SINGLE_GAMES]
    _titled(panel, "Games that decide the ranking")
    if games["share"].isna().all():
        _empty(panel, "the methods do not differ")
        return
    rows = games.sort_values("share", ascending=False).head(MOST_ROWS).to_dict("records")
    for place, row in enumerate(rows):
        panel.barh(place, row["share"], height=0.65, color=SET, alpha=0.75)
        pairs = row["decided"] if row["decided"] == row["decided"] else 0
        decided = f", decides {pairs:.0f} pair{'s' * (pairs > 1)}" if pairs else ""
        said = f" τ without it {row['tau']:.2f}{decided}"
        panel.annotate(said, (max(row["share"], 1 / len(games)), place), va="center", fontsize=7.5)
    panel.axvline(1 / len(games), color=NEUTRAL, lw=0.9, ls="--")
    panel.axvline(0, color=NEUTRAL, lw=0.8)
    panel.set_yticks(range(len(rows)), [_short(row["group"]) for row in rows], fontsize=8)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.set_xlim(right=1.55 * max(row["share"] for row in rows))
    panel.set_xlabel("share of the variance between methods (dashed: equal parts)")


def _draw_choices(panel: Axes, audit: Audit) -> None:
    """Correlation of the ranking by every choice with the reference."""
    table = audit.choices[audit.choices["tau"].notna()]
    reference = audit.choices.iloc[0]
    _titled(panel, f"Rankings by other choices than {reference['normalisation']}, {reference['aggregate']}")
    if table.empty:
        _empty(panel, "the methods do not differ")
        return
    names = list(dict.fromkeys(zip(table["normalisation"], table["split"], strict=True)))
    names.sort(key=lambda name: name[1] != audit.split)
    markers = {"mean": "o", "median": "s", "IQM": "^"}
    for row in table.to_dict("records"):
        shift = 0.18 * (list(markers).index(row["aggregate"]) - 1)
        place = names.index((row["normalisation"], row["split"])) + shift
        panel.plot(row["tau"], place, markers[row["aggregate"]], color=SET, ms=6)
    for aggregate, marker in markers.items():
        panel.plot([], [], marker, color=SET, ls="", label=aggregate)
    repeated = audit.repeatability.iloc[0]
    if np.isfinite(repeated["tau"]):
        panel.axvspan(repeated["low"], repeated["high"], color="#BBBBBB", alpha=0.4, lw=0, label="under other seeds")
    panel.set_yticks(range(len(names)), [f"{scale}, {split}" for scale, split in names], fontsize=8)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.set_xlabel("Kendall's τ with the reference ranking")
    panel.legend(frameon=False, fontsize=8, loc="best")


def _draw_subsets(panel: Axes, audit: Audit) -> None:
    """Correlation of rankings by smaller sets of games, on the methods they were chosen on and on methods left out."""
    table = audit.subsets
    _titled(panel, "Smaller sets of games")
    panel.plot(table["size"], table["tau"], "-", color=NEUTRAL, lw=1, label="on the methods that chose them")
    if table["left_out"].notna().any():
        panel.fill_between(table["size"], table["low"], table["high"], color=SET, alpha=0.18, lw=0)
        panel.plot(table["size"], table["left_out"], "o-", color=SET, ms=4, label="on methods left out")
        panel.plot(table["size"], table["random"], "s--", color=LOSS, ms=4, label="random sets")
    panel.axhline(audit.agreement, color=NEUTRAL, lw=0.9, ls="--")
    panel.set_xlabel("games in the set")
    panel.set_ylabel("Kendall's τ with the ranking by all games")
    panel.legend(frameon=False, fontsize=8, loc="lower right")


def _draw_noise(panel: Axes, audit: Audit) -> None:
    """In each game the noise between publications beside the size of the gains."""
    known: pd.DataFrame = audit.noise_by_game[audit.noise_by_game["deviation"].notna()]
    _titled(panel, "Noise between publications of the same method")
    if known.empty:
        _empty(panel, "no method was measured by two publications")
        return
    rows = known.assign(noise=np.sqrt(2) * known["deviation"]).sort_values("noise", ascending=False).head(MOST_ROWS)
    places = np.arange(len(rows))
    panel.barh(places - 0.18, rows["noise"], height=0.34, color=LOSS, label="difference of two publications")
    panel.barh(places + 0.18, rows["gain"], height=0.34, color=GAIN, label="gains")
    panel.set_yticks(places, [_short(game) for game in rows["game"]], fontsize=8)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.margins(x=0.25)
    panel.set_xlabel("root mean square, in the normalised score")
    panel.legend(frameon=False, fontsize=8, loc="lower right")
