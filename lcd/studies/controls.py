"""What a diagnosis is worth whose privileged view is a frozen encoder: the same demands with two other encoders.

Any frozen encoder changes what a learner must learn. What one with random weights, or one that is hardly trained,
brings as well is not due to an expert's perception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from lcd.experiments.plan import CONTROLS
from lcd.measurement.intervals import Interval
from lcd.studies.diagnosis import Diagnosis

EXPERT = "expert"
"""The encoder of the diagnosis itself, in the table of controls."""

_WORDS = {EXPERT: "the expert's", "early": CONTROLS["early"], "random": CONTROLS["random"]}


def with_controls(diagnosis: Diagnosis, others: Mapping[str, pd.DataFrame]) -> Diagnosis:
    """Add the demands that each control gives to a diagnosis, and a caution that names the weakness of its view.

    Parameters
    ----------
    diagnosis
        The diagnosis, whose privileged view is the frozen encoder of an expert.
    others
        For each control, by its name in `lcd.experiments.plan.CONTROLS`, the evaluated episodes of the cells that see
        by it.

    Returns
    -------
    Diagnosis
        With the table `controls`: the columns of `lcd.measurement.intervals.demand_table` and `encoder`, first.
    """
    pixels = diagnosis.episodes[diagnosis.episodes["view"] == "pixels"]
    found = {EXPERT: diagnosis}
    for name, episodes in others.items():
        found[name] = Diagnosis.from_episodes(
            pd.concat([pixels, episodes], ignore_index=True),
            game=diagnosis.game,
            budget=diagnosis.budget,
            normalisation=diagnosis.normalisation,
            levels_differ=diagnosis.generalisation is not None,
        )
    tables = []
    for name, each in found.items():
        table = each.demands.copy()
        table.insert(0, "encoder", name)
        tables.append(table)
    cautions = (*diagnosis.verdict.cautions, _caution({name: each.perceptual for name, each in found.items()}))
    return replace(
        diagnosis,
        controls=pd.concat(tables, ignore_index=True),
        verdict=replace(diagnosis.verdict, cautions=cautions),
    )


def _caution(perceptual: Mapping[str, Interval]) -> str:
    """The weakness of the view, and how far the controls bound it."""
    figures = "; ".join(f"{_WORDS[name]}: {interval}" for name, interval in perceptual.items())
    expert, random = perceptual[EXPERT], perceptual["random"]
    if expert.low > random.high:
        judgement = "The expert's encoder gives more than random weights do: the rest is its perception."
    else:
        judgement = "The expert's encoder does not clearly give more than random weights do: little of P is perception."
    return (
        "The game offers no privileged view, so the frozen encoder of an expert on frames takes its place. The "
        "perceptual demand is then what that encoder saves a learner, and hides what the expert does not see. "
        f"P by encoder: {figures}. {judgement}"
    )
