"""Figure of the encoder study: share of the perceptual demand recovered, and predictive validity of measures."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lcd.analyses.palette import NEUTRAL


class _Style(NamedTuple):
    colour: str
    marker: str
    filled: bool = True

    @property
    def line(self) -> dict[str, Any]:
        return {"color": self.colour} | ({} if self.filled else {"markerfacecolor": "white"})


# Okabe and Ito's colours, safe for colour-blind readers, each with another marker; hollow where it is fine-tuned.
STYLES = {
    "scratch": _Style("#555555", "o"),
    "random": _Style("#999999", "x"),
    "efficientnet_lite0": _Style("#E69F00", "^"),
    "slow-features": _Style("#56B4E9", "v"),
    "slow-features+tuned": _Style("#56B4E9", "v", filled=False),
    "segmentation": _Style("#009E73", "s"),
    "segmentation+tuned": _Style("#009E73", "s", filled=False),
    "harmonized": _Style("#CC79A7", "D"),
}
STRIP = 0.84
"""Height of a game's strip, as a share of the distance between games."""

NAMES = {
    "gradient": "map agreement (gradient)",
    "integrated_gradients": "map agreement (integrated gradients)",
    "smooth_gradient": "map agreement (SmoothGrad)",
    "occlusion": "map agreement (occlusion)",
    "revealed": "insertion curve, gain over random order",
    "hidden": "deletion curve, gain over random order",
    "robustness": "adversarial robustness (L2 norm)",
    "perturbation": "map agreement of the perturbation",
    "invariance": "invariance to appearance",
}
"""Labels of the measures of `lcd.studies.predictive_validity.MEASURES`."""


