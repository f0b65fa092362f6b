"""Figure of a ladder: what each step of its chains brings."""

from __future__ import annotations

from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lcd.analyses.palette import DEMAND_STYLES, NEUTRAL
from lcd.measurement.intervals import two_places

_CHAINS = {
    "perception": ("perceptual", "Perception, with imitation"),
    "learning": ("policy", "Learning, on label maps"),
}
"""For each chain the demand whose colour it has, and its title."""


def draw_ladder(ladder: pd.DataFrame, game: str) -> Figure:
    """Draw a panel for each chain: a bar a step, from the score without its help to that with it.

    Parameters
    ----------
    ladder
        What `lcd.studies.ladder.ladder_table` returned.
    game
        Name of the game.

    Returns
    -------
    matplotlib.figure.Figure
    """
    chains = list(dict.fromkeys(ladder["chain"]))
    heights = [1 + sum(ladder["chain"] == chain) for chain in chains]
    figure = Figure(figsize=(7.2, 0.9 + 0.55 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(chains), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for panel, chain in zip(panels, chains, strict=True):
        demand, title = _CHAINS[chain]
        _draw_chain(panel, ladder[ladder["chain"] == chain], DEMAND_STYLES[demand].colour)
        panel.set_title(title, loc="left", fontsize=10)
    panels[-1].set_xlabel("normalised score on unseen levels")
    alone = "over" in ladder and bool((ladder["over"] == "episodes").any())
    of = ", limits of one seed over its episodes" * alone
    figure.suptitle("\n".join(wrap(f"{game}: the ladder{of}", 80)), x=0.01, ha="left", fontsize=11)
    return figure


def _draw_chain(panel: Axes, steps: pd.DataFrame, colour: str) -> None:
    """Draw the steps of a chain from top to bottom, each beginning where the last one ended."""
    for place, step in enumerate(steps.to_dict("records")):
        panel.barh(place, step["gain"], left=step["without"], height=0.6, color=colour, alpha=0.75)
        limits = [step["without"] + step[name] for name in ("gain_low", "gain_high")]
        if np.isfinite(limits).all():
            panel.plot(limits, [place, place], color="0.2", lw=1.2, solid_capstyle="butt")
        known = np.isfinite([step["gain_low"], step["gain_high"]]).all()
        between = f" [{two_places(step['gain_low'])}, {two_places(step['gain_high'])}]" if known else ""
        right = max([step["with_help"], step["without"], *(limit for limit in limits if np.isfinite(limit))])
        panel.annotate(
            f"{two_places(step['gain'])}{between}", (right, place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8,
        )  # fmt: skip
        panel.plot([step["with_help"]] * 2, [place - 0.3, place + 1.3], color=NEUTRAL, lw=0.8, ls=":")
    panel.set_yticks(range(len(steps)), steps["step"])
    panel.set_ylim(len(steps) - 0.3, -0.6)
    panel.margins(x=0.25)
    panel.spines[["top", "right"]].set_visible(False)
