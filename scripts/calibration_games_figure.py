"""Draw docs/calibration-games.png: Courier at the settings 0, ½ and 1 of every factor, and Tracker over time."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from lcd.envs import paint
from lcd.envs.calibration.batch import CalibrationBatch, CalibrationOptions
from lcd.envs.calibration.difficulty import PERCEPTUAL, POLICY, DifficultyFactors
from lcd.envs.calibration.options import CourierOptions, TrackerOptions

VALUES = (0.0, 0.5, 1.0)
LEVEL = 12
TRACKED = {
    "all change": TrackerOptions(),
    "none change": TrackerOptions(change=0.0),
    "held-out colours": TrackerOptions(colours="held-out"),
    "held-out shapes": TrackerOptions(shapes="held-out"),
}
TIMES = (0, 40, 80, 120)


def seen(options: CalibrationOptions, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Frame and label map of one level after some steps of standing still."""
    batch = CalibrationBatch(options, 1, "both")
    for _ in range(steps):
        batch.step(np.zeros(1, np.int64))
    observation = batch.observe()
    assert isinstance(observation, dict)
    return observation["pixels"][0], paint(observation["semantic"][0])


def on_level(options: CalibrationOptions) -> CalibrationOptions:
    """The same options on one level only."""
    return type(options)(**{**vars(options), "num_levels": 1, "start_level": LEVEL})


def show(panel: Axes, image: np.ndarray, title: str = "", side: str = "") -> None:
    """Draw an image without axes."""
    panel.imshow(image, interpolation="nearest")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
    panel.set_title(title, fontsize=8)
    panel.set_ylabel(side, fontsize=8)


def draw_courier(figure: SubFigure) -> None:
    """Draw Courier, a row a factor."""
    columns: Any = figure.subfigures(1, 2)
    for column, family, name in zip(
        columns, (PERCEPTUAL, POLICY), ("perceptual factors", "policy factors"), strict=True
    ):
        column.suptitle(f"Courier: {name}", fontsize=10)
        for row, factor in zip(column.subplots(len(family), len(VALUES)), family, strict=True):
            for panel, value in zip(row, VALUES, strict=True):
                options = CourierOptions(DifficultyFactors(**{"horizon": 0.4, factor: value}))
                show(panel, seen(on_level(options), 12)[0], f"{value:g}", factor if not value else "")


def draw_tracker(figure: SubFigure) -> None:
    """Draw Tracker, a row a setting, and label maps of both games."""
    figure.suptitle("Tracker, after so many steps", fontsize=10)
    panels = figure.subplots(len(TRACKED) + 1, len(TIMES))
    for row, (name, options) in zip(panels, TRACKED.items(), strict=False):
        for panel, time in zip(row, TIMES, strict=True):
            show(panel, seen(on_level(options), time)[0], str(time), name if not time else "")
    label_maps: dict[str, tuple[CalibrationOptions, int]] = {
        "Courier's label map": (CourierOptions(DifficultyFactors(horizon=0.4)), 12),
        "the same,\nfive subgoals": (CourierOptions(DifficultyFactors(horizon=0.4, subgoals=1)), 12),
        "the same,\nall distractors": (CourierOptions(DifficultyFactors(horizon=0.4, distractors=1)), 12),
        "Tracker's label map": (TrackerOptions(), 40),
    }
    for panel, (name, (shown, steps)) in zip(panels[-1], label_maps.items(), strict=True):
        show(panel, seen(on_level(shown), steps)[1], name)


def draw() -> Figure:
    """Draw the figure."""
    figure = Figure(figsize=(13.5, 9), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=[2 * len(VALUES), len(TIMES) + 0.4])
    draw_courier(halves[0])
    draw_tracker(halves[1])
    return figure


def main() -> None:
    """Draw it where the user wants it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/calibration-games.png"), help="PNG file to write")
    draw().savefig(parser.parse_args().output, dpi=90)


if __name__ == "__main__":
    main()
