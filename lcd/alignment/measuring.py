"""All alignment measures of a network, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from lcd.alignment.agreement import Agreement, agreement_table
from lcd.alignment.harmonizer import resized
from lcd.alignment.importance import METHODS, Scores, importance_maps
from lcd.alignment.invariance import Features, invariance, redrawn_frames
from lcd.alignment.references import ReferenceMaps
from lcd.alignment.revealing import area, revealing_curve
from lcd.alignment.robustness import smallest_perturbation
from lcd.envs import GameOptions, family_of

COLUMNS = ("aspect", "method", "measure", "mean", "low", "high", "images", "undefined", "share")

LARGEST = 32.0
"""Largest L2 norm of perturbations that are searched for, with images in [0, 1]."""


def align(
    scores: Scores,
    references: ReferenceMaps,
    *,
    value: Scores | None = None,
    decisions: Scores | None = None,
    methods: Sequence[str] = tuple(METHODS),
    attacked: int = 32,
    report: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> pd.DataFrame:
    """Measure importance maps, insertion and deletion curves and adversarial robustness against reference maps.

    Parameters
    ----------
    scores : callable
        From images to scores of classes or actions, see `lcd.alignment.importance.Scores`.
    references : ReferenceMaps
        Images with reference maps, at the images' size or another. Known targets are explained; else the network's own
        decisions.
    value : callable, optional
        From images to a policy's values, shape (batch, 1), whose importance maps have the aspect ``value``.
    decisions : callable, optional
        From images to the scores between which the network decides, for the curves and the attack: of a policy those of
        classes of actions that do the same, see `lcd.alignment.importance.of_classes`. By default `scores`.
    methods : sequence of str
        Attribution methods.
    attacked : int
        Number of images that are attacked, the slowest measure.
    report : callable
        Called with the next stage's name, the number of finished stages and their total.

    Returns
    -------
    pandas.DataFrame
        One row a measurement, with the columns of `COLUMNS`. Aspects are ``where`` (agreement of importance maps with
        the reference: Spearman, Dice, IoU), ``how`` (areas under insertion and deletion curves, pixels in the order of
        the reference: ``area`` under the decision's probability, ``same`` under the share of images with the same
        decision, ``gain`` of the latter over pixels in random order) and ``robustness`` (L2 norm of the smallest
        perturbation that changes the decision, at most the largest searched for; found, the share of the images in
        which one was found; and the agreement of its map with the reference). share is the mean divided by the
        references' ceiling. Undefined values, from constant maps, are counted and left out of means. Limits are over
        clusters of images, where references have them.
    """
    decisions = decisions or scores
    images = references.inputs
    targets = None if references.targets is None else torch.from_numpy(references.targets)
    reference = resized(torch.from_numpy(references.maps), images.shape[2:]).numpy()
    ceilings, groups = references.ceilings, references.groups
    stages: dict[str, Callable[[], pd.DataFrame]] = {
        method: partial(_where, scores, images, targets, reference, method, ceilings, groups) for method in methods
    }
    if value is not None:
        only = torch.zeros(len(images), dtype=torch.int64)
        for method in methods:
            where = partial(_where, value, images, only, reference, method, ceilings, groups, "value")
            stages[f"{method} of the value"] = where
    stages["revealing"] = partial(_how, decisions, images, torch.from_numpy(reference))
    few = references.first(attacked).groups
    shown = images[:attacked], reference[:attacked]
    stages["attack"] = partial(_robustness, decisions, *shown, ceilings, few)
    tables = []
    for number, (name, measured) in enumerate(stages.items()):
        report(name, number, len(stages))
        tables.append(measured())
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def invariance_table(features: Features, options: GameOptions, count: int, seed: int = 0) -> pd.DataFrame:
    """Invariance of features to a game's appearance, as rows of the aspect ``invariance``.

    Parameters
    ----------
    features : callable
        See `lcd.alignment.invariance.Features`.
    options : GameOptions
        The game in its usual appearance.
    count, seed : int
        Number of states, and the seed of their levels.

    Returns
    -------
    pandas.DataFrame
        Three rows for each other appearance with the same dynamics: found, chance and ratio, see
        `lcd.alignment.invariance.Invariance`. States that look the same in both are undefined.
    """
    others = family_of(options).appearances(options)
    drawn = {name: other for name, other in others.items() if other != options}
    frames = redrawn_frames(options, drawn, count, seed=seed)
    rows = [
        {
            "aspect": "invariance",
            "method": name,
            "measure": measure,
            "mean": mean,
            "images": count,
            "undefined": count - found.states if np.isfinite(mean) else count,
        }
        for name, found in zip(drawn, invariance(features, frames), strict=True)
        for measure, mean in (("found", found.found), ("chance", found.chance), ("ratio", found.ratio))
    ]
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def _where(
    scores: Scores,
    images: torch.Tensor,
    targets: torch.Tensor | None,
    reference: np.ndarray,
    method: str,
    ceilings: Mapping[str, float],
    groups: np.ndarray | None,
    aspect: str = "where",
) -> pd.DataFrame:
    maps = importance_maps(scores, images, targets, method).numpy()
    return agreement_table({method: maps}, reference, ceilings, groups).assign(aspect=aspect)


def _how(scores: Scores, images: torch.Tensor, reference: torch.Tensor) -> pd.DataFrame:
    ordered = reference.amax(dim=(1, 2)) > reference.amin(dim=(1, 2))  # a constant map does not order pixels
    counts = {"images": len(images), "undefined": int((~ordered).sum())}
    rows = []
    for method, hide in (("revealed", False), ("hidden", True)):
        found = dict.fromkeys(("area", "same", "gain"), float("nan"))
        if ordered.any():
            shown, maps = images[ordered], reference[ordered]
            curve = revealing_curve(scores, shown, maps, hide=hide)
            any_order = revealing_curve(scores, shown, torch.zeros_like(maps), hide=hide)
            found = {"area": area(curve), "same": area(curve, "same")}
            found["gain"] = found["same"] - area(any_order, "same")
        rows += [
            {"aspect": "how", "method": method, "measure": name, "mean": mean, **counts} for name, mean in found.items()
        ]
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def _robustness(
    scores: Scores,
    images: torch.Tensor,
    reference: np.ndarray,
    ceilings: Mapping[str, float],
    groups: np.ndarray | None,
) -> pd.DataFrame:
    attack = smallest_perturbation(scores, images, largest=LARGEST)
    measures = {"L2 norm": attack.sizes.clamp(max=LARGEST), "found": attack.sizes.isfinite().float()}
    rows = [
        {
            "aspect": "robustness",
            "method": "smallest perturbation",
            "measure": measure,
            "mean": summary.mean,
            "low": summary.low,
            "high": summary.high,
            "images": summary.images,
            "undefined": summary.undefined,
        }
        for measure, values in measures.items()
        for summary in [Agreement.of(values.numpy(), groups)]
    ]
    where = agreement_table({"smallest perturbation": attack.maps.numpy()}, reference, ceilings, groups)
    return pd.concat(
        [pd.DataFrame(rows).reindex(columns=list(COLUMNS)), where.assign(aspect="robustness")], ignore_index=True
    )
