"""Figure of the tracking study: returns by network, held-out looks, and synchrony over training."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lcd.analyses.palette import COLOURS, MARKERS, NEUTRAL
from lcd.measurement.intervals import mean_limits

TESTS = {
    "seen": "as in training",
    "colours": "held-out\ncolours",
    "shapes": "held-out\nshapes",
    "textures": "held-out\ntextures",
    "all": "all held\nout",
}

RULES = {"nearest": "rule: nearest to the cursor", "random": "rule: random"}

SYNCHRONY = {
    "within": "within objects",
    "target": "target and distractors",
    "kept": "target, now and at first",
    "confused": "distractors now, target at first",
}


def draw_tracking(measurements: pd.DataFrame, rules: pd.DataFrame) -> Figure:
    """Draw a row a learner with frames: return by the number of distractors, return by test, and synchrony over steps.

    Parameters
    ----------
    measurements : pandas.DataFrame
        See `lcd.studies.tracking.training.train`. Points are means over seeds with 95 % t limits; the second and the
        third panel are of the largest number of distractors and the fastest change.
    rules : pandas.DataFrame
        See `lcd.studies.tracking.rules.rule_returns`; grey lines in the first panel.

    Returns
    -------
    matplotlib.figure.Figure
    """
    table = measurements[measurements["view"] == "pixels"]
    networks = list(dict.fromkeys(table["network"]))
    learners = list(dict.fromkeys(table["learner"]))
    figure = Figure(figsize=(12.5, 3.6 * len(learners) + 0.4), layout="constrained")
    panels = figure.subplots(len(learners), 3, squeeze=False)
    for row, learner in zip(panels, learners, strict=True):
        of = table[table["learner"] == learner]
        last = of[of["step"] == of.groupby(["network", "distractors", "change", "seed"])["step"].transform("max")]
        _by_distractors(row[0], last, networks, rules)
        hardest = last[(last["distractors"] == last["distractors"].max()) & (last["change"] == last["change"].max())]
        _by_test(row[1], hardest, networks)
        fastest = (of["distractors"] == of["distractors"].max()) & (of["change"] == of["change"].max())
        _synchrony(row[2], of[fastest & (of["test"] == "seen")])
        row[0].set_title(f"{learner}: unseen levels", fontsize=10)
        row[1].set_title(f"{learner}: {hardest['distractors'].max()} distractors, by test", fontsize=10)
        row[2].set_title(f"{learner}: synchrony of units", fontsize=10)
        for panel in row:
            panel.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)), frameon=False, fontsize=9)
    return figure


def _points(
    panel: Axes, places: np.ndarray, groups: list[pd.Series], number: int, label: str, *, joined: bool = True
) -> None:
    """Means with their limits, joined by a line where the places are numbers."""
    means = np.array([mean_limits(group) if len(group) else (np.nan,) * 3 for group in groups])
    errors = np.nan_to_num([means[:, 0] - means[:, 1], means[:, 2] - means[:, 0]])
    style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "label": label}
    style |= {} if joined else {"ls": "none"}
    panel.errorbar(places, means[:, 0], errors, capsize=2, lw=1.2, ms=5, **style)  # type: ignore[arg-type]


def _by_distractors(panel: Axes, last: pd.DataFrame, networks: list[str], rules: pd.DataFrame) -> None:
    for style, (rule, label) in zip(("--", ":"), RULES.items(), strict=True):
        of = rules[rules["rule"] == rule]
        panel.plot(of["distractors"], of["value"], ls=style, marker="_", color=NEUTRAL, lw=1.2, label=label)
    found = last[(last["measure"] == "return") & (last["test"] == "seen") & (last["change"] == last["change"].max())]
    counts = sorted(found["distractors"].unique())
    for number, network in enumerate(networks):
        of = found[found["network"] == network]
        groups = [of.loc[of["distractors"] == count, "value"] for count in counts]
        aside = (number - (len(networks) - 1) / 2) * 0.06 * (max(counts) - min(counts) or 1) / len(networks)
        _points(panel, np.array(counts) + aside, groups, number, network)
    panel.set_xticks(counts)
    panel.set_xlabel("distractors")
    panel.set_ylabel("share of steps on the target")
    panel.set_ylim(0, 1.02)


def _by_test(panel: Axes, hardest: pd.DataFrame, networks: list[str]) -> None:
    returns = hardest[hardest["measure"] == "return"]
    for number, network in enumerate(networks):
        of = returns[returns["network"] == network]
        groups = [of.loc[of["test"] == test, "value"] for test in TESTS]
        places = np.arange(len(TESTS)) + (number - (len(networks) - 1) / 2) * 0.08
        _points(panel, places, groups, number, network, joined=False)
    panel.set_xticks(range(len(TESTS)), list(TESTS.values()), fontsize=8)
    panel.set_ylim(0, 1.02)


def _synchrony(panel: Axes, found: pd.DataFrame) -> None:
    with_phases = found[found["measure"].isin(list(SYNCHRONY))]
    if with_phases.empty:
        panel.set_axis_off()
        return
    network = with_phases["network"].iloc[-1]
    of = with_phases[with_phases["network"] == network]
    for number, (measure, label) in enumerate(SYNCHRONY.items()):
        for name, style in ((measure, "-"), (f"elsewhere_{measure}", ":")):
            rows = of[of["measure"] == name].groupby("step")["value"].mean()
            marker = MARKERS[number] if style == "-" else ""
            panel.plot(rows.index / 1000, rows, style, marker=marker, ms=4, color=COLOURS[number])
        panel.plot([], [], marker=MARKERS[number], ms=4, color=COLOURS[number], label=label)
    panel.plot([], [], ":", color=NEUTRAL, label="the same where another game's objects are")
    panel.axhline(0, lw=0.6, color="#999999")
    panel.set_xlabel("thousands of steps")
    panel.set_ylabel("mean cosine of phases")
    panel.set_ylim(-1.02, 1.02)
    panel.legend(fontsize=7, frameon=False, title=network, title_fontsize=8)
