"""The tasks: depth order, perspective taking, and perspective taking in scenes that look alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lcd.alignment.scenes import Scenes, draw_fours, draw_scenes, render
from lcd.alignment.scenes.geometry import ball_is_nearer, sight

Right = NDArray[np.bool_]

Fit = Callable[[str, Right], Callable[[str], Right]]
"""From the name of training scenes and the right answers to them, to a function from the name of scenes to answers."""


@dataclass(frozen=True, eq=False)
class Stimuli:
    """Scenes with their frames, shape (n, 3, height, width), and label maps, shape (n, height, width)."""

    scenes: Scenes
    frames: torch.Tensor
    labels: NDArray[np.uint8]

    @classmethod
    def of(cls, scenes: Scenes, size: tuple[int, int]) -> Stimuli:
        """Render scenes."""
        frames, labels = render(scenes, size)
        return cls(scenes, torch.from_numpy(frames).permute(0, 3, 1, 2), labels)


def ball_is_seen(scenes: Scenes) -> Right:
    """Whether the figure sees the ball, shape (n,)."""
    return sight(scenes) > 0


@dataclass(frozen=True)
class Task:
    """A question, the scenes in which a classifier learns to answer it, and those in which it is tested.

    Attributes
    ----------
    name
        ``depth-order``, ``vpt-basic`` or ``vpt-strategy``.
    trained_on
        Name of the task to which the training scenes belong.
    answer
        From scenes to the right answers.
    training, test
        Names of the scenes in `stimuli_of`.
    """

    name: str
    trained_on: str
    answer: Callable[[Scenes], Right]
    training: str
    test: str


TASKS = (
    Task("depth-order", "depth-order", ball_is_nearer, "scenes", "test scenes"),
    Task("vpt-basic", "vpt-basic", ball_is_seen, "scenes", "test scenes"),
    Task("vpt-strategy", "vpt-basic", ball_is_seen, "scenes", "test fours"),
    Task("vpt-strategy", "vpt-strategy", ball_is_seen, "fours", "test fours"),
)
"""The tasks; the third is as in arXiv:2406.04138, whose classifiers learn where shortcuts help, and are tested where
none does."""


def stimuli_of(size: tuple[int, int], train: int, test: int, seed: int) -> dict[str, Stimuli]:
    """Training and test scenes of all tasks, by name.

    Of each four of the test one scene is taken, so that all are independent; in half of them the ball is hidden.

    Parameters
    ----------
    size
        Height and width of frames in pixels.
    train, test
        Numbers of scenes, multiples of 4.
    seed
        Seed of the scenes.
    """
    one_each = np.arange(test) * 4 + np.arange(test) % 4
    drawn = {
        "scenes": draw_scenes(train, seed=seed),
        "fours": draw_fours(train, seed=seed),
        "test scenes": draw_scenes(test, seed=seed, split="test"),
        "test fours": draw_fours(4 * test, seed=seed, split="test")[one_each],
    }
    return {name: Stimuli.of(scenes, size) for name, scenes in drawn.items()}


def right_answers(fit: Fit, stimuli: Mapping[str, Stimuli]) -> Iterator[tuple[Task, Right]]:
    """Whether each answer to each task is right; tasks with the same question and training scenes share a fit.

    Parameters
    ----------
    fit
        See `Fit`.
    stimuli
        Result of `stimuli_of`.

    Yields
    ------
    Task, numpy.ndarray
        A task, and for each of its test scenes whether it is answered right.
    """
    made: dict[tuple[Callable[[Scenes], Right], str], Callable[[str], Right]] = {}
    for task in TASKS:
        key = (task.answer, task.training)
        if key not in made:
            made[key] = fit(task.training, task.answer(stimuli[task.training].scenes))
        yield task, made[key](task.test) == task.answer(stimuli[task.test].scenes)
