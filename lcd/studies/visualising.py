"""Feature visualisation, from a model's name or file to images and a table: what ``lcd visualize`` calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from lcd.agents.encoders.weights import load_classifier
from lcd.alignment.importance import on_device
from lcd.alignment.plausibility import Excitation, Plausibility, evaluated, matching_channel
from lcd.alignment.spectra import Spectrum, natural_spectrum, spectrum_of
from lcd.alignment.targets import Target, read_target
from lcd.alignment.visualisation import SPACES, Optimisation, Visualisation, visualise
from lcd.experiments.resources import resolve_device
from lcd.io.checksums import write_together
from lcd.io.files import check_output_folder, locked
from lcd.io.limits import (
    LARGEST_SEED,
    LARGEST_SIDE,
    MOST_IMAGES,
    path,
    text,
    texts,
    whole_number,
)
from lcd.io.untrusted import read_npz
from lcd.studies.figures import check_registered, registered
from lcd.studies.output import save_figure
from lcd.studies.policies import check_takes
from lcd.studies.visible_networks import VisibleNetwork, classifier_features, frames_of, images_of, load_visible

FRAMES, NATURAL = "frames", "natural"
"""Magnitudes beside that of a folder of images: of the game's frames, and the 1/f law of natural images."""

CLASSIFIER = "efficientnet_lite0"
"""The classifier to which images are plausible or not; its weights are in a package."""

SIDE = 128
"""Side of a classifier's images in pixels, unless another is given."""

MOST_TARGETS = 1_000
"""Targets of one call."""

OPAQUE = 99.0
"""Percentile of the attribution from which on an image is opaque."""

FIGURE = "visualisations"

COLUMNS = ("target", "network", "matched", "correlation", "deviations", "exceeds", "distance", "outside", "score")
"""Columns of `Visualised.table`."""


@dataclass(frozen=True, eq=False)
class Visualised:
    """Visualisations of a network's targets.

    Attributes
    ----------
    images : mapping of str to lcd.alignment.visualisation.Visualisation
        By the target's name.
    table : pandas.DataFrame
        One row a target and a network: the visualised one first, then others. ``target``, ``network``; ``matched``, the
        target in that network, with the ``correlation`` of the two over real images (1 for outputs of two policies of a
        game or of two classifiers, which mean the same; other outputs have no match); ``deviations`` and ``exceeds``,
        see `lcd.alignment.plausibility.Excitation`; ``distance``, see `lcd.alignment.plausibility.Plausibility`;
        ``outside``, the share of the values beyond [0, 1], which are cut off; ``score``, what the target gives for the
        image.
    real : mapping of str to torch.Tensor, shape (3, height, width)
        The real image that excites each target most, where there are real images.
    magnitude : str
        Images whose magnitude the images have, in words.
    left_out : str
        What could not be measured and why; empty if nothing.
    """

    images: Mapping[str, Visualisation]
    table: pd.DataFrame
    real: Mapping[str, torch.Tensor]
    magnitude: str
    left_out: str = ""


