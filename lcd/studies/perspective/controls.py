"""Controls that need no encoder: shortcuts of the picture, the label map, the scene's truth, and chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcd.alignment.probes import fit_linear, fit_trees
from lcd.alignment.scenes import Scenes
from lcd.alignment.scenes.geometry import distances, sight_clearance
from lcd.alignment.scenes.shortcuts import SHORTCUTS, pooled_label_maps
from lcd.studies.perspective.tasks import Fit, Right, Stimuli, Task, right_answers


def truth(scenes: Scenes) -> NDArray[np.float64]:
    """Distances of the objects from the observer, and of the occluder from the line of sight, shape (n, 4)."""
    return np.column_stack([distances(scenes), sight_clearance(scenes)])


def linear(features: Mapping[str, NDArray[Any]], stimuli: Mapping[str, Stimuli], seed: int) -> Fit:
    """Linear probes of features of the scenes, by name."""

    def fit(training: str, answers: Right) -> Callable[[str], Right]:
        probe = fit_linear(features[training], answers, stimuli[training].scenes.groups, seed=seed)
        return lambda test: probe.predict(features[test])

    return fit


def trees(compute: Callable[[Scenes], NDArray[Any]], stimuli: Mapping[str, Stimuli], seed: int) -> Fit:
    """Boosted trees on features that are computed from the scenes."""

    def fit(training: str, answers: Right) -> Callable[[str], Right]:
        made = fit_trees(compute(stimuli[training].scenes), answers, seed=seed)
        return lambda test: made.predict(compute(stimuli[test].scenes))

    return fit


def most_frequent(stimuli: Mapping[str, Stimuli]) -> Fit:
    """The more frequent answer of the training scenes; yes where both are equally frequent."""

    def fit(training: str, answers: Right) -> Callable[[str], Right]:
        always = answers.mean() >= 0.5
        return lambda test: np.full(len(stimuli[test].scenes), always)

    return fit


def controls(stimuli: Mapping[str, Stimuli], seed: int) -> Iterator[tuple[str, str, Task, Right]]:
    """Answers of all controls.

    Parameters
    ----------
    stimuli
        Result of `lcd.studies.perspective.tasks.stimuli_of`.
    seed
        Seed of the fits.

    Yields
    ------
    str, str, Task, numpy.ndarray
        Name of the control, how it answers, a task, and whether each of its answers is right.
    """
    pooled = {name: pooled_label_maps(each.labels) for name, each in stimuli.items()}
    fits = {(name, "boosted trees"): trees(compute, stimuli, seed) for name, compute in SHORTCUTS.items()}
    fits["label map", "linear probe"] = linear(pooled, stimuli, seed)
    fits["truth", "boosted trees"] = trees(truth, stimuli, seed)
    fits["chance", "most frequent"] = most_frequent(stimuli)
    for (name, readout), fit in fits.items():
        for task, right in right_answers(fit, stimuli):
            yield name, readout, task, right
