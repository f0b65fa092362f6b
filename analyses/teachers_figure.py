"""Figure of the reference teachers against random play, PPO after 25M and 50M steps, and the experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from lcd.envs import get_game
from lcd.measurement.scores import Normalisation
from lcd.teachers.evaluation import PPO_50M_RETURNS
from lcd.teachers.library import Card

TEACHER, EXPERT, REFERENCE = "#0072B2", "#E69F00", "#555555"  # Okabe and Ito's, safe for colour-blind readers


def teacher_table(cards: Sequence[Card], published: Mapping[str, float]) -> pd.DataFrame:
    """Returns and normalised scores of the teachers and of what they are compared with.

    Parameters
    ----------
    cards
        The teachers' cards.
    published
        Return of PPO after 25 M steps on unlimited levels, by game.

    Returns
    -------
    pandas.DataFrame
        Columns ``game``, ``quantity`` (``teacher``, ``teacher, training``, ``expert``, ``PPO 25M``, ``PPO 50M``),
        ``return``, ``low``, ``high``, ``score``, ``score_low``, ``score_high``; scores are 0 for the published return
        of a random policy and 1 for the best possible.
    """
    rows = []
    for card in cards:
        constants = get_game(card.game).normalisation(card.distribution_mode)
        assert constants is not None
        score_of = Normalisation(*constants, source="published").score
        evaluated = {"teacher": card.unseen, "teacher, training": card.training, "expert": card.expert}
        ranges = {quantity: (score.mean, score.low, score.high) for quantity, score in evaluated.items()}
        ranges["PPO 25M"] = (published[card.game],) * 3
        if card.distribution_mode == "easy":  # on which it was trained
            ranges["PPO 50M"] = (PPO_50M_RETURNS[card.game],) * 3
        for quantity, returns in ranges.items():
            rows.append((card.game, quantity, *returns, *map(score_of, returns)))
    columns = ["game", "quantity", "return", "low", "high", "score", "score_low", "score_high"]
    return pd.DataFrame(rows, columns=columns)


def draw_teachers(table: pd.DataFrame) -> Figure:
    """Plot the table, one line a game, the best teachers on top.

    Parameters
    ----------
    table
        What `teacher_table` gave.
    """
    by_quantity = {quantity: rows.set_index("game") for quantity, rows in table.groupby("quantity")}
    teachers = by_quantity["teacher"].sort_values("score")
    figure = Figure(figsize=(8, 1.2 + 0.34 * len(teachers)), layout="constrained")
    axes = figure.subplots()
    places = {game: place for place, game in enumerate(teachers.index)}
    for marker, quantity, label in (("|", "PPO 25M", "PPO, 25M steps"), ("D", "PPO 50M", "PPO, 50M steps")):
        if (reference := by_quantity.get(quantity)) is None:
            continue
        axes.plot(
            reference["score"], [places[game] for game in reference.index], marker, color=REFERENCE, label=label,
            markerfacecolor="none", markersize=9 if marker == "|" else 5, linestyle="none",
        )  # fmt: skip
    for quantity, colour, marker, shift, label in (
        ("expert", EXPERT, "s", 0.16, "expert (plays with every privilege)"),
        ("teacher", TEACHER, "o", -0.16, "teacher (sees the label map)"),
    ):
        rows = by_quantity[quantity]
        margins = [rows["score"] - rows["score_low"], rows["score_high"] - rows["score"]]
        axes.errorbar(
            rows["score"], [places[game] + shift for game in rows.index], xerr=margins, color=colour, fmt=marker,
            markersize=5, label=label, linewidth=1.2,
        )  # fmt: skip
    axes.axvline(0, color=REFERENCE, linestyle=":", linewidth=1)
    axes.axvline(1, color=REFERENCE, linestyle=":", linewidth=1)
    axes.set_yticks(list(places.values()), list(places))
    axes.set_ylim(-0.7, len(places) - 0.3)
    axes.set_xlabel("normalised return on unseen levels (0: random policy, 1: best possible), 95 % intervals")
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure
