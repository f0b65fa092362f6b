"""The steps of an audit, from scores to tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

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
from lcd.studies.audit.comparing import Comparison, baseline_entries, compared, replicates
from lcd.studies.audit.grouping import Groups
from lcd.studies.audit.reading import ScoreTable

AGGREGATE = "mean"
"""Aggregate of the reference ranking."""

MOST_TESTS = 300_000
"""Largest number of gains that are tested."""


@dataclass(frozen=True, eq=False)
class Auditor:
    """What is audited, and how.

    Attributes
    ----------
    table
        Scores of methods in games.
    split
        Split that the audit is about.
    groups
        Groups of games.
    constants
        Returns that count as scores 0 and 1 in each game, None if they are unknown.
    baseline
        Method or entry that the others are compared with, None for all pairs.
    error_rate
        False-discovery rate.
    seed
        Of divisions, draws and bootstraps.
    """

    table: ScoreTable
    split: str
    groups: Groups
    constants: tuple[Floats, Floats] | None
    baseline: str | None
    error_rate: float
    seed: int

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables of `lcd.studies.audit.result.Audit`, by name."""
        raw = self.table.scores(self.split)
        scores = self._comparable(raw, raw.complete())
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
        return {
            "entries": self._entries(set(block.methods)),
            "gains": gains,
            "rankings": rankings,
            "choices": choices,
            "influence": influence,
            "decided": decided,
            "subsets": subsets,
            "repeatability": repeated,
            "noise": noise,
            "noise_by_game": by_game,
        }

    @property
    def normalisation(self) -> str:
        """Scale of all gains and of the reference ranking."""
        return EXTREMES if self.constants is None else RANGE

    def _comparable(self, scores: MethodScores, block: MethodScores) -> MethodScores:
        """The scores on the reference scale; where no methods differ all are 0, without an error.

        Least and largest scores are those of the methods that are ranked, in the games in which they are, so that gains
        and rankings have one scale.
        """
        if self.constants is not None:
            return scores.scaled(*self.constants)
        ranked = np.isin(scores.methods, block.methods)[:, None] | ~np.isin(scores.games, block.games)
        there = np.isfinite(scores.means) & ranked
        least = np.where(there, scores.means, np.inf).min(axis=0)
        most = np.where(there, scores.means, -np.inf).max(axis=0)
        return scores.scaled(np.where(np.isfinite(least), least, 0.0), np.where(most > least, most, np.inf))

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
