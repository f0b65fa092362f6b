"""From the tidy table of evaluated episodes to learning curves and to one score a cell and seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Cell = tuple[str, str]
Value = TypeVar("Value", float, "pd.Series[float]", NDArray[np.float64])

CELLS: Mapping[str, Cell] = MappingProxyType(
    {
        "a": ("pixels", "rl"),
        "b": ("semantic", "rl"),
        "c": ("pixels", "imitation"),
        "d": ("semantic", "imitation"),
    }
)
"""The cells of the factorial, (view, learning), under the letters the formulas use."""

LEVELS = ("unseen", "training")
SCORES = ("area", "log_area", "final")
PRIMARY = ("unseen", "area")
"""The score family, (levels, score), on which the verdict rests."""

COLUMNS = ("game", "view", "learning", "seed", "step", "levels", "episode", "level_seed", "return", "length")
_RUN = ["game", "view", "learning", "seed", "levels"]


@dataclass(frozen=True)
class Normalisation:
    """The two returns between which scores are counted.

    Attributes
    ----------
    random : float
        Mean return of a random policy; becomes score 0.
    best : float
        Return that becomes score 1.
    source : {"published", "measured", "computed"}
        Where the two come from.

    Raises
    ------
    ValueError
        If a constant is not finite, or `best` does not exceed `random`.
    """

    random: float
    best: float
    source: Literal["published", "measured", "computed"]

    def __post_init__(self) -> None:
        if not (np.isfinite(self.random) and np.isfinite(self.best)):
            raise ValueError(f"random={self.random} and best={self.best} must be finite returns")
        if self.best <= self.random:
            raise ValueError(
                f"best={self.best} must exceed random={self.random}: no score can be counted between them; "
                "measure the random policy again or name a better reference"
            )
        if self.source not in ("published", "measured", "computed"):
            raise ValueError(f"source={self.source!r} must be 'published', 'measured' or 'computed'")

    def score(self, value: Value) -> Value:
        """Return ``(value − random) / (best − random)``, in the shape of `value`."""
        return (value - self.random) / (self.best - self.random)


def check_episodes(episodes: pd.DataFrame, *, game: str, budget: int) -> pd.DataFrame:
    """Return the rows of one game after checking that a diagnosis can stand on them.

    Parameters
    ----------
    episodes : pandas.DataFrame
        One row an evaluated episode, with the columns of `COLUMNS`; steps in environment steps trained.
    game : str
        The game whose rows are wanted.
    budget : int
        Environment steps at which every curve ends.

    Returns
    -------
    pandas.DataFrame
        A copy with those rows only, sorted by run, step and episode, with the columns in the order of `COLUMNS`.

    Raises
    ------
    ValueError
        If a column, the game, a cell, a seed or a kind of level is missing, a return is not finite, an episode occurs
        twice, or a curve does not run from step 0 to the budget.
    """
    if missing := [name for name in COLUMNS if name not in episodes.columns]:
        raise ValueError(f"the episode table lacks the columns {missing}; it needs {list(COLUMNS)}")
    if budget <= 0:
        raise ValueError(f"budget={budget} must be a positive number of environment steps")
    table = episodes.loc[episodes["game"] == game, list(COLUMNS)].reset_index(drop=True)
    if table.empty:
        known = sorted(set(episodes["game"]))
        raise ValueError(f"no episode of game {game!r} in the table, which has {known}")
    bad = table[~np.isfinite(table["return"].to_numpy(dtype=np.float64))]
    if not bad.empty:
        first = bad.iloc[0]
        raise ValueError(
            f"{len(bad)} of {len(table)} returns are not finite, first {first['return']} of ({first['view']}, "
            f"{first['learning']}) seed {first['seed']} at step {first['step']}: train and evaluate that run again"
        )
    repeated = table.duplicated([*_RUN, "step", "episode"])
    if repeated.any():
        first = table[repeated].iloc[0]
        raise ValueError(
            f"episode {first['episode']} of ({first['view']}, {first['learning']}) seed {first['seed']} at step "
            f"{first['step']} on {first['levels']} levels occurs twice: was a run read twice?"
        )
    _check_runs(table, budget)
    # In one order, so that sums round alike however the runs were read.
    return table.sort_values([*_RUN, "step", "episode"], ignore_index=True)


def _check_runs(table: pd.DataFrame, budget: int) -> None:
    """Raise unless all four cells have the same seeds, both kinds of level, and curves from 0 to the budget."""
    found = set(zip(table["view"], table["learning"], strict=True))
    if unknown := sorted(found - set(CELLS.values())):
        raise ValueError(f"unknown cells (view, learning) {unknown}; the factorial has {list(CELLS.values())}")
    if unknown_levels := sorted(set(table["levels"]) - set(LEVELS)):
        raise ValueError(f"unknown levels {unknown_levels}; they are {list(LEVELS)}")
    if absent := [cell for cell in CELLS.values() if cell not in found]:
        raise ValueError(f"no episode of the cells {absent}: all four are needed, train these too")
    seeds = sorted(set(table["seed"]))
    steps = table.groupby(["view", "learning", "seed", "levels"])["step"]
    starts, ends = steps.min().to_dict(), steps.max().to_dict()
    for view, learning in CELLS.values():
        for seed in seeds:
            for levels in LEVELS:
                name = f"({view}, {learning}) seed {seed} on {levels} levels"
                run = (view, learning, seed, levels)
                if run not in starts:
                    raise ValueError(
                        f"no episode of {name}, seeds in the table are {seeds}: train it, or drop the seed"
                    )
                if starts[run] != 0 or ends[run] != budget:
                    raise ValueError(
                        f"the curve of {name} runs from step {starts[run]} to {ends[run]}, not from 0 to {budget}: "
                        "resume that run, or pass the budget it was trained for"
                    )


def learning_curves(episodes: pd.DataFrame, normalisation: Normalisation) -> pd.DataFrame:
    """Average the episodes of each evaluation.

    Parameters
    ----------
    episodes : pandas.DataFrame
        A table that :func:`check_episodes` returned.
    normalisation : Normalisation
        The constants of the game.

    Returns
    -------
    pandas.DataFrame
        One row an evaluation: game, view, learning, seed, levels, step (environment steps), return (mean, game
        points), score (normalised), score_error (standard error of the score over its episodes, taken as independent;
        NaN for a single episode), episodes (their number).
    """
    returns = episodes.groupby([*_RUN, "step"])["return"]
    scale = normalisation.best - normalisation.random
    columns = {
        "return": returns.mean(),
        "score": normalisation.score(returns.mean()),
        "score_error": returns.std() / np.sqrt(returns.count()) / scale,
        "episodes": returns.count(),
    }
    return pd.DataFrame(columns).reset_index()


def cell_scores(curves: pd.DataFrame, budget: int) -> pd.DataFrame:
    """Score every run on each kind of level.

    The area is the trapezoid of the normalised curve over the steps, divided by the budget, so that a constant curve
    scores its own height. The logarithmic area is the same over the logarithm of the steps, from the first evaluation
    after the start: what makes a curve rise twice as late costs the same wherever it would have risen. Errors are
    propagated through the same weights, evaluations taken as independent.

    Parameters
    ----------
    curves : pandas.DataFrame
        What :func:`learning_curves` returned.
    budget : int
        Environment steps at which every curve ends.

    Returns
    -------
    pandas.DataFrame
        One row a (game, view, learning, seed, levels): a column for each of `SCORES`, and one with ``_error`` behind it
        (standard error over episodes), all in units of the normalised score.
    """
    rows = []
    for key, curve in curves.sort_values("step").groupby(_RUN):
        steps = curve["step"].to_numpy(dtype=np.float64)
        score = curve["score"].to_numpy(dtype=np.float64)
        error = curve["score_error"].to_numpy(dtype=np.float64)
        weights = {
            "area": _trapezoid(steps / budget),
            "log_area": np.append(0.0, _trapezoid(np.log(steps[1:]))),
            "final": np.eye(len(steps))[-1],
        }
        row = dict(zip(_RUN, key, strict=True))
        row |= {name: float(weights[name] @ score) for name in SCORES}
        rows.append(row | {f"{name}_error": float(np.sqrt(weights[name] ** 2 @ error**2)) for name in SCORES})
    return pd.DataFrame(rows)


def _trapezoid(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the trapezoid rule for the mean of a curve that is known at some places, in order."""
    if len(places) == 1:
        return np.ones(1)
    gaps = np.diff(places) / (places[-1] - places[0])
    return (np.append(gaps, 0.0) + np.insert(gaps, 0, 0.0)) / 2


