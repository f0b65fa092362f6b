"""Which encoders explain which: the units of one are predicted from the layers of another, as recorded neurons are.

The predicted units are responses without noise, so that their ceiling is 1 and the score needs no correction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lcd.agents import EncoderPolicy
from lcd.alignment.layers import LayeredNetwork, find_layers, layer_activations
from lcd.alignment.predictivity import correlations, predictivity
from lcd.alignment.recordings import Recording
from lcd.alignment.regression import Regression, cross_validated, folds_of
from lcd.envs import GameOptions
from lcd.pretraining.frames import collect_frames
from lcd.studies.layered_networks import inputs_of

Floats = NDArray[np.float64]

UNITS = 60
"""Units of each predicted encoder."""

LEAST_ACTIVE = 0.1
"""Units that differ from their lowest activation in a smaller share of the images are not predicted."""

BEST = "best"
"""In the place of a layer: that with the highest score for one half of the units, for the other half."""


@dataclass(frozen=True)
class EncoderKind:
    """Encoders that were trained alike.

    Attributes
    ----------
    name
        What they have in common.
    networks
        One a seed.
    target
        Layer whose units are predicted, counted from the end, -1 being the last; None where none are.
    """

    name: str
    networks: tuple[LayeredNetwork, ...]
    target: int | None = -1


@dataclass(frozen=True, eq=False)
class _Target:
    """Units that are predicted: of which kind and seed, and their activations, shape (n, units)."""

    kind: str
    seed: int
    activations: Floats


def collect_states(
    options: GameOptions, games: int, each: int, *, policy: EncoderPolicy | None, every: int = 8, seed: int = 0
) -> Recording:
    """Frames and label maps of the same states, each game a cluster; the responses are to be filled in.

    Parameters
    ----------
    options
        The game and its levels.
    games, each
        Number of games, and of states of each.
    policy
        The agent; None for a random one.
    every, seed
        Steps between two states of a game, and seed of levels and actions.
    """
    found = collect_frames(options, games * each * every, policy=policy, num_envs=games, seed=seed)
    taken = np.arange(every, every * each + 1, every)
    frames, labels = found.frames[taken], None if found.labels is None else found.labels[taken]
    groups = np.tile(np.arange(games), each)
    images = frames.reshape(-1, *frames.shape[2:])
    maps = None if labels is None else labels.reshape(-1, *labels.shape[2:])
    return Recording(np.arange(len(images), dtype=np.float64)[None, :, None], images, maps, groups)


def mutual_prediction(
    kinds: Sequence[EncoderKind],
    states: Recording,
    regression: Regression,
    *,
    units: int = UNITS,
    report: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Predict units of each kind of encoder from the layers of each.

    The encoder of a seed is predicted by that of the next seed, so that encoders of one kind are different ones too. A
    kind with a single encoder is not predicted by itself.

    Parameters
    ----------
    kinds
        The encoders.
    states
        Images, and label maps for encoders that take these.
    regression
        Settings of the regression.
    units
        Units of each predicted encoder, drawn at random.
    report
        Called with a line when an encoder is done.

    Returns
    -------
    pandas.DataFrame
        One row a (target, predictor, layer), with the layers of a predictor in their order and `BEST` after them:
        score, the median correlation over the units of all targets of the kind; low and high, its 95 % limits over
        clusters of images and units; depth of the layer, counted from 1, and 0 for `BEST`; units, their number.
    """
    targets = [
        _Target(kind.name, seed, _units(network, kind.target, states, units, seed))
        for kind in kinds
        if kind.target is not None
        for seed, network in enumerate(kind.networks)
    ]
    tables = []
    for kind in kinds:
        predicted: list[tuple[_Target, dict[str, Floats]]] = []
        for number, network in enumerate(kind.networks):
            asked = [target for target in targets if _is_asked(kind, number, target)]
            if asked:
                predicted += zip(asked, _predictions(network, asked, states, regression), strict=True)
                report(f"{kind.name}: {number + 1} of {len(kind.networks)} encoders")
        for name in dict.fromkeys(target.kind for target, _ in predicted):
            of_kind = [(target.activations, by_layer) for target, by_layer in predicted if target.kind == name]
            actual = np.concatenate([activations for activations, _ in of_kind], axis=1)
            of_layers = {
                layer: np.concatenate([by_layer[layer] for _, by_layer in of_kind], axis=1) for layer in of_kind[0][1]
            }
            tables.append(_scores(of_layers, actual, states, regression).assign(target=name, predictor=kind.name))
    columns = ["target", "predictor", "layer", "depth", "score", "low", "high", "units"]
    return pd.concat(tables, ignore_index=True)[columns]


