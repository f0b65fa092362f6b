"""Differences between networks in the tracking study."""

from __future__ import annotations

import pandas as pd

from lcd.measurement.intervals import mean_limits

SETTINGS = ("learner", "view", "distractors", "change", "steps")
"""What two agents share that are compared, beside the seed."""

PAIRS = (
    ("phase+convolutional", "convolutional"),
    ("convolutional", "forgetful=convolutional"),
    ("phase", "forgetful=phase"),
    ("lstm=nature", "none=nature"),
    ("stacked=nature", "none=nature"),
)
"""Networks that are compared: what the first has and the second lacks is in question."""


def final(measurements: pd.DataFrame) -> pd.DataFrame:
    """Returns of the last evaluation of each agent, in every test."""
    returns = measurements[measurements["measure"] == "return"]
    keys = ["network", *SETTINGS, "seed"]
    return returns[returns["step"] == returns.groupby(keys)["step"].transform("max")]


def differences(measurements: pd.DataFrame) -> pd.DataFrame:
    """Differences of returns between networks, paired by seed, and the demands that label maps remove.

    Parameters
    ----------
    measurements : pandas.DataFrame
        See `lcd.studies.tracking.training.train`.

    Returns
    -------
    pandas.DataFrame
        One row a (comparison, learner, distractors, change, steps, test): of the pairs of networks in `PAIRS` from the
        same view, and of label maps less frames with the same network: seeds, first and second (mean returns),
        difference with its 95 % t limits low and high over seeds. NaN for the limits of one seed.
    """
    table = final(measurements)
    rows = []
    for settings, group in table.groupby([*SETTINGS, "test"]):
        by_network = group.pivot_table(index="seed", columns="network", values="value")
        for first, second in PAIRS:
            if first in by_network and second in by_network:
                rows.append(_row(first, second, settings, by_network[[first, second]].dropna()))
    shared = [name for name in (*SETTINGS, "test") if name != "view"]
    for settings, group in table.groupby(["network", *shared]):
        by_view = group.pivot_table(index="seed", columns="view", values="value")
        if {"semantic", "pixels"} <= set(by_view):
            network, *rest = settings
            whole = (rest[0], "", *rest[1:])
            rows.append(
                _row(
                    f"{network}, label maps",
                    f"{network}, frames",
                    whole,
                    by_view[["semantic", "pixels"]].dropna(),
                )
            )
    numbers = ["seeds", "first", "second", "difference", "low", "high"]
    found = pd.DataFrame(rows, columns=["compared", "with", *SETTINGS, "test", *numbers])
    return found[found["seeds"] > 0].round(5).reset_index(drop=True)


def _row(first: str, second: str, settings: tuple[object, ...], both: pd.DataFrame) -> tuple[object, ...]:
    if both.empty:
        return (first, second, *settings, 0, *[float("nan")] * 5)
    one, other = both.iloc[:, 0], both.iloc[:, 1]
    return (first, second, *settings, len(both), one.mean(), other.mean(), *mean_limits(one - other))