def mean_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """Average the curves of a cell over seeds, with the range between the lowest and the highest seed.

    Parameters
    ----------
    curves : pandas.DataFrame
        What :func:`learning_curves` returned. Seeds evaluated at different steps are joined by linear interpolation.

    Returns
    -------
    pandas.DataFrame
        One row a (view, learning, levels, step): mean, low, high (normalised score) and seeds (their number).
    """
    parts = []
    for (view, learning, levels), cell in curves.sort_values("step").groupby(["view", "learning", "levels"]):
        steps = np.unique(cell["step"].to_numpy())
        runs = np.stack([np.interp(steps, run["step"], run["score"]) for _, run in cell.groupby("seed")])
        summary = {"step": steps, "mean": runs.mean(0), "low": runs.min(0), "high": runs.max(0), "seeds": len(runs)}
        parts.append(pd.DataFrame({"view": view, "learning": learning, "levels": levels, **summary}))
    return pd.concat(parts, ignore_index=True)


def late_gains(curves: pd.DataFrame, levels: str = "unseen") -> pd.DataFrame:
    """Tell how far each cell came, and how much of it came at the end.

    Parameters
    ----------
    curves : pandas.DataFrame
        What :func:`learning_curves` returned.
    levels : {"unseen", "training"}
        Levels to look at.

    Returns
    -------
    pandas.DataFrame
        Indexed by the letter of the cell: final, gain (final minus first) and late_gain (final minus the score at two
        thirds of the budget), means over seeds in units of the normalised score.
    """
    means = mean_curves(curves[curves["levels"] == levels])
    rows = {}
    for letter, (view, learning) in CELLS.items():
        cell = means[(means["view"] == view) & (means["learning"] == learning)]
        score = cell["mean"].to_numpy(dtype=np.float64)
        late = float(np.interp(cell["step"].iloc[-1] * 2 / 3, cell["step"], score))
        rows[letter] = {"final": score[-1], "gain": score[-1] - score[0], "late_gain": score[-1] - late}
    return pd.DataFrame.from_dict(rows, orient="index")