def visualize(
    model: str,
    target: Sequence[str] = (),
    *,
    magnitude: str = "",
    space: str = "phase",
    size: int | None = None,
    steps: int = Optimisation.steps,
    crops: int = Optimisation.crops,
    crop: float = Optimisation.crop,
    noise: float = Optimisation.noise,
    learning_rate: float | None = None,
    count: int = 512,
    others: Sequence[str] = (),
    seed: int = 0,
    out: Path | str | None = None,
    trust: bool = False,
    device: str = "auto",
    report: Callable[[str, int, int | None], None] = lambda what, done, of: None,
) -> Visualised:
    """Make images that excite targets of a network; the command ``lcd visualize`` is this function.

    Parameters
    ----------
    model, trust
        See `lcd.studies.visible_networks.load_visible`.
    target
        Names of targets: ``LAYER:CHANNEL``, ``LAYER:CHANNEL@ROWxCOLUMN`` for one unit, ``LAYER:FILE.npz`` for the array
        ``direction`` of a file, ``logit:ACTION``, ``value``, or a layer alone for all of its channels. By default the
        logits and the value of a policy.
    magnitude
        Images whose magnitude spectrum the images get: ``"frames"`` of the game, a folder, or ``"natural"``, the 1/f
        law. By default the frames where a game is known, and else the law.
    space
        A name in `lcd.alignment.visualisation.SPACES`.
    size
        Side of the images, in pixels, for a classifier; by default `SIDE`. A policy has one of its own.
    steps, crops, crop, noise, learning_rate
        See `lcd.alignment.visualisation.Optimisation`.
    count
        Largest number of real images: frames, or images of the folder.
    others
        Networks in which the same targets are evaluated, such as policies of other seeds.
    seed
        Seed of images and frames.
    out
        Output folder: a PNG a target whose transparency is its attribution, ``visualisations.csv``, ``.npz`` and
        ``.png``. By default nothing is written.
    device
        Where torch computes.
    report
        Called with what is done, how much of it is done, and of how much.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    """
    names, other_names = texts("target", target), texts("others", others)
    if text("space", space) not in SPACES:
        raise ValueError(f"Unknown space {space!r}: choose one of {', '.join(SPACES)}.")
    how = Optimisation(steps, crops, crop, noise, learning_rate)
    whole_number("count", count, 2, MOST_IMAGES)
    whole_number("seed", seed, 0, LARGEST_SEED)
    folder = None if out is None else path("out", out)
    if folder is not None:
        check_output_folder(folder, "--out")
        check_registered(FIGURE)
    device = resolve_device(device)
    network = load_visible(text("model", model), device, trust)
    shape = _image_shape(network, size)
    if network.shape is None:
        check_takes(on_device(network.visible.run, device), shape, model)
    report("frames", 0, None)
    spectrum, real = spectrum_for(network, text("magnitude", magnitude), shape, count, seed)
    targets = targets_of(network, names or network.outputs, torch.zeros(shape))
    networks = {name: load_visible(name, device, trust) for name in other_names}
    for name, other in networks.items():
        if other.shape is not None and other.shape != shape:
            raise ValueError(f"{name} takes images of shape {other.shape}, not {shape}: name other networks.")
        if other.shape is None:
            check_takes(on_device(other.visible.run, device), shape, name)
        for each in targets:
            if each.layer in other.visible.outputs and network.shares_outputs_with(other):
                other.visible.objective(each, torch.zeros(shape))
    plausibility, left_out = plausibility_to(real, device)
    made, rows, best = {}, [], {}
    for number, each in enumerate(targets):
        report(each.name, number, len(targets))
        objective = network.visible.objective(each, torch.zeros(shape))
        made[each.name] = visualise(objective, SPACES[space](spectrum), how, seed=seed, device=device)
        rows += measured(each, made[each.name], {model: network} | networks, real, plausibility, device)
        if real is not None:
            best[each.name] = real[int(evaluated(on_device(objective, device), real).argmax())]
    found = Visualised(made, pd.DataFrame(rows, columns=list(COLUMNS)), best, spectrum.source, left_out)
    if folder is not None:
        write(found, folder)
    return found


def _image_shape(network: VisibleNetwork, size: int | None) -> tuple[int, ...]:
    side = None if size is None else whole_number("size", size, 8, LARGEST_SIDE)
    if network.shape is None:
        return (3, side or SIDE, side or SIDE)
    if side is not None and (side, side) != network.shape[1:]:
        height, width = network.shape[1:]
        raise ValueError(f"The policy takes images of {height} x {width} pixels, not of {side}: leave the size out.")
    return network.shape


def spectrum_for(
    network: VisibleNetwork, magnitude: str, shape: tuple[int, ...], count: int, seed: int
) -> tuple[Spectrum, torch.Tensor | None]:
    """The spectrum that images get, and the real images that it is of, if any.

    Raises
    ------
    ValueError
        If there are no such images.
    """
    wanted = magnitude or (NATURAL if network.levels is None else FRAMES)
    if wanted == NATURAL:
        real = None if network.levels is None else frames_of(network, count, seed)
        return natural_spectrum(*shape[1:]), real
    if wanted == FRAMES:
        if network.levels is None:
            raise ValueError(
                "This model names no game whose frames could be taken: name a folder of images with --magnitude, or "
                f"{NATURAL}."
            )
        real = frames_of(network, count, seed)
        return spectrum_of(real, f"{len(real)} frames of {network.levels.game}"), real
    real = images_of(Path(wanted), (shape[1], shape[2]), count)
    return spectrum_of(real, f"{len(real)} images in {wanted}"), real


def targets_of(network: VisibleNetwork, names: Sequence[str], image: torch.Tensor) -> list[Target]:
    """Targets by their names, of a network for images of the shape of one.

    Raises
    ------
    ValueError
        If there are none, too many, or one that the network does not have.
    """
    if not names:
        raise ValueError("No target is named, and an encoder has no default: name some, such as --target backbone.0:3.")
    found: list[Target] = []
    for name in names:
        layer, _, file = name.partition(":")
        if file.endswith(".npz"):
            found.append(Target(layer, direction=_direction(Path(file)), label=name))
            continue
        layer, channel, position = read_target(name)
        channels = network.visible.channels(layer, image)[0]
        each = range(channels) if channel is None else [channel]
        found += [Target(layer, one, position, label=name if channels == 1 else "") for one in each]
    if len(found) > MOST_TARGETS:
        raise ValueError(f"{len(found):,} targets are too many: name at most {MOST_TARGETS:,}.")
    if repeated := [one.name for number, one in enumerate(found) if one.name in {two.name for two in found[:number]}]:
        raise ValueError(f"The target {repeated[0]} is named twice: name it once.")
    of_files: dict[str, str] = {}
    for one in found:
        if (other := of_files.setdefault(file_of(one.name), one.name)) != one.name:
            raise ValueError(
                f"The images of {other} and {one.name} would both be in the file {file_of(one.name)}.png: rename one "
                "of the directions' files, or make them one after the other."
            )
        network.visible.objective(one, image)
    return found


