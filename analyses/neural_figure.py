"""Figure of which encoders explain which: a matrix of targets and predictors, and scores along the layers."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lcd.analyses.palette import NEUTRAL
from lcd.studies.mutual_prediction import BEST

# Okabe and Ito's colours, safe for colour-blind readers, each with another marker.
_STYLES = (
    ("#E69F00", "o"),
    ("#56B4E9", "s"),
    ("#999999", "x"),
    ("#D55E00", "^"),
    ("#0072B2", "v"),
    ("#000000", "+"),
    ("#009E73", "D"),
    ("#CC79A7", "P"),
)


def draw_mutual_prediction(table: pd.DataFrame, target: str | None = None) -> Figure:
    """Draw the scores of the best layers as a matrix, and those of all layers for one target.

    Parameters
    ----------
    table : pandas.DataFrame
        Result of `lcd.studies.mutual_prediction.mutual_prediction`.
    target : str, optional
        The target whose layers are shown; by default the second.

    Returns
    -------
    matplotlib.figure.Figure
    """
    targets, predictors = list(dict.fromkeys(table["target"])), list(dict.fromkeys(table["predictor"]))
    shown = target or targets[min(1, len(targets) - 1)]
    figure = Figure(figsize=(3.2 + 1.05 * len(targets) + 4.2, 1.9 + 0.47 * len(predictors)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3.2 + 1.05 * len(targets), 4.2])
    _draw_matrix(left, table[table["layer"] == BEST], targets, predictors)
    _draw_layers(right, table[(table["target"] == shown) & (table["layer"] != BEST)], predictors)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=8, frameon=False, fontsize=8)
    right.set_title(f"Units of {shown},\nby the layer that predicts them", loc="left", fontsize=10)
    return figure


def _draw_matrix(panel: Axes, best: pd.DataFrame, targets: list[str], predictors: list[str]) -> None:
    scores = best.pivot_table(index="predictor", columns="target", values="score").reindex(predictors)[targets]
    panel.imshow(scores.to_numpy(), vmin=0, vmax=1, cmap="viridis", aspect="auto")
    for row in best.to_dict("records"):
        place = (targets.index(row["target"]), predictors.index(row["predictor"]))
        colour = "black" if row["score"] > 0.6 else "white"
        panel.text(*place, f"{row['score']:.2f}", ha="center", va="bottom", color=colour, fontsize=9)
        panel.text(*place, f"{row['low']:.2f} to {row['high']:.2f}", ha="center", va="top", color=colour, fontsize=6.5)
    panel.set_xticks(range(len(targets)), [name.replace(", ", ",\n") for name in targets], fontsize=8)
    panel.set_yticks(range(len(predictors)), predictors, fontsize=9)
    panel.set_xlabel("encoder whose units are predicted")
    panel.set_ylabel("encoder that predicts them, by its best layer (white: itself)")
    panel.set_title("Median correlation over units, with 95 % limits", loc="left", fontsize=10)


def _draw_layers(panel: Axes, layers: pd.DataFrame, predictors: list[str]) -> None:
    styles, sides = iter(_STYLES), iter(("top", "bottom"))
    for name in predictors:
        found = layers[layers["predictor"] == name].sort_values("depth")
        if len(found) == 1:
            panel.axhline(found["score"].iloc[0], color=NEUTRAL, lw=0.8, ls=":" if "frames" in name else "--")
            side = next(sides, "bottom")
            panel.annotate(name, (1.0, found["score"].iloc[0]), fontsize=7, va=side, ha="right", color=NEUTRAL)
        if len(found) > 1:
            colour, marker = next(styles, ("#555555", "."))
            depth = (found["depth"] - 1) / (found["depth"].max() - 1)
            panel.plot(depth, found["score"], color=colour, marker=marker, ms=5, lw=1.2, label=name)
            panel.fill_between(depth, found["low"], found["high"], color=colour, alpha=0.12, lw=0)
    panel.set_xlabel("depth of the layer, from the first (0) to the last (1)")
    panel.set_ylabel("median correlation, with 95 % limits")
    panel.set_ylim(min(0.0, float(layers["low"].min())), 1.0)
    panel.spines[["top", "right"]].set_visible(False)
