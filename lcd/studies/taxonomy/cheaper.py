"""Cheaper designs: what fewer steps, fewer seeds, fewer cells or generalisation alone would have found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import Literal

import numpy as np
import pandas as pd

from lcd.measurement.generalisation import generalisation_estimate
from lcd.measurement.intervals import Interval, cell_samples
from lcd.measurement.rule import NEGLIGIBLE, QUANTITIES, VerdictName, classify, rule_intervals
from lcd.measurement.scores import PRIMARY, curve_scores
from lcd.studies.taxonomy.positions import PLANE
from lcd.studies.taxonomy.reliability import SEEDS, common_steps

Presence = Literal["present", "absent", "open"]

UNKNOWN = Interval(np.nan, np.nan, np.nan)
"""Interval of a quantity that a design does not measure: no limit of it decides anything."""

MOST_WAYS = 20
"""Ways to choose some of the seeds that are tried, drawn where there are more."""

GAINS = {"perceptual": "perceptual_gain", "policy": "policy_gain"}
"""Gain of each kind of help, which two cells tell: b less a, and c less a."""


@dataclass(frozen=True)
class Finding:
    """What a design says of a game.

    Attributes
    ----------
    perceptual, policy : str or None
        Whether the demand is ``"present"``, ``"absent"`` or ``"open"``; None where the design does not measure it.
    verdict : str or None
        The verdict; None where the design gives none.
    """

    perceptual: Presence | None
    policy: Presence | None
    verdict: VerdictName | None


def presence(interval: Interval, threshold: float = NEGLIGIBLE) -> Presence:
    """Whether a demand is present, absent or open, as in `lcd.measurement.rule`."""
    if interval.low >= threshold:
        return "present"
    return "absent" if interval.high < threshold else "open"


def cheaper_designs(scores: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """How often cheaper designs say what the whole survey says, from the same runs.

    Parameters
    ----------
    scores : pandas.DataFrame
        One row a (game, view, learning, seed, levels), see `lcd.measurement.scores.cell_scores`.
    curves : pandas.DataFrame
        One row an evaluation, see `lcd.measurement.scores.learning_curves`; the games share their steps.

    Returns
    -------
    pandas.DataFrame
        One row a design, the cheapest first: design, cost (as a share of the steps of all cells), perceptual and policy
        (share of the games in which the demand is present, absent or open as in the whole design; NaN where the design
        does not measure it), verdict (share with the same verdict; NaN where it gives none), decided (share with a
        verdict), contradicted (share in which both designs have a verdict, and not the same). Of smaller numbers of
        seeds these are means over the ways to choose them, at most `MOST_WAYS`. A single seed is judged as if the noise
        of its episodes were all, and smaller budgets by the spread over seeds alone.
    """
    whole = _findings(scores)
    rows = [_row(design, cost, found, whole) for design, cost, found in _designs(scores, curves)]
    columns = ["design", "cost", *PLANE, "verdict", "decided", "contradicted"]
    return pd.DataFrame(rows, columns=columns).sort_values("cost", kind="stable", ignore_index=True)


def _designs(scores: pd.DataFrame, curves: pd.DataFrame) -> Iterator[tuple[str, float, list[dict[str, Finding]]]]:
    """Name, cost, and the findings of each way to carry it out."""
    whole = _intervals(scores)
    yield "cell a: generalisation", 1 / 4, [_of_generalisation(scores)]
    yield "cells a and b: gain of perception", 1 / 2, [_of_gain(whole, "perceptual")]
    yield "cells a and c: gain of learning", 1 / 2, [_of_gain(whole, "policy")]
    yield "cells b, c and d", 3 / 4, [{game: _factorial(_without_a(found)) for game, found in whole.items()}]
    seeds = scores.groupby("game")["seed"].unique()
    for count in [count for count in (1, *SEEDS) if count < seeds.map(len).min()]:
        found = [_findings(way) for way in _with_seeds(scores, count)]
        name = "1 seed, the spread over seeds ignored" if count == 1 else f"{count} seeds"
        yield name, count * len(seeds) / int(seeds.map(len).sum()), found
    steps = common_steps(curves)
    for budget in steps[:-1]:
        cut = curve_scores(curves[curves["step"] <= budget], budget)
        yield f"{budget:,} steps", budget / steps[-1], [_findings(cut)]


def _intervals(scores: pd.DataFrame) -> dict[str, dict[str, Interval]]:
    """Intervals of all quantities of each game, as the rule of the verdicts takes them."""
    return {
        str(game): rule_intervals(*cell_samples(rows, *PRIMARY)) for game, rows in scores.groupby("game", sort=False)
    }


def _findings(scores: pd.DataFrame) -> dict[str, Finding]:
    """What the four cells say of each game."""
    return {game: _factorial(found) for game, found in _intervals(scores).items()}


def _with_seeds(scores: pd.DataFrame, count: int) -> Iterator[pd.DataFrame]:
    """The scores of some seeds of each game: of all ways to choose them, or of `MOST_WAYS` that are drawn."""
    seeds = {game: sorted(rows["seed"].unique()) for game, rows in scores.groupby("game")}
    fewest, most = min(map(len, seeds.values())), max(map(len, seeds.values()))
    if fewest == most and comb(most, count) <= MOST_WAYS:
        ways = [
            {game: [of_game[place] for place in chosen] for game, of_game in seeds.items()}
            for chosen in combinations(range(most), count)
        ]
    else:
        random = np.random.default_rng(0)
        ways = [
            {game: list(random.choice(of_game, count, replace=False)) for game, of_game in seeds.items()}
            for _ in range(MOST_WAYS)
        ]
    for way in ways:
        yield pd.concat([rows[rows["seed"].isin(way[game])] for game, rows in scores.groupby("game", sort=False)])


def _factorial(found: Mapping[str, Interval]) -> Finding:
    """What intervals say; those of a single seed, which are over episodes, are taken as if they were over seeds.

    `lcd.measurement.rule` would call every such game inconclusive: a single seed does not tell the spread over seeds.
    """
    taken = {name: replace(each, over="seeds") for name, each in found.items()}
    return Finding(presence(taken["perceptual"]), presence(taken["policy"]), classify(taken))


def _without_a(found: Mapping[str, Interval]) -> dict[str, Interval]:
    """The same without what needs cell a."""
    return {name: each if QUANTITIES[name].weights[0] == 0 else UNKNOWN for name, each in found.items()}


def _of_gain(found: Mapping[str, Mapping[str, Interval]], demand: str) -> dict[str, Finding]:
    """The gain of one kind of help, taken for its demand."""
    said = {game: presence(each[GAINS[demand]]) for game, each in found.items()}
    return {
        game: Finding(each, None, None) if demand == "perceptual" else Finding(None, each, None)
        for game, each in said.items()
    }


def _of_generalisation(scores: pd.DataFrame) -> dict[str, Finding]:
    found = {}
    for game, rows in scores.groupby("game", sort=False):
        cheap = generalisation_estimate(rows)
        known = {"perceptual": cheap.perceptual, "policy": cheap.policy}
        found[str(game)] = _factorial({**dict.fromkeys(QUANTITIES, UNKNOWN), **known})
    return found


def _row(
    design: str, cost: float, ways: list[dict[str, Finding]], whole: Mapping[str, Finding]
) -> tuple[str | float, ...]:
    pairs = [(found[game], whole[game]) for found in ways for game in whole]
    verdicts = [(one.verdict, other.verdict) for one, other in pairs if one.verdict is not None]
    return (
        design,
        cost,
        _share([one.perceptual == other.perceptual for one, other in pairs if one.perceptual is not None]),
        _share([one.policy == other.policy for one, other in pairs if one.policy is not None]),
        _share([one == other for one, other in verdicts]),
        _share([one != "inconclusive" for one, _ in verdicts]),
        _share([one != other and "inconclusive" not in (one, other) for one, other in verdicts]),
    )


def _share(holds: list[bool]) -> float:
    """Share of the cases in which something holds; NaN without a case."""
    return float(np.mean(holds)) if holds else np.nan
