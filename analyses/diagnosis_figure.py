"""Figure of a diagnosis: four learning curves on unseen and training levels, and the gap split into its demands.

Nothing is estimated here; every number comes from the :class:`lcd.studies.diagnosis.Diagnosis`.
"""

from __future__ import annotations

import textwrap
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter

from lcd.analyses.palette import DEMAND_STYLES, NEUTRAL
from lcd.measurement.intervals import Interval, two_places
from lcd.measurement.scores import CELLS, LEVELS, mean_curves
from lcd.studies.diagnosis import Diagnosis


class CellStyle(NamedTuple):
    """Plot style of one cell."""

    name: str
    colour: str
    line: Literal["-"] | tuple[int, tuple[int, int]]


# Okabe and Ito's colours, safe for colour-blind readers: warm for pixels, cold for semantic, dashed for imitation.
CELL_STYLES = {
    "a": CellStyle("pixels, rl", "#D55E00", "-"),
    "b": CellStyle("semantic, rl", "#0072B2", "-"),
    "c": CellStyle("pixels, imitation", "#E69F00", (0, (5, 2))),
    "d": CellStyle("semantic, imitation", "#56B4E9", (0, (5, 2))),
}
WIDTH = 12.0  # inches; 1200 pixels at 100 dots an inch
LINE = 0.19  # inches a line of the texts above and below the panels
CHARACTERS = 165
LEFT = 0.074  # of the figure, where curves and legend begin


def draw_diagnosis(diagnosis: Diagnosis) -> Figure:
    """Plot curves, decomposition and verdict of one game.

    Parameters
    ----------
    diagnosis : Diagnosis
        What to draw.

    Returns
    -------
    matplotlib.figure.Figure
        1200 pixels wide at 100 dots an inch; it belongs to no window and is not saved.
    """
    verdict = diagnosis.verdict
    above = textwrap.wrap(verdict.reason, CHARACTERS)
    notes = [f"Would decide: {way}" for way in verdict.would_decide] + [f"Caution: {note}" for note in verdict.cautions]
    below = [line for note in notes for line in textwrap.wrap(note, CHARACTERS, subsequent_indent="    ")]
    top, bottom = 0.75 + LINE * len(above), 1.0 + LINE * len(below)
    height = top + 3.9 + bottom
    figure = Figure(figsize=(WIDTH, height), dpi=100)
    figure.text(0.015, 1 - 0.12 / height, f"{diagnosis.game}: {verdict.name}", fontsize=14, weight="bold", va="top")
    figure.text(0.015, 1 - 0.43 / height, "\n".join(above), fontsize=10, va="top", linespacing=1.25)
    figure.text(0.015, 0.1 / height, "\n".join(below), fontsize=9, va="bottom", color="#333333", linespacing=1.3)

    grid = figure.add_gridspec(
        2, 3, width_ratios=(1, 1, 1.25), height_ratios=(2.4, 1), left=LEFT, right=0.985, wspace=0.16, hspace=0.42
    )
    grid.update(top=1 - top / height, bottom=bottom / height)
    curves = mean_curves(diagnosis.curves)
    unseen = figure.add_subplot(grid[:, 0])
    training = figure.add_subplot(grid[:, 1], sharex=unseen, sharey=unseen)
    for axes, levels in zip((unseen, training), LEVELS, strict=True):
        _draw_curves(axes, curves[curves["levels"] == levels], levels, diagnosis)
    unseen.set_ylabel("normalised score")
    training.tick_params(labelleft=False)
    _draw_legend(figure, LEFT, bottom / height - 0.72 / height, int(curves["seeds"].max()))
    _draw_decomposition(figure.add_subplot(grid[0, 2]), diagnosis)
    _draw_rest(figure.add_subplot(grid[1, 2]), diagnosis)
    return figure


def draw_cells(axes: Axes, curves: pd.DataFrame, linewidth: float = 1.5) -> dict[str, float]:
    """Plot the mean curves of the four cells with their ranges, and return the final score of each, by its letter."""
    ends = {}
    for letter, (view, learning) in CELLS.items():
        cell = curves[(curves["view"] == view) & (curves["learning"] == learning)]
        style = CELL_STYLES[letter]
        axes.plot(cell["step"], cell["mean"], color=style.colour, linestyle=style.line, linewidth=linewidth)
        axes.fill_between(cell["step"], cell["low"], cell["high"], color=style.colour, alpha=0.16, linewidth=0)
        ends[letter] = float(cell["mean"].iloc[-1])
    return ends


