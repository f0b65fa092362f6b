"""What an audit found, in sentences, each with the table that it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lcd.measurement.game_subsets import FEWEST_METHODS, smallest_set
from lcd.measurement.hidden_losses import ALL_GAMES
from lcd.measurement.method_scores import SINGLE_GAMES
from lcd.measurement.rankings import AND
from lcd.studies.audit.auditor import AGGREGATE

if TYPE_CHECKING:
    from lcd.studies.audit.result import Audit


@dataclass(frozen=True)
class Claim:
    """A finding.

    Attributes
    ----------
    topic
        The question.
    text
        The finding, in one or more sentences.
    table
        Name of the table that it comes from.
    """

    topic: str
    text: str
    table: str


def claims_of(audit: Audit) -> list[Claim]:
    """All findings of an audit, in the order of its questions."""
    return [
        *_unmatched(audit),
        *_hidden_losses(audit),
        *_deciding(audit),
        *_choices(audit),
        _splits(audit),
        *_subsets(audit),
        _noise(audit),
    ]


def signed(value: float, places: int = 2) -> str:
    """A number with a sign, and without a negative zero; a minus is the mathematical sign."""
    rounded = round(value, places) + 0.0
    return f"{rounded:+.{places}f}".replace("-", "\N{MINUS SIGN}") if rounded else f"{rounded:.{places}f}"


def _unmatched(audit: Audit) -> list[Claim]:
    """Games that only the taxonomy or only the scores name, which may be one game under two names."""
    if not audit.only_grouped:
        return []
    text = f"The taxonomy groups games that have no scores: {', '.join(audit.only_grouped)}."
    if audit.only_scored:
        text += f" These have scores and are in no group: {', '.join(audit.only_scored)}."
    return [Claim("Games of the taxonomy", f"{text} A game is the same only under the same name.", "entries")]


def _limits(row: pd.Series) -> str:
    return f"{signed(row['gain'])} [{signed(row['low'])}, {signed(row['high'])}]"


def _hidden_losses(audit: Audit) -> list[Claim]:
    topic, gains = "Losses that a mean gain hides", audit.gains
    whole = gains[(gains["grouping"] == ALL_GAMES) & (gains["gain"] > 0)]
    if whole.empty:
        return [Claim(topic, "No pair of methods can be compared, or none has a positive mean gain.", "gains")]
    found = []
    named = f"improvements over {audit.baseline}" if audit.baseline else "pairs of methods"
    for grouping in dict.fromkeys(gains["grouping"]):
        if grouping == ALL_GAMES:
            continue
        rows = gains[(gains["grouping"] == grouping) & (gains["mean_gain"] > 0)]
        tested = rows[rows["q"].notna()]
        pairs = tested.groupby(["improvement", "baseline"]).ngroups
        what = "single games" if grouping == SINGLE_GAMES else f"groups of {grouping!r}"
        if tested.empty:
            found.append(Claim(topic, f"In {what} nothing can be tested: no error is known.", "gains"))
            continue
        losses = tested[tested["hidden_loss"]].sort_values("gain")
        hiding = losses.groupby(["improvement", "baseline"]).ngroups
        text = (
            f"Of the {pairs} {named} with a positive mean gain, {hiding or 'none'} hide{'s' * (hiding == 1)} a "
            f"significant loss in {what} ({len(losses)} of {len(tested)} tests, false-discovery rate "
            f"{audit.error_rate:.0%})."
        )
        if len(losses):
            worst = losses.iloc[0]
            text += (
                f" The largest: {worst['improvement']} against {worst['baseline']}, {_limits(worst)} in "
                f"{worst['group']}, with a mean gain of {signed(worst['mean_gain'])}."
            )
            if grouping == SINGLE_GAMES:
                games = losses["group"].value_counts()
                text += f" The most losses are in {_counted(games)}."
        found.append(Claim(topic, text, "gains"))
    return found


def _counted(counts: pd.Series, most: int = 3) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.head(most).items())


def _deciding(audit: Audit) -> list[Claim]:
    topic, found = "Games that decide the ranking", []
    games = audit.influence[audit.influence["grouping"] == SINGLE_GAMES]
    shares = games.sort_values("share", ascending=False).head(3)
    tau = games["tau"]
    text = (
        f"{_with_shares(shares)} contribute most to the differences between methods, where equal parts would be "
        f"{1 / len(games):.0%} each. Without one game the ranking keeps a correlation of {tau.min():.2f} or more "
        f"(least without {games.loc[tau.idxmin(), 'group']})."
        if tau.notna().any()
        else f"All methods have the same {AGGREGATE}, so that there is no ranking for a game to decide."
    )
    if not tau.notna().any():
        return [Claim(topic, text, "influence")]
    changed = games[games["first_without"] != games["first"]]
    if len(changed):
        others = ", ".join(f"{row['first_without']} without {row['group']}" for row in changed.to_dict("records"))
        text += f" The first, {games['first'].iloc[0]}, changes: {others}."
    else:
        text += f" The first stays {games['first'].iloc[0]}."
    found.append(Claim(topic, text, "influence"))
    groups = audit.influence[audit.influence["grouping"] != SINGLE_GAMES]
    for row in groups[groups["tau"].notna()].sort_values("tau").head(1).to_dict("records"):
        first = "the first stays" if row["first"] == row["first_without"] else f"the first is {row['first_without']}"
        text = (
            f"Of the groups, {row['group']} ({row['games']} game{'s' * (row['games'] != 1)}, {row['share']:.0%} of the "
            f"variance) matters most: without it the ranking has a correlation of {row['tau']:.2f} and {first}."
        )
        found.append(Claim(topic, text, "influence"))
    single = audit.decided[audit.decided["grouping"] == SINGLE_GAMES]
    if games["decided"].notna().any():
        if single.empty:
            text = "No lead that is significant over seeds is decided by a single game."
        else:
            largest = single.loc[single["lead"].idxmax()]
            text = (
                f"Single games decide {single.groupby(['better', 'worse']).ngroups} pairs of methods whose lead is "
                f"significant over seeds: {_counted(single['group'].value_counts())}. The largest such lead: "
                f"{largest['better']} is ahead of {largest['worse']} by {largest['lead']:.3f}, and behind by "
                f"{max(-largest['lead_without'], 0.0):.3f} without {largest['group']}."
            )
        found.append(Claim(topic, text, "decided"))
    return found


def _with_shares(rows: pd.DataFrame) -> str:
    named = [f"{row['group']} ({row['share']:.0%})" for row in rows.to_dict("records")]
    return named[0] if len(named) < 2 else f"{', '.join(named[:-1])} and {named[-1]}"


def _choices(audit: Audit) -> list[Claim]:
    topic = "The ranking under other choices"
    rows = audit.choices[audit.choices["split"] == audit.split]
    reference, others = rows.iloc[0], rows.iloc[1:]
    others = others[others["tau"].notna()]
    if others.empty:
        apart = (rows["first"].str.count(AND) + 1 < audit.rankings["method"].nunique()).any()
        text = "The methods are equal by the reference, and by other choices they are not: look at the table."
        return [Claim(topic, text if apart else "All methods are equal by every choice.", "choices")]
    found = []
    for name, by in (("aggregate", "normalisation"), ("normalisation", "aggregate")):
        alike = others[others[by] == reference[by]]
        if alike.empty:
            continue
        parts = ", ".join(f"{row[name]} {row['tau']:.2f} (first: {row['first']})" for row in alike.to_dict("records"))
        text = (
            f"With the {by} {reference[by]}, Kendall's correlation of the ranking by another {name} with that by "
            f"{reference[name]} is: {parts}."
        )
        found.append(Claim(topic, text, "choices"))
    least = others.loc[others["tau"].idxmin()]
    firsts = rows["first"].str.split(AND, regex=False).explode().nunique()
    text = (
        f"By the {len(rows)} choices {firsts} method{'s come' if firsts > 1 else ' comes'} first. The choice that "
        f"differs most is {least['normalisation']}, {least['aggregate']} ({least['tau']:.2f}; {least['changed']:.0%} "
        "of the pairs)"
    )
    if isinstance(least["mover"], str):
        text += f": {least['mover']} goes from place {least['rank_by_reference']:g} to {least['rank']:g}"
    text += "."
    return [*found, Claim(topic, text, "choices")]


def _splits(audit: Audit) -> Claim:
    topic = "Training and test levels"
    rows = audit.choices[audit.choices["split"] != audit.split]
    if rows.empty:
        return Claim(topic, "Fewer than two methods have scores of the same games on both splits.", "entries")
    row = rows.iloc[0]
    if not np.isfinite(row["tau"]):
        text = "On one of the splits the methods are all equal, so that there is no ranking to compare."
        return Claim(topic, text, "choices")
    methods = audit.rankings[audit.rankings["split"] == row["split"]]["method"].nunique()
    text = (
        f"On {row['split']} levels the {methods} methods that have both are ranked with a correlation of "
        f"{row['tau']:.2f} with the ranking on {audit.split} levels; {row['changed']:.0%} of the pairs change."
    )
    return Claim(topic, text, "choices")


def _subsets(audit: Audit) -> list[Claim]:
    topic, table = "The smallest set of games", audit.subsets
    repeated = audit.repeatability.iloc[0]
    found = []
    if not table["left_out"].notna().any():
        text = f"There are fewer than {FEWEST_METHODS} methods, too few to test a set on methods left out."
        found.append(Claim(topic, text, "subsets"))
    elif (row := smallest_set(table, audit.agreement)) is None:
        best = table.loc[table["left_out"].idxmax()]
        text = (
            f"No set ranks methods left out with a correlation of {audit.agreement:g} as all games do; the best has "
            f"{best['size']} games and reaches {best['left_out']:.2f}."
        )
        found.append(Claim(topic, text, "subsets"))
    else:
        random = table[table["random"] >= audit.agreement]
        luck = f"random sets need {random['size'].iloc[0]}" if len(random) else "no size does at random"
        text = (
            f"{row['size']} games rank methods that took no part in their choice with a correlation of "
            f"{row['left_out']:.2f} [{row['low']:.2f}, {row['high']:.2f}] as all games do, where random sets of this "
            f"size reach {row['random']:.2f} ({luck}). Chosen on all methods: {row['games']}."
        )
        found.append(Claim(topic, text, "subsets"))
    if np.isfinite(repeated["tau"]):
        text = (
            f"With other seeds the ranking by all games has a correlation of {repeated['tau']:.2f} "
            f"[{repeated['low']:.2f}, {repeated['high']:.2f}] with itself."
        )
        found.append(Claim(topic, text, "repeatability"))
    return found


def _noise(audit: Audit) -> Claim:
    topic = "Noise between publications"
    if audit.noise.empty or not audit.noise["gains"].iloc[0]:
        return Claim(topic, "No method was measured by two publications, so that their noise is unknown.", "noise")
    parts = []
    for row in audit.noise[audit.noise["gains"] > 0].to_dict("records"):
        what = {"all": "of all gains"}.get(row["gains_of"], f"of those {row['gains_of']}")
        ends = [f"{row[end]:.0%}" if np.isfinite(row[end]) else "no limit" for end in ("low", "high")]
        limits = f" [{', '.join(ends)}]" if np.isfinite(row["low"]) else ""
        parts.append(
            f"{what} {row['within']:.0%} ({row['gains']} gains), and the noise alone makes {row['share']:.0%}{limits} "
            "of their mean square"
        )
    text = f"Within the noise between publications of the same method lie {'; '.join(parts)}."
    return Claim(topic, text, "noise")
