"""Columns of a table of scores, and of the tables of an audit."""

from __future__ import annotations

SCORE_COLUMNS = {
    "method": "name of the method",
    "game": "name of the game",
    "score": "return, or any score of which more is better; empty where there is none",
    "split": "train or test: the levels that the score is on",
    "seed": "seed of the run, in a table with a row a seed",
    "std": "standard deviation over seeds, in a table of means",
    "seeds": "number of seeds behind a mean",
    "steps": "environment steps of training; a method at several counts as several",
    "publication": "who measured it; a method in several counts as several, and shows the noise between them",
    "mode": "difficulty of the games, such as easy or hard; all rows of a table have the same",
    "kind": "free text, not used",
    "source": "free text, not used",
    "note": "free text, not used",
}
"""Meaning of the columns of a table of scores; method, game and score are needed, the others are not."""

ALIASES = {"mean": "score", "return": "score", "runs": "seeds", "levels": "split", "sd": "std"}
"""Other names of these columns."""

SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test", "unseen": "test"}
"""Names of the splits, and the ones that the audit writes."""

_ENTRY = "name of the method, with steps and publication where it has several"
_GROUPING = "way to group the games: class or verdict of a taxonomy, a column of a file, or game"
_CHOICE = {
    "split": "train or test",
    "normalisation": "scale of the scores in each game: range (share of the range between given returns), baseline "
    "(share of the baseline's return above the lower of these), min-max (share of the range between the worst and the "
    "best method), z-score (standard deviations from the mean of the methods), rank (share of the methods that are "
    "worse), none (returns as they are)",
    "aggregate": "over games: mean, median or IQM (interquartile mean)",
}

COLUMNS: dict[str, dict[str, str]] = {
    "entries": {
        "entry": _ENTRY,
        "method": SCORE_COLUMNS["method"],
        "publication": SCORE_COLUMNS["publication"],
        "steps": SCORE_COLUMNS["steps"],
        "split": "train or test",
        "games": "number of games with a score",
        "with_error": "number of games whose error over seeds is known, or taken from the other methods in the game",
        "ranked": "whether it is in the rankings, which need all of the same games",
    },
    "gains": {
        "improvement": _ENTRY,
        "baseline": "the entry that it is compared with",
        "grouping": _GROUPING,
        "group": "name of the group; all for the mean over all games",
        "games": "number of games of the group that both have",
        "gain": "mean difference over these games, in units of the normalised score",
        "low": "lower 95 % limit",
        "high": "upper 95 % limit",
        "over": "source of the variance: seeds, games or nothing",
        "p": "one-sided, that the gain is not negative",
        "q": "p after the correction for many comparisons, within the grouping; only where the mean gain is positive",
        "mean_gain": "mean gain over all games that both have",
        "hidden_loss": "whether the mean gain is positive and the loss in the group significant",
    },
    "rankings": {
        **_CHOICE,
        "method": _ENTRY,
        "score": "aggregate of the normalised scores",
        "rank": "place, 1 the highest; ties share the mean of their places",
    },
    "choices": {
        **_CHOICE,
        "tau": "Kendall's rank correlation with the ranking by the reference, the first row",
        "changed": "share of the pairs of methods that are in another order, or tied in one of the two",
        "first": "method ranked highest",
        "mover": "method whose rank changes most",
        "rank_by_reference": "its rank by the reference",
        "rank": "its rank by this choice",
    },
    "influence": {
        "grouping": _GROUPING,
        "group": "name of the group",
        "games": "number of its games",
        "share": "share of the variance between methods of the mean score that the group contributes",
        "tau": "Kendall's rank correlation of the ranking without the group with that by all games",
        "first": "method ranked highest by all games",
        "first_without": "method ranked highest without the group",
        "reversed": "share of the pairs of methods whose order the group reverses",
        "decided": "number of pairs whose lead is significant over seeds and whose order the group reverses",
    },
    "decided": {
        "better": "entry with the higher mean over all games",
        "worse": "entry with the lower one",
        "grouping": _GROUPING,
        "group": "the games without which the order is another",
        "lead": "difference of the means over all games",
        "q": "p of the lead over seeds, corrected for all pairs",
        "lead_without": "difference of the means without the group",
    },
    "subsets": {
        "size": "number of games of the set",
        "games": "the set, chosen on all methods",
        "tau": "Kendall's rank correlation of its ranking with that by all games, on the methods it was chosen on",
        "left_out": "the same on methods that took no part in the choice, mean over divisions in halves",
        "low": "its 5th percentile over divisions",
        "high": "its 95th percentile over divisions",
        "random": "mean of the same for random sets of the size",
    },
    "repeatability": {
        "split": "train or test",
        "tau": "Kendall's rank correlation of the ranking by all games with itself under other seeds",
        "low": "its 5th percentile",
        "high": "its 95th percentile",
    },
    "noise": {
        "gains_of": "gains that are compared: within a publication, across publications, or all",
        "gains": "number of gains, one for each improvement and game",
        "within": "share of them within the 95 % limit of the difference of two publications of the same method",
        "share": "mean square that the noise between publications makes alone, divided by that of the gains",
        "low": "its lower 95 % limit, over games",
        "high": "its upper 95 % limit",
    },
    "noise_by_game": {
        "game": "name of the game",
        "deviation": "standard deviation between publications of the same method, in units of the normalised score",
        "freedom": "its degrees of freedom",
        "gain": "root mean square of the improvements' gains",
    },
}
"""Meaning of the columns of each table of an audit."""