def _draw_curves(axes: Axes, curves: pd.DataFrame, levels: str, diagnosis: Diagnosis) -> None:
    """Plot the four cells on one kind of level, with the reference lines within the axis limits."""
    ends = draw_cells(axes, curves, linewidth=2)
    low, high = _score_range(diagnosis)
    axes.set_xlim(0, diagnosis.budget * 1.07)
    axes.set_ylim(low, high)
    axes.set_title(f"{levels.capitalize()} levels", loc="left", fontsize=11)
    axes.set_xlabel("environment steps")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.spines[["top", "right"]].set_visible(False)
    lowest = "published random" if diagnosis.normalisation.source == "published" else "random"
    references = {lowest: 0.0, "best": 1.0}
    if diagnosis.teacher is not None:
        own = diagnosis.teacher.unseen_return if levels == "unseen" else diagnosis.teacher.training_return
        references["teacher"] = diagnosis.normalisation.score(own)
    # Under its line, the lowest name keeps clear of the curves; of two lines close together the lower's lies lower.
    near, teacher = 0.06 * (high - low), references.get("teacher", 1.0)
    at_random, at_best = -near < teacher < 0, 0 <= 1 - teacher < near
    under = {lowest: not at_random, "best": 0 < teacher - 1 < near, "teacher": at_random or at_best}
    outside: dict[str, list[str]] = {"above": [], "below": []}
    for name, score in references.items():
        if not low <= score <= high:
            outside["above" if score > high else "below"].append(f"{name} at {score:.2f}")
            continue
        style = (0, (8, 4)) if name == "teacher" else (0, (1, 2))
        axes.axhline(score, color=NEUTRAL, linestyle=style, linewidth=1, zorder=1)
        axes.annotate(
            f"{name} {score:.2f}" if name == "teacher" else name,
            (diagnosis.budget * 0.02, score),
            (0, -3 if under[name] else 2),
            textcoords="offset points",
            va="top" if under[name] else "bottom",
            fontsize=8,
            color=NEUTRAL,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5},
        )
    text = "; ".join(f"{side} this range: {', '.join(names)}" for side, names in outside.items() if names)
    if text:
        axes.text(0.02, 0.985, text, transform=axes.transAxes, fontsize=8, color=NEUTRAL, va="top")
    for letter, place in _spread_labels(ends, 0.05 * (high - low)).items():
        axes.text(
            diagnosis.budget * 1.02,
            place,
            letter,
            color=CELL_STYLES[letter].colour,
            fontsize=11,
            weight="bold",
            va="center",
        )


def _score_range(diagnosis: Diagnosis) -> tuple[float, float]:
    """Limits of the score axis, chosen so that the curves fill it."""
    curves = mean_curves(diagnosis.curves)
    low, high = min(0.0, float(curves["low"].min())), max(0.02, float(curves["high"].max()))
    references = [1.0]
    if diagnosis.teacher is not None:
        references += [diagnosis.normalisation.score(diagnosis.teacher.unseen_return)]
        references += [diagnosis.normalisation.score(diagnosis.teacher.training_return)]
    # A reference line is worth up to half as much room again, not more.
    high = max([high, *(score for score in references if high < score <= 1.5 * high)])
    # One that lies in the margin would meet the title.
    while margin := [score for score in references if high < score <= high + 0.1 * (high - low)]:
        high = max(margin)
    room = high - low
    return low - 0.06 * room, high + 0.1 * room


def _spread_labels(ends: dict[str, float], gap: float) -> dict[str, float]:
    """Move labels that would overlap apart, keeping their order and their middle."""
    letters = sorted(ends, key=lambda letter: ends[letter])
    wanted = np.array([ends[letter] for letter in letters])
    places = wanted.copy()
    for _ in range(50):
        for i in range(len(places) - 1):
            overlap = gap - (places[i + 1] - places[i])
            if overlap > 1e-9:
                places[i] -= overlap / 2
                places[i + 1] += overlap / 2
    return dict(zip(letters, places.tolist(), strict=True))


def _draw_legend(figure: Figure, left: float, bottom: float, seeds: int) -> None:
    """Name the letters of the cells in a strip under the curves."""
    lines: list[Line2D | Patch] = [
        Line2D([], [], color=style.colour, linestyle=style.line, linewidth=2, label=f"{letter}  {style.name}")
        for letter, style in CELL_STYLES.items()
    ]
    if seeds > 1:
        lines.append(Patch(color=NEUTRAL, alpha=0.16, label=f"range of {seeds} seeds"))
    figure.legend(
        handles=lines,
        loc="lower left",
        bbox_to_anchor=(left - 0.008, bottom),
        ncol=len(lines),
        fontsize=9,
        frameon=False,
        handlelength=2.2,
        columnspacing=1.3,
        borderpad=0,
    )