def activity_table(kinds: Sequence[EncoderKind], states: Recording) -> pd.DataFrame:
    """How many units of each layer are active, and along how many dimensions they vary.

    Parameters
    ----------
    kinds
        The encoders.
    states
        Images, and label maps for encoders that take these.

    Returns
    -------
    pandas.DataFrame
        One row a (encoder, seed, layer): depth, counted from 1; units; active, the share of the units that differ from
        their lowest activation in `LEAST_ACTIVE` of the images; dimensions, the participation ratio (Σλ)² / Σλ² of the
        eigenvalues of the correlation matrix of these, NaN without any.

    References
    ----------
    Gao, P. et al. (2017), *A theory of multineuronal dimensionality, dynamics and measurement*, bioRxiv 214262.
    """
    rows = []
    for kind in kinds:
        for seed, network in enumerate(kind.networks):
            inputs = inputs_of(network, states)
            found = layer_activations(network, inputs, find_layers(network, inputs))
            for depth, (layer, activations) in enumerate(found, start=1):
                flat = activations.reshape(len(states), -1).astype(np.float64)
                active = _active(flat)
                rows.append(
                    (kind.name, seed, layer.name, depth, layer.size, active.mean(), _dimensions(flat[:, active]))
                )
    return pd.DataFrame(rows, columns=["encoder", "seed", "layer", "depth", "units", "active", "dimensions"])


def _active(activations: Floats) -> NDArray[np.bool_]:
    """Which units are active often enough."""
    return (activations > activations.min(axis=0)).mean(axis=0) >= LEAST_ACTIVE


def _dimensions(activations: Floats) -> float:
    """Participation ratio of units, shape (n, units)."""
    if not activations.shape[1]:
        return float("nan")
    scores = (activations - activations.mean(axis=0)) / activations.std(axis=0)
    products = scores @ scores.T  # which has the eigenvalues of the correlation matrix, but for a factor
    return float(np.trace(products) ** 2 / np.square(products).sum())


def _units(network: LayeredNetwork, place: int, states: Recording, count: int, seed: int) -> Floats:
    """Activations of some units of a layer that are active often enough, shape (n, units)."""
    inputs = inputs_of(network, states)
    layer = find_layers(network, inputs)[place]
    ((_, activations),) = layer_activations(network, inputs, [layer])
    flat = activations.reshape(len(states), -1).astype(np.float64)
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(_active(flat)))[:count]
    return flat[:, drawn]


def _is_asked(predictor: EncoderKind, number: int, target: _Target) -> bool:
    """Whether an encoder of a kind predicts a target: one of the seed before it, and never itself."""
    count = len(predictor.networks)
    return (target.seed + 1) % count == number and not (count == 1 and target.kind == predictor.name)


def _predictions(
    network: LayeredNetwork, targets: Sequence[_Target], states: Recording, regression: Regression
) -> list[dict[str, Floats]]:
    """Predictions of each target from each layer, by the layer's name; the units of all are fitted at once."""
    inputs = inputs_of(network, states)
    units = np.concatenate([target.activations for target in targets], axis=1)
    ends = np.cumsum([target.activations.shape[1] for target in targets])[:-1]
    found: list[dict[str, Floats]] = [{} for _ in targets]
    for layer, activations in layer_activations(network, inputs, find_layers(network, inputs)):
        fitted = cross_validated(activations.reshape(len(activations), -1), units, states.clusters, regression)
        for by_layer, part in zip(found, np.split(fitted, ends, axis=1), strict=True):
            by_layer[layer.name] = part
    return found


def _scores(predicted: dict[str, Floats], responses: Floats, states: Recording, regression: Regression) -> pd.DataFrame:
    """Scores of each layer and of the best."""
    fold, count = folds_of(states.clusters, regression), responses.shape[1]
    recording = Recording(responses[None], groups=states.groups, ceilings=np.ones(count))
    of_units = {layer: correlations(each, responses, fold) for layer, each in predicted.items()}
    best = np.empty_like(responses)
    for half in (0, 1):
        of_others = {layer: float(np.nanmedian(each[1 - half :: 2])) for layer, each in of_units.items()}
        chosen = max(of_others, key=of_others.__getitem__)
        best[:, half::2] = predicted[chosen][:, half::2]
    found = predictivity(predicted | {BEST: best}, recording, fold, seed=regression.seed)
    depths = {layer: depth for depth, layer in enumerate(predicted, start=1)}
    rows = [
        (layer, depths.get(layer, 0), each.score.value, each.score.low, each.score.high, count)
        for layer, each in found.items()
    ]
    return pd.DataFrame(rows, columns=["layer", "depth", "score", "low", "high", "units"])
