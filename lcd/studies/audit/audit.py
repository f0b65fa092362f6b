"""Audit of a benchmark, from a table of scores to tables, claims and a page: what ``lcd audit`` calls."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lcd.io.limits import LARGEST_SEED, MOST_SEEDS, path, real_number, text, texts, whole_number
from lcd.measurement.game_subsets import subset_table
from lcd.measurement.hidden_losses import gain_table
from lcd.measurement.method_scores import Floats, MethodScores
from lcd.measurement.publication_noise import noise_by_game, noise_share
from lcd.measurement.rankings import (
    EXTREMES,
    RANGE,
    choice_table,
    influence_tables,
    normalised,
    ranking_table,
    repeatability,
)
from lcd.studies.audit.claims import Claim, claims_of
from lcd.studies.audit.comparing import Comparison, baseline_entries, compared, replicates
from lcd.studies.audit.grouping import Groups, constants_of, read_groups
from lcd.studies.audit.reading import ScoreTable, read_scores
from lcd.studies.figures import check_registered, registered
from lcd.studies.output import OutputFolder

FORMAT = "lcd.audit/1"
FIGURE, PAGE = "audit", "audit_report"
"""Names of the figure and of the page among the entry points ``lcd.figures``."""

AGGREGATE = "mean"
"""Aggregate of the reference ranking."""

MOST_TESTS = 300_000
"""Largest number of gains that are tested."""


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
        output.claim(_Folder())
        output.write_tables(**{name: table.round(6) for name, table in self.as_tables().items()})
        output.write_figure(FIGURE, self.plot())
        registered(PAGE)(self, output.path / "report.html")


class _Folder:
    """Marker of a folder that holds an audit."""

    def as_dict(self) -> dict[str, Any]:
        return {"format": FORMAT}


def audit(
    scores: Path | str,
    taxonomy: Path | str | None = None,
    *,
    baseline: str | None = None,
    where: Sequence[str] | None = None,
    split: str | None = None,
    constants: Path | str | None = None,
    seeds: int | None = None,
    error_rate: float = 0.05,
    agreement: float = 0.9,
    seed: int = 0,
    out: Path | str | None = None,
) -> Audit:
    """Audit a table of methods x games; the command ``lcd audit`` is this function.

    Parameters
    ----------
    scores
        CSV file with a row a score or a row a method, see `lcd.studies.audit.reading.read_scores`.
    taxonomy
        Groups of games, see `lcd.studies.audit.grouping.read_groups`; without it single games are the only groups.
    baseline
        Method, or entry of the table, that the others are improvements of; by default all pairs of methods from the
        same publication are compared.
    where
        Rows to use, each as ``COLUMN=VALUE``.
    split
        Split that the audit is about: ``"train"`` or ``"test"``; by default the one with more methods.
    constants
        CSV file with the columns game, random and best: returns that count as 0 and 1. By default those of Procgen's
        authors where they apply, and otherwise those of the worst and the best method in each game.
    seeds
        Number of seeds behind each mean, where the table does not say.
    error_rate
        False-discovery rate of hidden losses and of leads, from 0.001 to 0.5.
    agreement
        Kendall's correlation with the ranking by all games that a set of games must reach on methods left out.
    seed
        Seed of divisions, draws and bootstraps.
    out
        Folder for tables, figure and page; by default nothing is written.

    Returns
    -------
    Audit

    Raises
    ------
    ValueError
        If an argument or the table is invalid; the message says what would be right.

    Examples
    --------
    >>> import lcd
    >>> found = lcd.audit("docs/audit/procgen-hard.csv", "docs/taxonomy", baseline="PPO")  # doctest: +SKIP
    >>> [claim.text for claim in found.claims]  # doctest: +SKIP
    """
    file = path("scores", scores)
    real_number("error_rate", error_rate, 0.001, 0.5)
    real_number("agreement", agreement, 0.0, 1.0)
    whole_number("seed", seed, 0, LARGEST_SEED)
    if seeds is not None:
        whole_number("seeds", seeds, 1, MOST_SEEDS)
    conditions = () if where is None else texts("where", where)
    if out is not None:
        OutputFolder(path("out", out)).check(_Folder())
        check_registered(FIGURE, PAGE)
    table = read_scores(file, where=conditions, seeds=seeds)
    chosen = table.splits[0] if split is None else text("split", split)
    if chosen not in table.splits:
        raise ValueError(f"{file} has no scores on the split {chosen!r}: there are {' and '.join(table.splits)}.")
    if baseline is not None:
        baseline_entries(table.entries, text("baseline", baseline))
    groups = {} if taxonomy is None else read_groups(taxonomy)
    _check_groups(groups, table, taxonomy)
    returns = constants_of(tuple(dict.fromkeys(table.rows["game"])), table.mode, constants)
    options = {
        "--taxonomy": taxonomy,
        "--baseline": baseline,
        "--split": split,
        "--constants": constants,
        "--seeds": seeds,
        "--error-rate": None if error_rate == 0.05 else error_rate,
        "--agreement": None if agreement == 0.9 else agreement,
        "--seed": seed or None,
        "--out": out,
    }
    given = [str(part) for name, value in options.items() if value is not None for part in (name, value)]
    given += [part for condition in conditions for part in ("--where", condition)]
    found = _Auditor(table, chosen, groups, returns, baseline, error_rate, seed).audit()
    found = replace(found, agreement=agreement, command=shlex.join(["lcd", "audit", str(scores), *given]))
    if out is not None:
        found.write(out)
    return found


def _check_groups(groups: Groups, table: ScoreTable, taxonomy: Path | str | None) -> None:
    named = {game for members in groups.values() for games in members.values() for game in games}
    games = set(table.rows["game"])
    if groups and not named & games:
        raise ValueError(
            f"{taxonomy} groups none of the games of the scores, such as {sorted(games)[0]}: name games alike in both."
        )


@dataclass(frozen=True, eq=False)
class _Auditor:
    """The steps of an audit."""

    table: ScoreTable
    split: str
    groups: Groups
    constants: tuple[Floats, Floats] | None
    baseline: str | None
    error_rate: float
    seed: int

    def audit(self) -> Audit:
        raw = self.table.scores(self.split)
        scores = self._comparable(raw)
        pairs = compared(self.table.entries, scores, self.baseline)
        groups = sum(len(members) for members in self.groups.values())
        if len(pairs) * (len(scores.games) + groups) > MOST_TESTS:
            raise ValueError(f"{len(pairs):,} pairs of methods are too many to compare: name one with --baseline.")
        numbers = [(pair.improvement, pair.baseline) for pair in pairs]
        gains = gain_table(scores, numbers, self.groups, error_rate=self.error_rate)
        block = scores.complete()
        influence, decided = influence_tables(block, self.groups, error_rate=self.error_rate)
        rankings, choices = self._rankings(raw, block)
        methods = self.table.entries.set_index("entry")["method"]
        subsets = subset_table(block.means, block.games, [methods[entry] for entry in block.methods], seed=self.seed)
        repeated = pd.DataFrame(
            [(self.split, *repeatability(block, seed=self.seed))], columns=["split", "tau", "low", "high"]
        )
        noise, by_game = self._noise(scores, pairs)
        return Audit(
            entries=self._entries(set(block.methods)),
            gains=gains,
            rankings=rankings,
            choices=choices,
            influence=influence,
            decided=decided,
            subsets=subsets,
            repeatability=repeated,
            noise=noise,
            noise_by_game=by_game,
            normalisation=self.normalisation,
            split=self.split,
            baseline=self.baseline,
            error_rate=self.error_rate,
            agreement=0.9,
            command="",
        )

    @property
    def normalisation(self) -> str:
        return EXTREMES if self.constants is None else RANGE

    def _comparable(self, scores: MethodScores) -> MethodScores:
        """The scores on the reference scale; games in which no methods differ are left as they are."""
        if self.constants is not None:
            return scores.scaled(*self.constants)
        there = np.isfinite(scores.means)
        least = np.where(there, scores.means, np.inf).min(axis=0)
        most = np.where(there, scores.means, -np.inf).max(axis=0)
        varies = np.isfinite(least) & (most > least)
        return scores.scaled(np.where(varies, least, 0.0), np.where(varies, most, 1.0))

    def _rankings(self, raw: MethodScores, block: MethodScores) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rankings on every split and their agreement with the reference, on the methods and games of both."""
        rankings, choices = [], []
        first = self._ranked(raw, block.methods, block.games)
        for split in [self.split, *(name for name in self.table.splits if name != self.split)]:
            own, reference = first, first
            if split != self.split:
                try:
                    other = self.table.scores(split).complete()
                except ValueError:  # nothing to rank
                    continue
                methods = tuple(name for name in block.methods if name in other.methods)
                games = tuple(name for name in block.games if name in other.games)
                if len(methods) < 2 or len(games) < 2:
                    continue
                own, reference = self._ranked(other, methods, games), self._ranked(raw, methods, games)
            by = reference["normalisation"] == self.normalisation
            ranks = reference[by & (reference["aggregate"] == AGGREGATE)].set_index("method")["rank"]
            table = choice_table(own, ranks)
            front = (table["normalisation"] == self.normalisation) & (table["aggregate"] == AGGREGATE)
            rankings.append(own.assign(split=split))
            choices.append(pd.concat([table[front], table[~front]]).assign(split=split))
        together = [pd.concat(tables, ignore_index=True) for tables in (rankings, choices)]
        ordered = [table[["split", *(name for name in table if name != "split")]] for table in together]
        return ordered[0], ordered[1]

    def _ranked(self, raw: MethodScores, methods: Sequence[str], games: Sequence[str]) -> pd.DataFrame:
        numbers = [raw.games.index(game) for game in games]
        part = raw.part([raw.methods.index(name) for name in methods], numbers)
        constants = None
        if self.constants is not None:
            every = list(dict.fromkeys(self.table.rows["game"]))
            of_games = [every.index(game) for game in games]
            constants = (self.constants[0][of_games], self.constants[1][of_games])
        base = None
        if self.baseline is not None:
            known = baseline_entries(self.table.entries, self.baseline).sort_values("steps", ascending=False)
            base = next((part.methods.index(name) for name in known["entry"] if name in part.methods), None)
        return ranking_table(part.methods, normalised(part.means, constants, base))

    def _noise(self, scores: MethodScores, pairs: Sequence[Comparison]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Noise between publications; empty tables where no method was measured by two."""
        same = replicates(self.table.entries, scores)
        if not same or not pairs:
            return (
                pd.DataFrame(columns=["gains_of", "gains", "within", "share", "low", "high"]),
                pd.DataFrame(columns=["game", "deviation", "freedom", "gain"]),
            )
        by_game = noise_by_game(scores, same)
        gains = np.array([scores.means[pair.improvement] - scores.means[pair.baseline] for pair in pairs])
        there = np.isfinite(gains)
        squares = np.where(there, gains, 0.0) ** 2
        counts = there.sum(axis=0)
        by_game["gain"] = np.where(counts > 0, np.sqrt(squares.sum(axis=0) / np.maximum(counts, 1)), np.nan)
        within = np.array([pair.same_publication for pair in pairs])
        kinds: Mapping[str, Any] = {"all": slice(None), "within a publication": within, "across publications": ~within}
        share = partial(noise_share, noise=by_game, seed=self.seed)
        rows = [{"gains_of": name, **share(gains[kind])} for name, kind in kinds.items() if len(gains[kind])]
        return pd.DataFrame(rows), by_game

    def _entries(self, ranked: set[str]) -> pd.DataFrame:
        parts = []
        for split in self.table.splits:
            scores = self.table.scores(split)
            counts = {
                "games": np.isfinite(scores.means).sum(axis=1),
                "with_error": (np.isfinite(scores.squared_errors) & np.isfinite(scores.means)).sum(axis=1),
                "ranked": [split == self.split and name in ranked for name in scores.methods],
            }
            found = pd.DataFrame({"entry": scores.methods, "split": split, **counts})
            parts.append(self.table.entries.merge(found, on="entry"))
        columns = ["entry", "method", "publication", "steps", "split", "games", "with_error", "ranked"]
        return pd.concat(parts, ignore_index=True)[columns]