def _draw_decomposition(axes: Axes, diagnosis: Diagnosis) -> None:
    """Plot the gap between a and d as a waterfall of the three demands."""
    d = 1 - diagnosis.headroom.estimate
    a = d - diagnosis.gap.estimate
    steps = (
        (diagnosis.perceptual, DEMAND_STYLES["perceptual"].colour, "P\nperceptual"),
        (diagnosis.policy, DEMAND_STYLES["policy"].colour, "L\npolicy"),
        (diagnosis.joint, DEMAND_STYLES["joint"].colour, "J\njoint"),
    )
    _draw_bar(axes, 0, 0.0, a, CELL_STYLES["a"].colour)
    _draw_bar(axes, len(steps) + 1, 0.0, d, CELL_STYLES["d"].colour)
    tops, lows = {0: max(0.0, a), len(steps) + 1: max(0.0, d)}, [0.0, a, d]
    texts = {0: two_places(a), len(steps) + 1: two_places(d)}
    start = a
    for place, (demand, colour, _) in enumerate(steps, start=1):
        axes.plot([place - 0.69, place - 0.31], [start] * 2, color=NEUTRAL, linewidth=0.8)
        _draw_bar(axes, place, start, demand.estimate, colour)
        ends = [start, start + demand.estimate]
        if demand.over != "nothing":
            ends += [start + demand.low, start + demand.high]
            axes.plot([place, place], ends[2:], color="black", linewidth=1.4, marker="_", markersize=9)
        tops[place], texts[place] = max(ends), _lines(demand)
        lows.append(min(ends))
        start += demand.estimate
    axes.plot([len(steps) + 0.31, len(steps) + 0.69], [start] * 2, color=NEUTRAL, linewidth=0.8)
    room = max(max(tops.values()) - min(lows), 0.02)
    for place, top in tops.items():
        axes.text(place, top + 0.03 * room, texts[place], ha="center", va="bottom", fontsize=8)
    axes.axhline(0, color=NEUTRAL, linewidth=0.8)
    axes.set_ylim(min(lows) - 0.06 * room, max(tops.values()) + 0.24 * room)
    names = ["a\nneither\nsolved", *(name for *_, name in steps), "d\nboth\nsolved"]
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.tick_params(axis="x", length=0)
    axes.set_title("From a to d: area under the unseen-level curves", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_bar(axes: Axes, place: int, start: float, length: float, colour: str) -> None:
    axes.bar(place, length, bottom=start, color=colour, width=0.62, alpha=0.85)


def _draw_rest(axes: Axes, diagnosis: Diagnosis) -> None:
    """Plot both gains and the headroom on an axis of their own, as the headroom can dwarf the demands."""
    words: dict[str, Any] = {
        "fontsize": 9,
        "va": "bottom",
        "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1},
    }
    rows = {
        "headroom": diagnosis.headroom,
        "better learning alone would bring": diagnosis.policy_gain,
        "better perception alone would bring": diagnosis.perceptual_gain,
    }
    for place, (name, found) in enumerate(rows.items()):
        if found.over != "nothing":
            axes.plot([found.low, found.high], [place, place], color="black", linewidth=1.4, marker="|", markersize=8)
        axes.plot(found.estimate, place, "o", color=NEUTRAL, markersize=6)
        axes.text(0.0, place + 0.25, f"{name} {found}", transform=axes.get_yaxis_transform(), **words)
    limits = [x for found in rows.values() for x in (found.low, found.high) if np.isfinite(x)]
    axes.set_xlim(min([-0.1, *limits]) - 0.03, max([1.0, *limits]) + 0.03)
    axes.axvline(0, color=NEUTRAL, linewidth=0.8)
    axes.set_ylim(-0.5, 2.9)
    axes.set_yticks([])
    axes.set_xlabel(f"normalised score, {_over(diagnosis.perceptual)}")
    axes.spines[["top", "right", "left"]].set_visible(False)


def _lines(found: Interval) -> str:
    """Format a demand with its sign, on two lines."""
    estimate, limits = str(found).split(" ", 1)
    return f"{'' if estimate.startswith('-') else '+'}{estimate}\n{limits}"


def _over(found: Interval) -> str:
    """Label of the intervals."""
    return {"seeds": "95 % intervals", "episodes": "95 % intervals over episodes", "nothing": "no intervals"}[
        found.over
    ]
