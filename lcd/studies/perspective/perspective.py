"""Probes of encoders for depth order and perspective taking, from names to a table: what ``lcd perspective`` calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lcd.agents import Encoder
from lcd.alignment.encoding import LAYERS, Layer, encoded, random_copy
from lcd.alignment.finetuning import FineTuning, answers_of, fine_tune
from lcd.alignment.probes import accuracy, difference
from lcd.experiments.resources import resolve_device
from lcd.io.files import check_output, replacing
from lcd.io.limits import (
    FEWEST_SCENES,
    LARGEST_SEED,
    MOST_COPIES,
    MOST_EPOCHS,
    MOST_SCENES,
    path,
    short,
    texts,
    whole_number,
)
from lcd.studies.figures import check_registered, registered
from lcd.studies.output import save_figure
from lcd.studies.perspective.controls import controls, linear
from lcd.studies.perspective.models import Probed, load_probed
from lcd.studies.perspective.tasks import Fit, Right, Stimuli, Task, right_answers, stimuli_of
from lcd.studies.policies import files_of

COLUMNS = (
    *("model", "encoder", "weights", "readout", "task", "trained_on"),
    *("accuracy", "low", "high", "scenes", "gain", "gain_low", "gain_high"),
)
FIGURE = "perspective"
"""Name of the figure among the entry points ``lcd.figures``."""

Report = Callable[[str, int, int], None]


def perspective(
    models: Sequence[str],
    *,
    train: int = 4000,
    test: int = 2000,
    layer: str = "backbone",
    copies: int = 3,
    finetune: bool = False,
    epochs: int = 10,
    seed: int = 0,
    out: Path | str | None = None,
    figure: Path | str | None = None,
    trust: bool = False,
    device: str = "auto",
    report: Report = lambda what, done, of: None,
) -> pd.DataFrame:
    """Probe encoders for depth order and perspective taking; the command ``lcd perspective`` is this function.

    Parameters
    ----------
    models, trust
        See `lcd.studies.perspective.models.load_probed`.
    train, test
        Numbers of training and of test scenes of each kind, multiples of 4.
    layer
        What is probed, a name in `lcd.alignment.encoding.LAYERS`.
    copies
        Number of copies of each architecture with random weights, the control.
    finetune
        Whether all weights of each encoder are fine-tuned as well; and those of the first copy with random weights.
    epochs
        Passes of fine-tuning over the training scenes.
    seed
        Seed of scenes, random weights and fits.
    out, figure
        Output files of the table and of the figure; by default nothing is written.
    device
        Where torch computes.
    report
        Called with what is measured, how many encoders are done, and of how many.

    Returns
    -------
    pandas.DataFrame
        One row a (model, weights, readout, task), with the columns of `COLUMNS`. The first rows are the controls of
        `lcd.studies.perspective.controls.controls`, with pictures of the first encoder's size. Encoders have the
        readouts ``linear probe`` and ``fine-tuned``. accuracy has 95 % limits over the test scenes, which are
        independent. gain is the accuracy less the mean of the copies with random weights, with limits over the same
        scenes; the copies differ among themselves, which these limits do not hold.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    """
    names = texts("models", models)
    if not names:
        raise ValueError("No model is given: name a run's folder, a policy's file or an encoder, such as nature.")
    for name, value in (("train", train), ("test", test)):
        if whole_number(name, value, FEWEST_SCENES, MOST_SCENES) % 4:
            raise ValueError(f"{name} must be a multiple of 4, so that answers are balanced, not {value}.")
    if not isinstance(finetune, bool):
        raise ValueError(f"finetune is true or false, not {short(finetune)}.")
    whole_number("copies", copies, 1, MOST_COPIES)
    whole_number("epochs", epochs, 1, MOST_EPOCHS)
    whole_number("seed", seed, 0, LARGEST_SEED - MOST_COPIES)
    if layer not in LAYERS:
        raise ValueError(f"Unknown layer {layer!r}: choose {' or '.join(LAYERS)}.")
    read = [file for name in names for file in files_of(name)]
    table_file = None if out is None else check_output(path("out", out), ".csv", inputs=read)
    figure_file = None if figure is None else check_output(path("figure", figure), ".png", ".pdf", ".svg", inputs=read)
    if figure_file is not None:
        check_registered(FIGURE)
    probed = [load_probed(name, trust) for name in dict.fromkeys(names)]
    if layer == "features" and (untrained := [each.name for each in probed if each.is_named and each.is_trained]):
        raise ValueError(
            f"{untrained[0]} is an encoder by its name, whose linear layer nobody trained: probe its backbone, or name "
            "a policy."
        )
    settings = FineTuning(epochs=epochs, seed=seed) if finetune else None
    study = _Study(train, test, layer, copies, settings, seed, resolve_device(device), report)
    table = pd.DataFrame(study.rows(probed), columns=list(COLUMNS))
    if table_file is not None:
        with replacing(table_file) as partial:
            table.round(6).to_csv(partial, index=False)
    if figure_file is not None:
        save_figure(registered(FIGURE)(table), figure_file)
    return table


@dataclass(frozen=True)
class _Study:
    """Settings of `perspective` that its steps share."""

    train: int
    test: int
    layer: Layer
    copies: int
    finetuning: FineTuning | None
    seed: int
    device: str
    report: Report

    def rows(self, probed: Sequence[Probed]) -> Iterator[dict[str, Any]]:
        """All rows: the controls, and for each architecture the copies with random weights, then what is trained."""
        kinds: dict[tuple[str, tuple[int, int]], list[Probed]] = {}
        for each in probed:
            kinds.setdefault((each.architecture, each.size), []).append(each)
        total = self.copies * len(kinds) + sum(each.is_trained for each in probed)
        self.report("controls", 0, total)
        stimuli: dict[tuple[int, int], dict[str, Stimuli]] = {}
        done = 0
        for (architecture, size), members in kinds.items():
            if size not in stimuli:
                stimuli[size] = stimuli_of(size, self.train, self.test, self.seed)
                if len(stimuli) == 1:
                    for name, readout, task, right in controls(stimuli[size], self.seed):
                        yield _row(name, "", "none", readout, task, right)
            by_chance: dict[tuple[str, Task], list[Right]] = {}
            for number in range(self.copies):
                self.report(f"{architecture}, random weights", done, total)
                copied = random_copy(
                    members[0].encoder, stimuli[size]["scenes"].frames, seed=self.seed + number, device=self.device
                )
                for readout, task, right in self._answers(copied, stimuli[size], tuned=number == 0):
                    yield _row(architecture, architecture, f"random {number}", readout, task, right)
                    by_chance.setdefault((readout, task), []).append(right)
                done += 1
            for each in members:
                if not each.is_trained:
                    continue
                self.report(each.name, done, total)
                for readout, task, right in self._answers(each.encoder.to(self.device), stimuli[size], tuned=True):
                    control = np.mean(by_chance[readout, task], axis=0)
                    yield _row(each.name, architecture, "trained", readout, task, right, control)
                done += 1

    def _answers(
        self, encoder: Encoder, stimuli: Mapping[str, Stimuli], *, tuned: bool
    ) -> Iterator[tuple[str, Task, Right]]:
        """Readout, task, and whether each answer is right, of a linear probe and of the fine-tuned encoder."""
        features = {
            name: encoded(encoder, each.frames, self.layer, device=self.device) for name, each in stimuli.items()
        }
        fits = {"linear probe": linear(features, stimuli, self.seed)}
        if self.finetuning is not None and tuned:
            fits["fine-tuned"] = self._tuning(encoder, stimuli, self.finetuning)
        for readout, fit in fits.items():
            for task, right in right_answers(fit, stimuli):
                yield readout, task, right

    def _tuning(self, encoder: Encoder, stimuli: Mapping[str, Stimuli], settings: FineTuning) -> Fit:
        """Fine-tuned copies of an encoder."""

        def fit(training: str, answers: Right) -> Callable[[str], Right]:
            network = fine_tune(encoder, stimuli[training].frames, answers, settings, device=self.device)
            return lambda test: answers_of(network, stimuli[test].frames, device=self.device)

        return fit


def _row(
    model: str,
    encoder: str,
    weights: str,
    readout: str,
    task: Task,
    right: Right,
    control: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    found = accuracy(right)
    gain = (float("nan"),) * 3 if control is None else difference(right, control)
    values = (model, encoder, weights, readout, task.name, task.trained_on)
    return dict(zip(COLUMNS, (*values, found.share, found.low, found.high, found.count, *gain), strict=True))
