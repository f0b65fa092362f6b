"""Compare the demands by the features of an expert's encoder with those by two control encoders.

Any frozen encoder changes what a learner must learn, and the last features of an expert hold most of its decisions.
What an encoder with random weights, or one that is hardly trained, brings as well is not due to an expert's perception.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from lcd.measurement.demands import CONTRASTS
from lcd.measurement.intervals import Interval, cell_samples, contrast_interval
from lcd.measurement.rule import NEGLIGIBLE
from lcd.measurement.scores import CELLS, PRIMARY, cell_scores, played_by
from lcd.studies.diagnosis import Diagnosis

WORDS: Mapping[str, str] = {"random": "random weights", "early": "a short training"}
"""What the controls in `lcd.experiments.plan.GamePlan` are, by name."""

_COMPARED = {"imitation": ("c", "d", "perceptual"), "rl": ("a", "b", "perceptual_gain")}
"""For each learner the letter of the cell in whose place a control's is put, that of the expert's, and the contrast of
the two."""


def with_controls(diagnosis: Diagnosis, others: Mapping[str, pd.DataFrame]) -> Diagnosis:
    """Add to a diagnosis what the expert's encoder brings beyond each control, and cautions on its view.

    Parameters
    ----------
    diagnosis
        The diagnosis, whose privileged view is the features of an expert's frozen encoder.
    others
        For each control, by its name in `WORDS`, the evaluated episodes of its cells.

    Returns
    -------
    Diagnosis
        With the table `controls`, a row a (control, learning): score (mean area on unseen levels), gain (of the
        expert's encoder over the control's) and its 95 % limits, ``gain_low`` and ``gain_high``.
    """
    rows = []
    for control, episodes in others.items():
        found = cell_scores(played_by(episodes), diagnosis.normalisation, diagnosis.budget)
        for learning in _COMPARED:
            of_control = found[found["learning"] == learning]
            gain = _gain(diagnosis, of_control, learning)
            score = of_control.loc[of_control["levels"] == PRIMARY[0], PRIMARY[1]].mean()
            rows.append(
                {
                    "control": control,
                    "learning": learning,
                    "score": float(score),
                    "gain": gain.estimate,
                    "gain_low": gain.low,
                    "gain_high": gain.high,
                }
            )
    table = pd.DataFrame(rows)
    cautions = (*diagnosis.verdict.cautions, VIEW, *(_judged(row) for row in table.to_dict("records")))
    return replace(diagnosis, controls=table, verdict=replace(diagnosis.verdict, cautions=cautions))


VIEW = (
    "The privileged view is the features of an expert's frozen encoder. They hold most of what the expert does: P is "
    "nearer an upper bound and L a lower one, d says little but that imitation works, and the verdict does not compare "
    "with those by label maps. The intervals are for this expert and these controls, each of them trained once."
)
"""A caution."""


def _gain(diagnosis: Diagnosis, of_control: pd.DataFrame, learning: str) -> Interval:
    """What the expert's encoder brings beyond a control's, with the same learner."""
    instead, letter, contrast = _COMPARED[learning]
    view, _ = CELLS[instead]
    kept = diagnosis.scores[(diagnosis.scores["view"] != view) | (diagnosis.scores["learning"] != learning)]
    assert CELLS[letter] == (of_control["view"].iloc[0], learning)
    scores = pd.concat([kept, of_control.assign(view=view)], ignore_index=True)
    return contrast_interval(*cell_samples(scores, *PRIMARY), CONTRASTS[contrast])


def _judged(row: Mapping[Any, Any]) -> str:
    """What a control says, in a sentence."""
    gain, low, high = (float(row[name]) for name in ("gain", "gain_low", "gain_high"))
    learner = "imitation" if row["learning"] == "imitation" else "reward"
    against = f"With {learner}, the expert's encoder brings {gain:.2f}"
    limits = f" [{low:.2f}, {high:.2f}]" if math.isfinite(low) and math.isfinite(high) else ""
    beyond = f"{against}{limits} beyond one with {WORDS[str(row['control'])]}"
    if not limits:
        return f"{beyond}; more seeds would give limits."
    if low > NEGLIGIBLE:
        return f"{beyond}: more than that."
    return f"{beyond}: no more than that." if high < NEGLIGIBLE else f"{beyond}: whether more is open."
