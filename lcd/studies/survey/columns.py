"""Columns of a survey's tables: what they mean, which identify a row, and what values they may have."""

from __future__ import annotations

from typing import get_args

from lcd.measurement.rule import VerdictName
from lcd.measurement.scores import CELLS, LEVELS

TABLES = ("games", "scores", "curves", "demands", "runs")
"""Names of the tables of a survey."""
FILES = {f"{name}.csv": name for name in TABLES}
"""Names of the tables by their files."""
DECIMALS = 6
"""Of numbers in the files."""
ADDED = "runs.csv"
"""A file that the first surveys lack."""

COLUMNS = {
    "games": {
        "game": "name of the game",
        "budget": "environment steps each cell was trained for",
        "seeds": "number of seeds a cell",
        "preset": "name of the preset, see lcd.experiments.presets; empty if unknown",
        "mode": "Procgen's distribution mode, easy or hard",
        "appearance": "appearance of the frames, see lcd.envs.procgen.options.APPEARANCES; empty for the original",
        "training_levels": "number of levels that the learners train on",
        "encoder": "the learners' encoder",
        "learner": "what learns from reward, and what of its hyperparameters is not Procgen's usual; empty if unknown",
        "temperatures": "inverse temperatures of which the evaluation chooses one; 1 where actions are only sampled; "
        "empty if unknown",
        "arguments": "what the game was made with, as JSON: a game of another package or for calibration; else empty",
        "game_version": "package and version that the game is from; empty for the LCD's own and if unknown",
        "random": "return that counts as 0",
        "best": "return that counts as 1",
        "teacher": "where the teacher comes from: reference, trained, or a path; empty if unknown",
        "teacher_checksum": "SHA-256 of its file, or the checksum of the settings of the run that trained it",
        "teacher_training": "the teacher's mean return on training levels, in game points",
        "teacher_unseen": "the same on unseen levels",
        "core_hours": "cost of its runs, wall-clock time times threads; empty if unknown",
        "verdict": "what limits the learner, see lcd.measurement.rule",
        "reason": "the numbers that the verdict rests on, in a sentence",
        "would_decide": "what would decide an inconclusive one, in sentences",
        "cautions": "what the verdict does not cover, in sentences",
    },
    "scores": {
        "game": "name of the game",
        "view": "pixels or semantic",
        "learning": "rl or imitation",
        "seed": "seed of the run",
        "levels": "unseen or training",
        "area": "area under the normalised curve over the steps, divided by the budget",
        "log_area": "the same over the logarithm of the steps",
        "final": "normalised score at the end",
        "area_error": "standard error of area over episodes; likewise log_area_error and final_error",
        "log_area_error": "see area_error",
        "final_error": "see area_error",
    },
    "curves": {
        "game": "name of the game",
        "view": "pixels or semantic",
        "learning": "rl or imitation",
        "seed": "seed of the run",
        "levels": "unseen or training",
        "step": "environment steps trained so far",
        "return": "mean return of the evaluated episodes, in game points",
        "score": "the same, normalised: 0 is random, 1 is best",
        "score_error": "its standard error over episodes",
        "episodes": "number of episodes",
    },
    "demands": {
        "game": "name of the game",
        "quantity": "perceptual, policy, joint, gap, headroom, perceptual_gain, policy_gain: see docs/method.md",
        "levels": "unseen or training",
        "score": "area, log_area or final",
        "estimate": "in units of the normalised score",
        "low": "lower 95 % limit",
        "high": "upper 95 % limit",
        "over": "source of the variance: seeds, episodes or nothing",
    },
    "runs": {
        "game": "name of the game",
        "view": "pixels or semantic",
        "learning": "rl or imitation",
        "seed": "seed of the run",
        "run": "name of the run, which ends in a checksum of its settings",
        "training_version": "version of what decides what a run learns, see lcd.experiments.settings.TRAINING_VERSION",
        "precision": "of the encoder's numbers: float32 or bfloat16; empty if unknown",
        "core_hours": "its cost, wall-clock time times threads",
        "commit": "commit of the LCD, with + where files differed from it; empty if unknown",
        "finished": "date and time of its end, in UTC; empty if unknown",
        "machine": "processor or graphics card; empty if unknown",
    },
}
"""Meaning of the columns of each table."""

_CELL = frozenset({"game", "view", "learning", "levels"})

TEXTS = {
    "games": _CELL
    | {"preset", "mode", "appearance", "encoder", "learner", "temperatures", "arguments", "game_version"}
    | {"teacher", "teacher_checksum"}
    | {"verdict", "reason", "would_decide", "cautions"},
    "scores": _CELL,
    "curves": _CELL,
    "demands": _CELL | {"quantity", "score", "over"},
    "runs": _CELL | {"run", "precision", "commit", "finished", "machine"},
}
"""Columns of each table that hold texts; all others hold numbers."""

KEYS = {
    "games": ["game"],
    "scores": ["game", "view", "learning", "seed", "levels"],
    "curves": ["game", "view", "learning", "seed", "levels", "step"],
    "demands": ["game", "quantity", "levels", "score"],
    "runs": ["game", "view", "learning", "seed"],
}
"""Columns of each table that identify a row."""

_VIEWS, _LEARNERS = (tuple(dict.fromkeys(cell[place] for cell in CELLS.values())) for place in (0, 1))
_OF_CELLS = {"view": _VIEWS, "learning": _LEARNERS, "levels": LEVELS}

CHOICES = {
    "games": {"verdict": get_args(VerdictName)},
    "scores": _OF_CELLS,
    "curves": _OF_CELLS,
    "runs": {"view": _VIEWS, "learning": _LEARNERS},
}
"""Allowed values in columns of some tables."""

LEAST = {
    "games": {"budget": 1, "seeds": 1, "training_levels": 0, "core_hours": 0},
    "scores": {"area_error": 0, "log_area_error": 0, "final_error": 0},
    "curves": {"step": 0, "score_error": 0, "episodes": 1},
    "runs": {"core_hours": 0, "training_version": 0},
}
"""Smallest values in columns of some tables."""

WHOLE = {
    "games": ["budget", "seeds"],
    "scores": ["seed"],
    "curves": ["seed", "step", "episodes"],
    "runs": ["seed"],
}
"""Columns of each table that hold whole numbers."""

NEEDED = {
    "games": ["game", "budget", "random", "best", "verdict", "reason"],
    "scores": ["area", "log_area", "final"],
    "curves": ["return", "score"],
    "demands": ["estimate"],
    "runs": ["run", "training_version"],
}
"""Columns of each table, besides its keys, in which no value may be missing or infinite."""

ALIKE = ("budget", "mode", "appearance", "training_levels", "encoder", "learner", "temperatures")
"""Columns of `games` in which all games of a survey must agree: else learners differ, not only games."""

KNOWN_OF_SOME = ("mode", "learner", "temperatures", "training_version")
"""Settings that are compared where they are known: most families have no mode, earlier tables lack `LATER` or runs."""

LATER = {"games": ("learner", "temperatures", "arguments", "game_version"), "runs": ("precision",)}
"""Columns that earlier tables lack."""

SAME = ("preset", *ALIKE, "arguments", "game_version", "random", "best", "teacher_checksum")
"""Columns of `games` in which two diagnoses of a game must agree for their seeds to be pooled."""