def draw_encoders(shares: pd.DataFrame, correlations: pd.DataFrame, means: pd.DataFrame) -> Figure:
    """Draw the gains of encoders beside the perceptual demand, and rank correlations of measures with the score.

    Parameters
    ----------
    shares : pandas.DataFrame
        One row a (game, encoder), see `lcd.studies.encoder_ablation.ablation_table`: the gain over the encoder trained
        from scratch, and the perceptual demand, with limits. The demand is a line in a band; a gain that reaches it
        recovers all of it.
    correlations : pandas.DataFrame
        Result of `lcd.studies.predictive_validity.rank_correlations` for `lcd.studies.predictive_validity.MEASURES`.
    means : pandas.DataFrame
        Result of `lcd.studies.predictive_validity.predictive_validity` for the same.

    Returns
    -------
    matplotlib.figure.Figure
    """
    games = list(shares["game"].unique())
    figure = Figure(figsize=(11, 2.0 + 0.75 * max(len(games), 4)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1.0])
    _draw_gains(left, shares, games)
    _draw_predictive_validity(right, correlations, means)
    for panel in (left, right):
        panel.spines[["top", "right"]].set_visible(False)
    handles = [
        left.plot([], [], style.marker, label=name, **style.line)[0]
        for name, style in STYLES.items()
        if name in set(shares["encoder"])
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=(len(handles) + 1) // 2, frameon=False)
    return figure


def _draw_gains(panel: Axes, shares: pd.DataFrame, games: list[str]) -> None:
    encoders = [name for name in STYLES if name in set(shares["encoder"])]
    for known in shares.drop_duplicates("game").to_dict("records"):
        top = games.index(known["game"]) - STRIP / 2
        low, high, demand = known["demand_low"], known["demand_high"], known["demand"]
        if low == low:
            panel.add_patch(Rectangle((low, top), high - low, STRIP, color="#F0E442", alpha=0.45, lw=0))
        panel.plot([demand, demand], [top, top + STRIP], color="#7A6F00", lw=1.5)
    for row in shares.to_dict("records"):
        style = STYLES[row["encoder"]]
        place = games.index(row["game"]) + STRIP * ((encoders.index(row["encoder"]) + 0.5) / len(encoders) - 0.5)
        panel.plot([row["gain_low"], row["gain_high"]], [place, place], color=style.colour, lw=1.2)
        panel.plot([row["gain"]], [place], style.marker, ms=6, **style.line)
    panel.axvline(0, color=NEUTRAL, lw=0.8)
    panel.set_yticks(range(len(games)), games)
    panel.set_ylim(len(games) - 0.5, -0.5)
    panel.set_xlabel("gain in the normalised score over the encoder\ntrained from scratch, with 95 % limits")
    panel.plot([], [], color="#F0E442", alpha=0.45, lw=8, label="label maps instead of frames: the perceptual demand")
    panel.legend(frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _draw_limits(panel: Axes, limits: tuple[float, float], place: float) -> None:
    """Draw limits of a correlation as a line, with an arrow where they lie beyond 1; undefined limits are left out."""
    if any(limit != limit for limit in limits):
        return
    ends = [max(-1.0, min(1.0, limit)) for limit in limits]
    panel.plot(ends, [place, place], color="black", lw=1.2)
    for end, limit, arrow in zip(ends, limits, "<>", strict=True):
        if abs(limit) > 1:
            panel.plot([end], [place], arrow, color="black", ms=4)


def _draw_predictive_validity(panel: Axes, correlations: pd.DataFrame, means: pd.DataFrame) -> None:
    for place, measure in enumerate(NAMES):
        found = correlations.loc[correlations["measure"] == measure, "spearman"]
        panel.plot(found, [place] * len(found), "|", color=NEUTRAL, ms=7, label="a game" if place == 0 else None)
        row = means[means["measure"] == measure].iloc[0]
        panel.plot([row["least"], row["most"]], [place, place], color="#BBBBBB", lw=5, solid_capstyle="butt")
        _draw_limits(panel, (row["low"], row["high"]), place)
        panel.plot([row["spearman"]], [place], "D", color="black", ms=5, label="mean" if place == 0 else None)
    panel.axvline(0, color=NEUTRAL, lw=0.8)
    panel.set_xlim(-1.05, 1.05)
    panel.set_yticks(range(len(NAMES)), list(NAMES.values()))
    panel.invert_yaxis()
    panel.set_xlabel("rank correlation with the score\nover a game's encoders")
    panel.plot([], [], color="#BBBBBB", lw=5, label="without one of the encoders")
    panel.legend(frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


STAGES = ("robustness", "perturbation", "gradient")
"""Measures that are drawn by training stage."""


def draw_stages(stages: pd.DataFrame) -> Figure:
    """Draw how perturbations and maps change in training: a row a game, a column a measure, a line an encoder.

    Parameters
    ----------
    stages : pandas.DataFrame
        One row a (game, encoder, seed, step) with the measures of `STAGES`; lines are means over seeds, and thin ones
        the seeds.
    """
    games = list(dict.fromkeys(stages["game"]))
    figure = Figure(figsize=(10.5, 2.2 * len(games) + 0.6), layout="constrained")
    panels = figure.subplots(len(games), len(STAGES), squeeze=False, sharex=True)
    for row, game in zip(panels, games, strict=True):
        of_game = stages[stages["game"] == game]
        for panel, measure in zip(row, STAGES, strict=True):
            for encoder, rows in of_game.groupby("encoder", sort=False):
                style = STYLES[str(encoder)]
                for _, of_seed in rows.sort_values("step").groupby("seed"):
                    panel.plot(of_seed["step"] / 1000, of_seed[measure], color=style.colour, lw=0.4, alpha=0.6)
                means = rows.groupby("step")[measure].mean()
                panel.plot(means.index / 1000, means, style.marker + "-", ms=5, lw=1.4, label=encoder, **style.line)
            panel.set_ylabel(f"{game}\n{NAMES[measure]}" if panel is row[0] else NAMES[measure], fontsize=8)
            panel.spines[["top", "right"]].set_visible(False)
            panel.set_xscale("log")
    for panel in panels[-1]:
        panel.set_xlabel("thousands of steps")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    return figure
