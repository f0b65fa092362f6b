"""Neural predictivity of a network, from its name and a file of responses to a table: what ``lcd neural`` calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lcd.alignment.layers import LayeredNetwork, find_layers, layer_activations
from lcd.alignment.predictivity import OVER, Over, predictivity
from lcd.alignment.recording_files import read_responses
from lcd.alignment.recordings import Recording
from lcd.alignment.regression import COMPONENTS, Regression, cross_validated, cross_validated_at_places, folds_of
from lcd.experiments.resources import resolve_device
from lcd.io.files import check_output, replacing
from lcd.io.limits import path, short, text, texts
from lcd.studies.layered_networks import inputs_of, load_layers
from lcd.studies.policies import files_of

COLUMNS = (
    "layer",
    "depth",
    "shape",
    *("score", "score_low", "score_high"),
    *("ceiling", "ceiling_low", "ceiling_high"),
    *("corrected", "corrected_low", "corrected_high"),
    *("images", "clusters", "sites", "unreliable", "repetitions", "over", "method"),
)
"""Columns of a table of `layer_table`."""


def layer_table(
    network: LayeredNetwork,
    recording: Recording,
    regression: Regression,
    *,
    layers: Sequence[str] = (),
    shared_weights: bool = False,
    over: Over = "both",
    report: Callable[[str, int, int | None], None] = lambda what, done, of: None,
) -> pd.DataFrame:
    """Predict a recording from each layer of a network.

    Parameters
    ----------
    network
        The network.
    recording
        The recording; the sites of a map are predicted from the activations at their places.
    regression
        Settings of the regression.
    layers
        Names of modules; by default see `lcd.alignment.layers.find_layers`.
    shared_weights
        As in `lcd.alignment.regression.cross_validated_at_places`.
    over
        Unit of resampling of the intervals.
    report
        Called with what is measured, how much of it is done, and of how much.

    Returns
    -------
    pandas.DataFrame
        One row a layer, in the order of computing, with the columns of `COLUMNS`: score, ceiling and corrected are
        medians over sites (`lcd.alignment.predictivity.Predictivity`), with 95 % limits.

    Raises
    ------
    ValueError
        If images are too few, or a map is to be predicted from a layer without places.
    """
    inputs = inputs_of(network, recording)
    fold = folds_of(recording.clusters, regression)
    found = find_layers(network, inputs, layers)
    if recording.grid is not None:
        flat = [layer.name for layer in found if len(layer.shape) != 3]
        if layers and flat:
            raise ValueError(f"The layer {flat[0]} has no places, which a map needs: choose a convolution before it.")
        found = [layer for layer in found if len(layer.shape) == 3]
        if not found:
            raise ValueError("No layer of the network has places, which a map needs: give a convolutional one.")
    predicted: dict[str, NDArray[np.float64]] = {}
    for number, (layer, activations) in enumerate(layer_activations(network, inputs, found)):
        report(layer.name, number, len(found))
        predicted[layer.name] = _predicted(activations, recording, regression, shared_weights)
    report("intervals", len(found), len(found))
    scores = predictivity(predicted, recording, fold, over=over, seed=regression.seed)
    rows = []
    for depth, layer in enumerate(found, start=1):
        each = scores[layer.name]
        estimates = {
            column: value
            for name, estimate in (("score", each.score), ("ceiling", each.ceiling), ("corrected", each.corrected))
            for column, value in (
                (name, estimate.value),
                (f"{name}_low", estimate.low),
                (f"{name}_high", estimate.high),
            )
        }
        rows.append(
            {
                "layer": layer.name,
                "depth": depth,
                "shape": "x".join(map(str, layer.shape)),
                **estimates,
                "images": len(recording),
                "clusters": len(np.unique(recording.clusters)),
                "sites": each.sites,
                "unreliable": each.unreliable,
                "repetitions": len(recording.responses),
                "over": over,
                "method": regression.method,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _predicted(
    activations: NDArray[np.float32], recording: Recording, regression: Regression, shared: bool
) -> NDArray[np.float64]:
    clusters, mean = recording.clusters, recording.mean
    if recording.grid is None:
        return cross_validated(activations.reshape(len(activations), -1), mean, clusters, regression)
    return cross_validated_at_places(activations, mean, recording.grid, clusters, regression, shared=shared)


@dataclass(frozen=True)
class Predicted:
    """How well a network's layers predict responses.

    Attributes
    ----------
    table
        One row a layer, see `layer_table`; in its file also model, components, folds, seed, region and time.
    best
        Name of the layer with the highest score; as the best of several, its score is rather too high.
    """

    table: pd.DataFrame
    best: str


def predict_responses(
    model: str,
    responses: Path | str,
    images: Path | str | None = None,
    *,
    stimuli: Path | str | None = None,
    region: str | None = None,
    time: str | None = None,
    layers: Sequence[str] = (),
    method: str = "pls",
    components: Sequence[int] = (),
    folds: int = 10,
    shared_weights: bool = False,
    over: str = "both",
    seed: int = 0,
    out: Path | str | None = None,
    trust: bool = False,
    device: str = "auto",
    report: Callable[[str, int, int | None], None] = lambda what, done, of: None,
) -> Predicted:
    """Measure how well a network's layers predict recorded responses; the command ``lcd neural`` is this function.

    Parameters
    ----------
    model, trust
        See `load_layers`.
    responses, images, stimuli, region
        See `read_responses`.
    time
        First and last millisecond of the time bins, such as ``"70,170"``.
    layers, shared_weights
        See `layer_table`.
    method, components, folds
        See `lcd.alignment.regression.Regression`; by default 25 components.
    over
        Unit of resampling of the intervals: ``"images"``, ``"sites"`` or ``"both"``.
    seed
        Seed of folds, splits and resamples, and of random weights.
    out
        Output file of the table; by default nothing is written.
    device
        Where torch computes.
    report
        Called with what is measured, how much of it is done, and of how much.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    """
    if isinstance(components, str) or not isinstance(components, Sequence):
        raise ValueError(f"components is a list of numbers, such as [5, 10, 25], not {short(components)}.")
    regression = Regression(method, tuple(components) or COMPONENTS, folds, seed)
    chosen = texts("layers", layers)
    if over not in OVER:
        raise ValueError(f"Unknown unit of resampling {short(over)}: choose one of {', '.join(OVER)}.")
    window = None if time is None else _window(text("time", time))
    text("model", model)
    files = {"responses": path("responses", responses)} | {
        name: path(name, given) for name, given in (("images", images), ("stimuli", stimuli)) if given is not None
    }
    inputs = (*files_of(model), files["responses"], files.get("stimuli"))
    file = None if out is None else check_output(path("out", out), inputs=inputs)
    recording = read_responses(
        files["responses"], files.get("images"), stimuli=files.get("stimuli"), region=region, time=window
    )
    folds_of(recording.clusters, regression)
    if shared_weights and recording.grid is None:
        raise ValueError("--shared-weights is for maps, and the file of responses holds none: leave it out.")
    shape = (64, 64) if recording.images is None else recording.images.shape[1:3]
    network = load_layers(model, (shape[0], shape[1]), seed=seed, device=resolve_device(device), trust=trust)
    table = layer_table(
        network,
        recording,
        regression,
        layers=chosen,
        shared_weights=shared_weights,
        over=over,
        report=report,
    )
    if table["score"].isna().all():
        raise ValueError(
            f"No layer's predictions have a score: the responses in {files['responses']} may be too large, too small "
            "or too alike to correlate with anything."
        )
    if file is not None:
        with replacing(file) as partial:
            table.round(6).assign(
                model=model,
                components=" ".join(map(str, regression.components)),
                folds=folds,
                seed=seed,
                region=region,
                time=time,
            ).to_csv(partial, index=False)
    return Predicted(table, str(table.loc[table["score"].idxmax(), "layer"]))


def _window(given: str) -> tuple[float, float]:
    """Two times in milliseconds.

    Raises
    ------
    ValueError
        If there are not two, one after the other.
    """
    try:
        first, last = (float(part) for part in given.split(","))
    except ValueError:
        first = last = float("nan")
    if not first < last:
        raise ValueError(f"Times are two numbers of milliseconds, as in 70,170, not {short(given)}.")
    return first, last
