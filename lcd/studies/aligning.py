"""Alignment of a network with reference maps, from a model's name or file to a table: what ``lcd align`` calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lcd.agents.encoders.pretrained import BACKBONES
from lcd.agents.encoders.weights import load_classifier
from lcd.alignment.clickme import read_folder
from lcd.alignment.importance import METHODS, Scores, of_classes, on_device, policy_scores
from lcd.alignment.invariance import Features
from lcd.alignment.measuring import align, invariance_table
from lcd.alignment.privileged import collect_references
from lcd.alignment.references import ReferenceMaps, read_folders
from lcd.envs import GameOptions, family_of
from lcd.envs.family import frame_shape, game_options, runs_others_code
from lcd.envs.levels import LEVEL_SEEDS
from lcd.experiments.resources import resolve_device
from lcd.experiments.settings import RunSettings
from lcd.io.files import check_output, replacing
from lcd.io.limits import LARGEST_SEED, MOST_IMAGES, path, text, texts, whole_number
from lcd.studies.policies import check_takes, files_of, has_value, load_acting

PRIVILEGED = "privileged"
SOURCES = ("human", PRIVILEGED)
TRAINING_LEVELS = 200
"""Levels that a policy whose card names only its game is taken to have trained on."""


@dataclass(frozen=True)
class Network:
    """A network to measure; a policy also has features, a value, its images' shape, and unseen levels of its game.

    Between the scores of `decisions` it decides: where a policy's game is known, those of classes of actions that do
    the same.
    """

    scores: Scores
    decisions: Scores
    features: Features | None = None
    value: Scores | None = None
    shape: tuple[int, ...] | None = None
    levels: GameOptions | None = None


def load_network(model: str, device: str, trust: bool = False) -> Network:
    """Load a policy or a classifier.

    Parameters
    ----------
    model
        Folder of a run, file of a policy on frames, or the name of a classifier, with its weights after ``@``.
    device
        Where torch computes.
    trust
        As in `lcd.agents.load_policy`.
    """
    if model.partition("@")[0] in BACKBONES:
        scores = on_device(load_classifier(model).eval().to(device), device)
        return Network(scores, decisions=scores)
    policy, card = load_acting(model, trust)
    policy.to(device)
    scores, features = (on_device(each, device) for each in (policy_scores(policy), policy.extract_features))
    value = on_device(policy_scores(policy, "value"), device) if has_value(card) else None
    levels = unseen_levels(card, trusted=trust)
    classes = () if levels is None else family_of(levels).action_classes(levels)
    fits = sum(map(len, classes)) == policy.action_space.n  # type: ignore[attr-defined]
    decisions = of_classes(scores, classes) if fits else scores
    return Network(scores, decisions, features, value, policy.observation_space.shape, levels)


def unseen_levels(card: dict[str, Any], *, trusted: bool = False) -> GameOptions | None:
    """Levels that a policy has not trained on, in the appearance of its training; None where no game is known.

    A game of another package, which runs that package's code, is taken from the card of a trusted policy only.
    """
    run, game = card.get("run"), card.get("game")
    try:
        if isinstance(run, Mapping):
            found = RunSettings.from_dict(run).unseen_options
        elif isinstance(game, str):
            mode = card.get("distribution_mode")
            levels = card.get("num_levels", TRAINING_LEVELS)
            levels = whole_number("The levels in its card", levels, 1, LEVEL_SEEDS - 1)
            found = game_options(game, distribution_mode=mode).unseen_levels(levels)
        else:
            return None
        return found if trusted or not runs_others_code(found) else None
    except ValueError:  # a custom game, or a run of another program
        return None


def references_of(maps: str, source: str | None, levels: GameOptions | None, count: int, seed: int) -> ReferenceMaps:
    """Images with reference maps.

    Parameters
    ----------
    maps
        ``"privileged"`` for frames of a game with maps from its own state; ``"IMAGES,MAPS"`` for two folders; or a
        folder of ClickMe's files.
    source
        Origin of the maps of two folders: ``"human"`` or ``"privileged"``.
    levels
        The game and its levels.
    count, seed
        Largest number of images, and seed of frames.

    Raises
    ------
    ValueError
        If there are none.
    """
    if source is not None and ("," not in maps or source not in SOURCES):
        raise ValueError(f"--source {source} does not fit: it goes with two folders and is {' or '.join(SOURCES)}.")
    if maps == PRIVILEGED:
        if levels is None:
            raise ValueError(
                "Privileged maps need a game with label maps, and this model names none: give others with --maps "
                "IMAGES,MAPS."
            )
        return collect_references(levels, count, seed=seed)
    if "," in maps:
        if source is None:
            raise ValueError(f"The origin of the maps in {maps} is not known: add --source human or privileged.")
        images, references = maps.split(",", 1)
        if not images or not references:
            raise ValueError(f"--maps {maps} names one folder: give two, of images and of maps, as IMAGES,MAPS.")
        return read_folders(Path(images), Path(references), source).first(count)  # type: ignore[arg-type]
    return read_folder(Path(maps), largest=count)


@dataclass(frozen=True)
class Aligned:
    """Alignment of a network.

    Attributes
    ----------
    table
        One row a measure, see `lcd.alignment.measuring.align`, with the column source first; in its file also
        model and seed.
    source
        Origin of the reference maps.
    value_left_out
        Whether the maps of the value are left out, as imitation trains none.
    """

    table: pd.DataFrame
    source: str
    value_left_out: bool


def align_network(
    model: str,
    maps: str = PRIVILEGED,
    *,
    source: str | None = None,
    count: int = 128,
    methods: Sequence[str] = (),
    seed: int = 0,
    out: Path | str | None = None,
    trust: bool = False,
    device: str = "auto",
    report: Callable[[str, int, int | None], None] = lambda what, done, of: None,
) -> Aligned:
    """Measure a network's alignment with reference importance maps; the command ``lcd align`` is this function.

    Parameters
    ----------
    model, trust
        See `load_network`.
    maps, source, count, seed
        See `references_of`.
    methods
        Attribution methods in `lcd.alignment.importance.METHODS`; by default all.
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
    chosen = texts("methods", methods) or tuple(METHODS)
    if unknown := [name for name in chosen if name not in METHODS]:
        raise ValueError(f"Unknown method {unknown[0]!r}: choose among {', '.join(METHODS)}.")
    whole_number("count", count, 2, MOST_IMAGES)
    whole_number("seed", seed, 0, LARGEST_SEED)
    text("model", model)
    text("maps", maps)
    file = None if out is None else check_output(path("out", out), inputs=files_of(model))
    network = load_network(model, resolve_device(device), trust)
    references = references_of(maps, source, network.levels, count, seed)
    if network.shape is not None:
        _check_images(network.shape, references)
    else:
        check_takes(network.scores, tuple(references.inputs.shape[1:]), model)
    tables = [
        align(
            network.scores,
            references,
            value=network.value,
            decisions=network.decisions,
            methods=chosen,
            report=report,
        )
    ]
    drawn = None if network.levels is None else frame_shape(network.levels)
    if (
        network.features is not None
        and network.levels is not None
        and network.shape is not None
        and network.shape[1:] == drawn
    ):
        report("invariance", 0, None)
        tables.append(invariance_table(network.features, network.levels, count, seed))
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "source", references.source)
    table.loc[table["aspect"] == "invariance", "source"] = "redrawn"
    if file is not None:
        with replacing(file) as partial:
            table.round(6).assign(model=model, seed=seed).to_csv(partial, index=False)
    return Aligned(table, references.source, network.features is not None and network.value is None)


def _check_images(shape: tuple[int, ...], references: ReferenceMaps) -> None:
    """Check that a policy takes the images that are measured.

    Raises
    ------
    ValueError
        If it takes others.
    """
    _, height, width, channels = references.images.shape
    if len(shape) != 3:
        takes = "label maps" if len(shape) == 2 else "vectors"
        raise ValueError(f"The policy takes {takes}, not images: give one that was trained from pixels.")
    if shape[1:] != (height, width):
        raise ValueError(
            f"The policy takes images of {shape[1]} x {shape[2]} pixels, and these have {height} x {width}: resize "
            "them beforehand."
        )
    if shape[0] != channels:
        raise ValueError(
            f"The policy takes images of {shape[0]} channels, and these have {channels}: only policies on single "
            "colour images can be measured."
        )
