"""Audit of a benchmark, from a table of scores to tables, claims and a page: what ``lcd audit`` calls."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from lcd.io.limits import LARGEST_SEED, MOST_SEEDS, path, real_number, text, texts, whole_number
from lcd.studies.audit.auditor import Auditor
from lcd.studies.audit.columns import SPLITS
from lcd.studies.audit.comparing import baseline_entries
from lcd.studies.audit.grouping import constants_of, read_groups
from lcd.studies.audit.reading import read_scores
from lcd.studies.audit.result import FIGURE, PAGE, PLAN, Audit
from lcd.studies.figures import check_registered
from lcd.studies.output import OutputFolder


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
        Rows to use, each as ``COLUMN=VALUE`` or ``COLUMN!=VALUE``.
    split
        Split that the audit is about: ``"train"`` or ``"test"``, or what tables call them; by default the one with
        more methods.
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
        OutputFolder(path("out", out)).check(PLAN)
        check_registered(FIGURE, PAGE)
    table = read_scores(file, where=conditions, seeds=seeds)
    chosen = table.splits[0] if split is None else SPLITS.get(text("split", split).lower(), split)
    if chosen not in table.splits:
        raise ValueError(f"{file} has no scores on the split {chosen!r}: there are {' and '.join(table.splits)}.")
    if baseline is not None:
        baseline_entries(table.entries, text("baseline", baseline))
    groups = {} if taxonomy is None else read_groups(taxonomy)
    grouped = {game for members in groups.values() for games in members.values() for game in games}
    scored = set(table.rows["game"])
    if groups and not grouped & scored:
        raise ValueError(
            f"{taxonomy} groups none of the games of the scores, such as {min(scored)}: name games alike in both."
        )
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
    auditor = Auditor(table, chosen, groups, returns, baseline, error_rate, seed)
    found = Audit(
        **auditor.tables(),
        normalisation=auditor.normalisation,
        split=chosen,
        baseline=baseline,
        error_rate=error_rate,
        agreement=agreement,
        command=shlex.join(["lcd", "audit", str(scores), *given]),
        only_grouped=tuple(sorted(grouped - scored)) if grouped else (),
        only_scored=tuple(sorted(scored - grouped)) if grouped else (),
    )
    if out is not None:
        found.write(out)
    return found
