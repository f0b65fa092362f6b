"""How the demands answer to the dials: what should move, what should not, and by how much it does."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from envs.calibration.dials import PERCEPTUAL
from lcd.demands import CONTRASTS, Contrast
from lcd.intervals import cell_samples, contrast_interval

Floats = NDArray[np.float64]


class Split(NamedTuple):
    """One way to divide the gap into two demands; they always add up to it."""

    perceptual: Contrast
    policy: Contrast


SPLITS: Mapping[str, Split] = MappingProxyType(
    {
        "shapley": Split(CONTRASTS["perceptual"], CONTRASTS["policy"]),
        "seeing first": Split(Contrast((-1.0, 1.0, 0.0, 0.0)), Contrast((0.0, -1.0, 0.0, 1.0))),
        "deciding first": Split(Contrast((0.0, 0.0, -1.0, 1.0)), Contrast((-1.0, 0.0, 1.0, 0.0))),
    }
)
"""Ways to divide the gap, as contrasts of the cells a, b, c, d: ``seeing first`` gives perception all that solving it
brings to a learner from reward, ``deciding first`` gives policy learning all that solving it brings to a learner from
pixels, and the Shapley values are the mean of the two."""

DRAWS = 4000


def response_table(scores: pd.DataFrame, levels: str, score: str, split: str) -> pd.DataFrame:
    """The demands at every setting of every dial.

    Parameters
    ----------
    scores : pandas.DataFrame
        What :func:`lcd.calibration.sweep.sweep_scores` returned.
    levels, score : str
        Family of the scores.
    split : str
        One of `SPLITS`.

    Returns
    -------
    pandas.DataFrame
        One row a (dial, value, quantity): estimate, low, high (95 %) in units of the normalised score. The quantities
        are perceptual, policy, gap, interaction, headroom and floor, the score of the cell without help.
    """
    chosen = dict(CONTRASTS) | SPLITS[split]._asdict() | {"floor": Contrast((1.0, 0.0, 0.0, 0.0))}
    rows = []
    for (dial, value), setting in scores.groupby(["dial", "value"], sort=False):
        samples, errors = cell_samples(setting, levels, score)
        for quantity, contrast in chosen.items():
            found = contrast_interval(samples, errors, contrast)
            rows.append((dial, value, quantity, found.estimate, found.low, found.high))
    return pd.DataFrame(rows, columns=["dial", "value", "quantity", "estimate", "low", "high"])


def dissociation(scores: pd.DataFrame, levels: str, score: str, split: str, *, seed: int = 0) -> pd.DataFrame:
    """Whether each dial moves its own demand, and how little the other.

    Parameters
    ----------
    scores, levels, score, split
        As in `response_table`.
    seed
        Of the draws behind the intervals.

    Returns
    -------
    pandas.DataFrame
        One row a dial: own (the demand that should move), spearman (rank correlation of that demand with the dial),
        movement and other_movement (largest minus smallest estimate over the settings, of the own and of the other
        demand), leak (their ratio), each with its 95 % limits ``_low`` and ``_high``. For those, every cell's mean is
        drawn anew from its t distribution over seeds. The movement of what does not move is never below the noise of
        its estimates, so a leak errs on the side of the accuser.
    """
    random = np.random.default_rng(seed)
    rows = []
    for dial, of_dial in scores.groupby("dial", sort=False):
        means, draws = _cell_means(of_dial, levels, score, random)
        contrasts = SPLITS[split]
        own, other = ("perceptual", "policy") if dial in PERCEPTUAL else ("policy", "perceptual")
        values = np.sort(of_dial["value"].unique())
        measures = [
            _measures(values, *(cells @ np.array(getattr(contrasts, name).weights) for name in (own, other)))
            for cells in (means[None], draws)
        ]
        row: dict[str, object] = {"dial": dial, "own": own}
        for name, estimate, drawn in zip(_Measures._fields, *measures, strict=True):
            low, high = np.quantile(drawn, (0.025, 0.975))
            row |= {name: float(estimate[0]), f"{name}_low": float(low), f"{name}_high": float(high)}
        rows.append(row)
    return pd.DataFrame(rows)


class _Measures(NamedTuple):
    spearman: Floats
    movement: Floats
    other_movement: Floats
    leak: Floats


def _cell_means(scores: pd.DataFrame, levels: str, score: str, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Cell means at each setting, shape (settings, 4), and draws of them, shape (draws, settings, 4)."""
    means, spreads, counts = [], [], []
    for _, setting in scores.groupby("value"):
        samples, _ = cell_samples(setting, levels, score)
        means.append([sample.mean() for sample in samples])
        counts.append([len(sample) for sample in samples])
        spreads.append([sample.std(ddof=1) / np.sqrt(len(sample)) if len(sample) > 1 else 0.0 for sample in samples])
    centre, freedom = np.array(means), np.maximum(np.array(counts) - 1, 1)
    drawn = stats.t.rvs(freedom, size=(DRAWS, *centre.shape), random_state=random)
    return centre, centre + drawn * np.array(spreads)


def _measures(values: Floats, own: Floats, other: Floats) -> _Measures:
    """Measures of each row of own and other demands, both of shape (draws, settings)."""
    ranks, of_values = stats.rankdata(own, axis=1), stats.rankdata(values)
    centred, of_dial = ranks - ranks.mean(axis=1, keepdims=True), of_values - of_values.mean()
    size = np.sqrt((centred**2).sum(axis=1) * (of_dial**2).sum())
    spearman = np.divide(centred @ of_dial, size, out=np.zeros(len(own)), where=size > 0)
    movement, other_movement = np.ptp(own, axis=1), np.ptp(other, axis=1)
    return _Measures(spearman, movement, other_movement, other_movement / np.maximum(movement, 1e-12))
