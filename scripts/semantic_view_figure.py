"""Draw docs/semantic-view.png: frames and label maps of the 16 games, at moments with many classes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lcd.envs import GAMES, ProcgenBatch, ProcgenOptions, class_names, paint

MODES = ("easy", "easy", "hard")
NUM_ENVS, STEPS, HOLD = 32, 240, 4
COLUMNS = 4


def play(game: str, mode: str, seed: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames and label maps from random play that holds each action for a few steps."""
    batch = ProcgenBatch(ProcgenOptions(game, distribution_mode=mode), NUM_ENVS, "both", seed=seed)
    rng = np.random.default_rng(1)
    frames, labels = [], []
    for step in range(steps):
        if step % HOLD == 0:
            actions = rng.choice([1, 2, 5, 7, 7, 8, 8, 4, 9, 9, 10, 11, 12], NUM_ENVS)
        seen = batch.step(actions).observations
        assert isinstance(seen, dict)
        if step % HOLD == 0:
            frames.append(seen["pixels"])
            labels.append(seen["semantic"])
    batch.close()
    return np.concatenate(frames), np.concatenate(labels)


def choose_moments(game: str, steps: int) -> tuple[list[tuple[np.ndarray, np.ndarray]], set[int]]:
    """One moment a mode, each with as many classes as possible that the earlier ones lack."""
    moments: list[tuple[np.ndarray, np.ndarray]] = []
    shown: set[int] = set()
    for seed, mode in enumerate(MODES, start=8):
        frames, labels = play(game, mode, seed, steps)
        borders = (labels[:, :, 1:] != labels[:, :, :-1]).sum(axis=(1, 2))
        present = [set(np.flatnonzero(np.bincount(image.ravel(), minlength=65) >= 4).tolist()) for image in labels]
        scores = [3 * len(seen - shown) + len(seen) + count / 200 for seen, count in zip(present, borders, strict=True)]
        best = int(np.argmax(scores))
        shown |= present[best]
        moments.append((frames[best], labels[best]))
    return moments, shown


def draw_game(axes: list[list[Axes]], legend: Axes, game: str, steps: int) -> None:
    """Frames above, label maps below, and what the colours mean."""
    moments, shown = choose_moments(game, steps)
    for (frame_axis, label_axis), (frame, labels) in zip(axes, moments, strict=True):
        for axis, image in ((frame_axis, frame), (label_axis, paint(labels))):
            axis.imshow(image, interpolation="nearest")
            axis.set_axis_off()
    axes[0][0].set_title(game, loc="left", fontsize=9)
    names = {label: name for label, name in class_names(game).items() if label in shown and label}
    patches = [
        Patch(color="#{:02x}{:02x}{:02x}".format(*paint(np.array(label))), label=name) for label, name in names.items()
    ]
    legend.set_axis_off()
    legend.legend(handles=patches, loc="center left", fontsize=5.5, frameon=False, handlelength=1, borderpad=0)


def draw(games: Sequence[str], steps: int) -> Figure:
    """Draw the figure."""
    rows = -(-len(games) // COLUMNS)
    figure = Figure(figsize=(4.1 * COLUMNS, 2.1 * rows), dpi=100)
    outer = figure.add_gridspec(
        rows, COLUMNS, left=0.005, right=0.995, bottom=0.005, top=0.975, wspace=0.02, hspace=0.12
    )
    for place, game in enumerate(games):
        inner = outer[place // COLUMNS, place % COLUMNS].subgridspec(
            2, len(MODES) + 1, width_ratios=[1] * len(MODES) + [0.9], wspace=0.03, hspace=0.03
        )
        axes = [[figure.add_subplot(inner[row, column]) for row in range(2)] for column in range(len(MODES))]
        draw_game(axes, figure.add_subplot(inner[:, -1]), game, steps)
    return figure


def main() -> None:
    """Draw it where the user wants it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", nargs="+", default=GAMES, choices=GAMES, metavar="GAME")
    parser.add_argument("--steps", type=int, default=STEPS, help="of random play, from which moments are chosen")
    parser.add_argument("--output", type=Path, default=Path("docs/semantic-view.png"), help="PNG file to write")
    options = parser.parse_args()
    draw(options.games, options.steps).savefig(options.output)


if __name__ == "__main__":
    main()