def _direction(file: Path) -> NDArray[np.floating]:
    found = read_npz(file, ["direction"], remedy="write it with numpy.savez(FILE, direction=...)")["direction"]
    return found.astype(np.float64)


def plausibility_to(real: torch.Tensor | None, device: str = "cpu") -> tuple[Plausibility | None, str]:
    """Measure of plausibility to `CLASSIFIER` beside real images, or None and why there is none."""
    if real is None:
        return None, "No real images are known, so nothing is compared with any."
    try:
        features = classifier_features(load_classifier(CLASSIFIER).eval().to(device))
        return Plausibility(on_device(features, device), real), ""
    except ValueError as error:
        return None, f"Plausibility is left out. {error}"


def measured(
    target: Target,
    made: Visualisation,
    networks: Mapping[str, VisibleNetwork],
    real: torch.Tensor | None,
    plausibility: Plausibility | None,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """Rows of `Visualised.table` of one target.

    Parameters
    ----------
    target
        The target, of the first network.
    made
        Its visualisation.
    networks
        The network that it was made for, then others, by name.
    real
        Real images, shape (n, 3, height, width).
    plausibility
        The measure; None leaves it out.
    device
        Where the networks compute.
    """
    image, rows = made.shown, []
    outside = float(((made.image < 0) | (made.image > 1)).float().mean())
    own = next(iter(networks.values()))
    for number, (name, network) in enumerate(networks.items()):
        there, correlation = (target, 1.0) if number == 0 else _matched(target, own, network, real, device)
        row: dict[str, Any] = {"target": target.name, "network": name, "correlation": correlation}
        if there is not None:
            objective = on_device(network.visible.objective(there, image), device)
            row |= {"matched": there.name, "score": float(evaluated(objective, image[None])[0])}
            if real is not None:
                found = Excitation.of(objective, image, real)
                row |= {"deviations": found.deviations, "exceeds": found.exceeds}
        if number == 0:
            row["outside"] = outside
            row["distance"] = np.nan if plausibility is None else float(plausibility.distances(image[None])[0])
        rows.append(row)
    return rows


def _matched(
    target: Target, own: VisibleNetwork, other: VisibleNetwork, real: torch.Tensor | None, device: str
) -> tuple[Target | None, float]:
    """The target of another network that is most like one, with the correlation of both over real images."""
    if target.layer in own.visible.outputs and target.layer in other.visible.outputs:
        return (target, 1.0) if own.shares_outputs_with(other) else (None, float("nan"))
    if real is None or target.direction is not None or target.layer not in other.visible.modules:
        return None, float("nan")
    one, many = (
        evaluated(on_device(network.visible.channel_activations(target), device), real).numpy()
        for network in (own, other)
    )
    channel, correlation = matching_channel(one[:, target.channel], many)
    matched = Target(target.layer, channel, target.position)
    try:
        other.visible.objective(matched, real[0])
    except ValueError:  # its map is smaller than the target's position
        return None, float("nan")
    return matched, correlation


def transparent(made: Visualisation) -> NDArray[np.uint8]:
    """The image with its attribution as transparency, shape (height, width, 4)."""
    attribution = made.attribution.numpy()
    most = np.percentile(attribution, OPAQUE)
    alpha = np.clip(attribution / most, 0, 1) if most > 0 else np.ones_like(attribution)
    rgba = np.concatenate([made.shown.permute(1, 2, 0).numpy(), alpha[..., None]], axis=2)
    return (rgba * 255).round().astype(np.uint8)


def write(found: Visualised, folder: Path) -> None:
    """Write visualisations, their table and their figure into a folder, with checksums."""
    arrays = {
        "targets": np.array(list(found.images)),
        "images": torch.stack([made.image for made in found.images.values()]).numpy(),
        "attributions": torch.stack([made.attribution for made in found.images.values()]).numpy(),
    }
    drawn = {name: transparent(made) for name, made in found.images.items()}
    rows = {"image": drawn, "real": {name: as_bytes(image) for name, image in found.real.items()}}
    figure = registered(FIGURE)({name: row for name, row in rows.items() if row}, f"magnitude of {found.magnitude}")
    files: dict[str, Callable[[Path], object]] = {
        **{f"{file_of(name)}.png": Image.fromarray(image).save for name, image in drawn.items()},
        "visualisations.csv": partial(found.table.round(6).to_csv, index=False),
        "visualisations.npz": lambda file: np.savez_compressed(file, **arrays),
        "visualisations.png": partial(save_figure, figure),
    }
    with locked(folder):
        write_together(folder, files)


def file_of(target: str) -> str:
    """Name of a target's file: of a direction, the name of its file without its folder."""
    layer, _, rest = target.partition(":")
    rest = Path(rest).stem if rest.endswith(".npz") else rest
    return re.sub(r"[^\w.@-]", "-", f"{layer}-{rest}" if rest else layer)


def as_bytes(image: torch.Tensor) -> NDArray[np.uint8]:
    """An image in [0, 1] as bytes, channels last."""
    return (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
