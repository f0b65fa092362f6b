"""All measures of how a network sees, in one table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from lcd.alignment.agreement import Agreement, agreement_table
from lcd.alignment.harmonizer import resized
from lcd.alignment.importance import METHODS, Scores, importance_maps
from lcd.alignment.references import ReferenceMaps
from lcd.alignment.revealing import area, revealing_curve
from lcd.alignment.robustness import smallest_perturbation

COLUMNS = ("aspect", "method", "measure", "mean", "low", "high", "images", "undefined", "share")


def align(
    scores: Scores,
    references: ReferenceMaps,
    *,
    methods: Sequence[str] = tuple(METHODS),
    ceilings: dict[str, float] | None = None,
    attacked: int = 32,
) -> pd.DataFrame:
    """Measure where a network looks, how its decisions come about, and how little changes them.

    Parameters
    ----------
    scores : callable
        From images to scores of classes or actions, see `lcd.alignment.importance.Scores`.
    references : ReferenceMaps
        Images with maps of what matters, at the images' size or another. Targets, where they are known, are explained;
        else the network's own decisions.
    methods : sequence of str
        Ways to make importance maps.
    ceilings : dict, optional
        Agreement among the sources of the reference, by measure.
    attacked : int
        Images whose smallest perturbation is searched for, the slowest of all measures.

    Returns
    -------
    pandas.DataFrame
        One row a number, with the columns of `COLUMNS`. Aspects are ``where`` (agreement of importance maps with the
        reference: Spearman, Dice, IoU), ``how`` (area under the curve of the decision's probability as pixels are
        revealed, or hidden, in the order of the reference) and ``robustness`` (L2 norm of the smallest perturbation
        that changes the decision, and the agreement of its place with the reference). share is the mean as a share of
        the ceiling. Undefined agreements, of constant maps, are counted and left out of means.
    """
    images = torch.from_numpy(references.images).permute(0, 3, 1, 2).float() / 255
    targets = None if references.targets is None else torch.from_numpy(references.targets)
    reference = resized(torch.from_numpy(references.maps), images.shape[2:]).numpy()
    maps = {method: importance_maps(scores, images, targets, method).numpy() for method in methods}
    tables = [agreement_table(maps, reference, ceilings).assign(aspect="where")]
    tables.append(_how(scores, images, torch.from_numpy(reference)))
    tables.append(_robustness(scores, images[:attacked], reference[:attacked], ceilings))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def _how(scores: Scores, images: torch.Tensor, reference: torch.Tensor) -> pd.DataFrame:
    rows = []
    for hide in (False, True):
        found = area(revealing_curve(scores, images, reference, hide=hide))
        rows.append(
            {
                "aspect": "how",
                "method": "hidden" if hide else "revealed",
                "measure": "area",
                "mean": found,
                "images": len(images),
                "undefined": 0,
            }
        )
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def _robustness(
    scores: Scores, images: torch.Tensor, reference: np.ndarray, ceilings: dict[str, float] | None
) -> pd.DataFrame:
    attack = smallest_perturbation(scores, images)
    sizes = torch.where(torch.isinf(attack.sizes), torch.nan, attack.sizes).numpy()
    summary = Agreement.of(sizes)
    row = {
        "aspect": "robustness",
        "method": "smallest perturbation",
        "measure": "L2 norm",
        "mean": summary.mean,
        "low": summary.low,
        "high": summary.high,
        "images": summary.images,
        "undefined": summary.undefined,
    }
    where = agreement_table({"smallest perturbation": attack.maps.numpy()}, reference, ceilings)
    return pd.concat(
        [pd.DataFrame([row]).reindex(columns=list(COLUMNS)), where.assign(aspect="robustness")], ignore_index=True
    )
