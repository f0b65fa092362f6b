"""Meaning of the columns of a taxonomy's tables; those of a survey's tables are in `lcd.studies.survey.columns`."""

from __future__ import annotations

from lcd.measurement.demands import CONTRASTS

_DEMAND = "perceptual or policy"
_CORRELATION = "rank correlation over games of the {} demand with that of the {}"

COLUMNS: dict[str, dict[str, str]] = {
    "positions": {
        "game": "name of the game",
        **{
            f"{name}{limit}": f"{what} of {name}, see lcd.measurement.demands, in units of the normalised score"
            for name in CONTRASTS
            for limit, what in (("", "estimate"), ("_low", "lower 95 % limit"), ("_high", "upper 95 % limit"))
        },
        "covariance": "of the errors of the perceptual and the policy-learning demand, which share a cell",
        "class": "name of the likeliest class",
        "probability": "that the game belongs to it",
        "floor_limited": "floor-limited demands, see lcd.measurement.rule: perceptual, policy, both or none",
        "learned": "whether any cell ends at the floor or above on unseen levels, see lcd.measurement.rule",
        "verdict": "what limits the learner, see lcd.measurement.rule",
        "teacher_score": "the teacher's normalised score on unseen levels",
    },
    "membership": {
        "game": "name of the game",
        "class": "name of a class",
        "probability": "that the game belongs to it, over other draws of seeds",
    },
    "class_selection": {
        "classes": "number of classes that was tried",
        "bic": "Bayesian information criterion of the mixture, lower is better",
        "p_value": "p-value of one more class, by a bootstrap of the likelihood ratio; at least 0.01",
        "stability": "mean adjusted Rand index between these classes and those of other draws of seeds",
        "chosen": "whether this is the number of classes",
    },
    "class_parts": {
        "chosen_on": "places of the seeds that the classes and their number are chosen on",
        "tested_on": "places of the seeds that they are tested on",
        "classes": "number of classes by the former",
        "rand": "adjusted Rand index of the classes of both; 0 where the former give a single one, and all several",
    },
    "reliability": {
        "demand": _DEMAND,
        "icc_single": "intraclass correlation of one seed's measurement over games, ICC(1,1)",
        "icc_single_low": "its lower 95 % limit",
        "icc_single_high": "its upper 95 % limit",
        "icc_mean": "the same of the mean over all seeds, ICC(1,k)",
        "icc_mean_low": "its lower 95 % limit",
        "icc_mean_high": "its upper 95 % limit",
        "split_half": "correlation over games between halves of the seeds, stepped up to all of them",
        "rank_stability": "mean rank correlation between the games and the same under other draws of seeds",
        "games": "all, or learned: those in which some cell ends at the floor or above",
        "number": "number of these games",
    },
    "ranks": {
        "game": "name of the game",
        "demand": _DEMAND,
        "rank": "place among the games, 1 the largest demand",
        "low": "place that 2.5 % of other draws of seeds go below",
        "high": "place that 2.5 % of other draws of seeds go beyond",
    },
    "seeds": {
        "seeds": "seeds a cell, if estimates and spreads stay as they are",
        "decided": "share of the games that would have a verdict",
        "half_width": "median half-width of the demands' 95 % intervals",
        "icc_perceptual": "reliability of the mean perceptual demand over so many seeds",
        "icc_policy": "the same of the policy-learning demand",
    },
    "steps": {
        "steps": "a smaller budget, from the same curves",
        "decided": "share of the games that have a verdict at it",
        "perceptual": _CORRELATION.format("perceptual", "whole budget"),
        "policy": _CORRELATION.format("policy-learning", "whole budget"),
    },
    "cheaper": {
        "design": "a part of the survey's runs, or of their steps",
        "cost": "share of the steps of all cells",
        "perceptual": "share of the games in which it finds the demand present, absent or open as all runs do; steps "
        "take the spread over seeds alone",
        "policy": "the same of the policy-learning demand",
        "verdict": "share of the games with the same verdict; empty where it gives none",
        "decided": "share of the games with a verdict other than inconclusive",
        "contradicted": "share of the games in which both give such a verdict, and not the same",
    },
    "families": {
        "levels": "unseen or training",
        "score": "area, log_area or final",
        "perceptual": _CORRELATION.format("perceptual", "unseen levels' area"),
        "policy": _CORRELATION.format("policy-learning", "unseen levels' area"),
        "classes": "number of classes by this score",
        "rand": "adjusted Rand index between its classes and those of the unseen levels' area",
    },
    "cheap": {
        "game": "name of the game",
        "demand": _DEMAND,
        "factorial": "the demand by the four cells",
        "cheap": "the demand from generalisation alone: 1 - training score, or training less unseen score, of cell a",
        "low": "lower 95 % limit of the cheap estimate",
        "high": "its upper 95 % limit",
    },
    "cheap_agreement": {
        "demand": _DEMAND,
        "spearman": "rank correlation over games of the cheap estimate with the factorial",
        "low": "its lower 95 % limit",
        "high": "its upper 95 % limit",
    },
    "students": {
        "game": "name of the game",
        "view": "what the imitator sees",
        "levels": "training or unseen",
        "teacher": "the teacher's normalised score on these levels",
        "student": "mean over seeds of the imitator's normalised score at the end of the budget",
        "share": "the imitator's score as a share of the teacher's; empty where the teacher is no better than random",
        "share_low": "its lower 95 % limit, over seeds",
        "share_high": "its upper 95 % limit, over seeds",
    },
    "aggregates": {
        "demand": _DEMAND,
        "measure": "interquartile mean or mean, over games and seeds",
        "estimate": "in units of the normalised score",
        "low": "lower 95 % limit of a bootstrap over seeds, which with three seeds is too narrow",
        "high": "its upper 95 % limit",
    },
}
"""Meaning of the columns of each table."""
