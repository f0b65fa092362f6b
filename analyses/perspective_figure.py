"""Figure of perspective taking: example scenes with their answers, and accuracy of encoders and controls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lcd.alignment.scenes import draw_fours, draw_scenes, render
from lcd.alignment.scenes.geometry import ball_is_nearer, sight
from lcd.analyses.palette import NEUTRAL

PANELS = {
    "depth-order": "depth order:\nis the ball nearer than the occluder?",
    "vpt-basic": "VPT-basic:\ndoes the figure see the ball?",
    "vpt-strategy": "VPT-strategy:\nthe same, in scenes that look alike",
}
"""Titles of the tasks' panels."""

EXAMPLE_SIZE, EXAMPLE_SEED = 128, 3
"""Side of the example pictures in pixels, and seed of their scenes."""


class _Style(NamedTuple):
    colour: str
    marker: str
    label: str


# Okabe and Ito's colours, safe for colour-blind readers, each with another marker.
STYLES = {
    "control": _Style("#555555", "D", "control without an encoder"),
    "random": _Style("#999999", "v", "linear probe, random weights"),
    "linear probe": _Style("#0072B2", "o", "linear probe, trained weights"),
    "random, fine-tuned": _Style("#E69F00", "s", "trained on the task from random weights"),
    "fine-tuned": _Style("#D55E00", "^", "fine-tuned on the task"),
}


def draw_perspective(table: pd.DataFrame) -> Figure:
    """Draw example scenes, and below them a panel a task with a row an encoder or control.

    Parameters
    ----------
    table : pandas.DataFrame
        Result of `lcd.studies.perspective.perspective.perspective`. Filled markers are of classifiers that learned in
        scenes where shortcuts help, hollow ones of those that learned in scenes that look alike.

    Returns
    -------
    matplotlib.figure.Figure
    """
    shown = table[table["model"] != "chance"]
    shown = shown.assign(label=_labels(shown))
    labels = list(dict.fromkeys(shown["label"]))
    figure = Figure(figsize=(12, 3.6 + 0.26 * len(labels)), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=[2.4, 1.2 + 0.26 * len(labels)])
    above, below = halves
    _draw_examples(above.subfigures(1, 2))
    panels = below.subplots(1, len(PANELS), sharey=True)
    for panel, (task, title) in zip(panels, PANELS.items(), strict=True):
        _draw_task(panel, shown[shown["task"] == task], labels)
        panel.set_title(title, fontsize=10)
    panels[0].set_yticks(range(len(labels)), labels, fontsize=8)
    panels[0].set_ylim(len(labels) - 0.5, -0.5)
    kinds = {_kind(row) for row in shown.to_dict("records")}
    handles = [
        panels[0].plot([], [], style.marker, color=style.colour, label=style.label)[0]
        for kind, style in STYLES.items()
        if kind in kinds
    ]
    handles += panels[0].plot(
        [], [], "o", color=NEUTRAL, mfc="white", label="hollow: learned in scenes that look alike"
    )
    below.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _labels(table: pd.DataFrame) -> list[str]:
    """Names of the encoders and controls; with a run's checksum where two would be called alike."""
    rows = table.to_dict("records")
    models: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        models.setdefault(_label(row), set()).add((row["model"], row["encoder"]))
    return [
        f"{label} {row['model'][-12:]}" if len(models[label]) > 1 else label
        for row, label in ((row, _label(row)) for row in rows)
    ]


def _label(row: Mapping[Any, Any]) -> str:
    """Name of an encoder or control without a run's checksum."""
    if not row["weights"].startswith("random"):
        name = re.sub(r"-[0-9a-f]{12}$", "", row["model"]).replace("-pixels-", " ").replace("-seed", " seed ")
        return f"{name} ({row['encoder']})" if name != row["model"] else name
    return f"{row['model']}, random weights"


def _kind(row: Mapping[Any, Any]) -> str:
    if row["weights"] == "none":
        return "control"
    if row["weights"].startswith("random"):
        return "random" if row["readout"] == "linear probe" else "random, fine-tuned"
    return row["readout"]


def _draw_examples(halves: Any) -> None:
    """Draw four scenes, one for each combination of answers, and four that look alike."""
    scenes = draw_scenes(40, seed=EXAMPLE_SEED)
    answers = 2 * ball_is_nearer(scenes) + (sight(scenes) > 0)
    combinations = scenes[[int(np.flatnonzero(answers == answer)[0]) for answer in range(4)]]
    for half, shown, title in (
        (halves[0], combinations, "scenes of depth order and VPT-basic"),
        (halves[1], draw_fours(4, seed=EXAMPLE_SEED), "VPT-strategy: four scenes that look alike"),
    ):
        half.suptitle(title, fontsize=10)
        frames, _ = render(shown, (EXAMPLE_SIZE, EXAMPLE_SIZE))
        for panel, frame, nearer, seen in zip(
            half.subplots(1, 4), frames, ball_is_nearer(shown), sight(shown) > 0, strict=True
        ):
            panel.imshow(frame)
            panel.set_axis_off()
            panel.set_title(
                f"{'ball' if nearer else 'occluder'} nearer,\nball {'seen' if seen else 'hidden'}", fontsize=8
            )


def _draw_task(panel: Axes, rows: pd.DataFrame, labels: list[str]) -> None:
    for row in rows.to_dict("records"):
        style, hollow = STYLES[_kind(row)], row["task"] == row["trained_on"] == "vpt-strategy"
        place = labels.index(row["label"]) + (0.18 if hollow else -0.06)
        panel.plot([row["low"], row["high"]], [place, place], color=style.colour, lw=1.0, alpha=0.6)
        inside = "white" if hollow else style.colour
        panel.plot([row["accuracy"]], [place], style.marker, color=style.colour, mfc=inside, ms=4.5)
    panel.axvline(0.5, color=NEUTRAL, lw=0.8, ls=":")
    for place in range(len(labels) - 1):
        panel.axhline(place + 0.5, color="#EEEEEE", lw=0.6, zorder=0)
    panel.set_xlim(0.4, 1.02)
    panel.set_xlabel("accuracy on test scenes, with 95 % limits;\ndotted: chance", fontsize=9)
    panel.spines[["top", "right"]].set_visible(False)
