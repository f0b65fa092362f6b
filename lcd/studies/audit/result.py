"""Result of an audit: its tables, claims, figure and page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from lcd.io.limits import path
from lcd.studies.audit.claims import Claim, claims_of
from lcd.studies.figures import registered
from lcd.studies.output import OutputFolder

PLAN = {"format": "lcd.audit/1"}
"""What marks a folder that holds an audit."""

FIGURE, PAGE = "audit", "audit_report"
"""Names of the figure and of the page among the entry points ``lcd.figures``."""


@dataclass(frozen=True, eq=False)
class Audit:
    """Audit of a table of scores; `lcd.studies.audit.columns` says what the columns mean.

    Attributes
    ----------
    entries
        One row a (entry, split): what is compared.
    gains
        One row a (improvement, baseline, grouping, group), see `lcd.measurement.hidden_losses.gain_table`.
    rankings, choices
        Rankings by every choice, and their agreement with the reference, see `lcd.measurement.rankings`.
    influence, decided
        Influence of games and groups on the ranking, and the pairs of methods that each decides.
    subsets
        Sets of games, see `lcd.measurement.game_subsets.subset_table`.
    repeatability
        Agreement of the ranking with itself under other seeds.
    noise, noise_by_game
        Noise between publications, see `lcd.measurement.publication_noise`; empty where there is none to tell.
    normalisation
        Scale of all gains and of the reference ranking.
    split
        Split that all but the comparison of splits is about.
    baseline
        Method that improvements are compared with, None for all pairs.
    error_rate
        False-discovery rate.
    agreement
        Kendall's correlation that a set of games must reach on methods left out.
    command
        The command that makes the audit.
    only_grouped, only_scored
        Games that only the taxonomy has, and that only the scores have.
    """

    entries: pd.DataFrame
    gains: pd.DataFrame
    rankings: pd.DataFrame
    choices: pd.DataFrame
    influence: pd.DataFrame
    decided: pd.DataFrame
    subsets: pd.DataFrame
    repeatability: pd.DataFrame
    noise: pd.DataFrame
    noise_by_game: pd.DataFrame
    normalisation: str
    split: str
    baseline: str | None
    error_rate: float
    agreement: float
    command: str
    only_grouped: tuple[str, ...] = ()
    only_scored: tuple[str, ...] = ()

    def as_tables(self) -> dict[str, pd.DataFrame]:
        """All tables, by name."""
        names = ("entries", "gains", "rankings", "choices", "influence", "decided", "subsets", "repeatability")
        return {name: getattr(self, name) for name in (*names, "noise", "noise_by_game")}

    @property
    def claims(self) -> list[Claim]:
        """What was found, a sentence or two for each question, with the table that it comes from."""
        return claims_of(self)

    def plot(self) -> Figure:
        """Draw what was found."""
        figure: Figure = registered(FIGURE)(self)
        return figure

    def write(self, folder: Path | str) -> None:
        """Write tables, figure and page into a folder of an audit, or a new one.

        Raises
        ------
        ValueError
            If the folder holds something else.
        """
        output = OutputFolder(path("out", folder))
        output.claim(PLAN)
        output.write_results(
            {name: table.round(6) for name, table in self.as_tables().items()},
            {f"{FIGURE}.png": self.plot()},
            {"report.html": partial(registered(PAGE), self)},
        )
