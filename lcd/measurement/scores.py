"""Learning curves, and one score for each cell and seed, from the tidy table of evaluated episodes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import model_validator

from lcd.io.settings import Number, settings

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
"""Columns of every table of evaluated episodes."""
OPTIONAL_COLUMNS = ("rule", "inverse_temperature")
"""Columns of tables whose episodes were played by more than one rule of acting."""

TEMPERED, SAMPLED = "tempered", "sampled"
"""Rules of acting: at the inverse temperature with the highest return on training levels, or by sampling from the
unchanged policy. Demands use the first where a table has it."""
NARROWEST = 1e-6
"""Smallest range between the constants, as a share of the larger one."""

LEAST_RANGE = 1e-30
"""Smallest range between the constants: squares of smaller returns are no numbers in single precision."""

_RUN = ["game", "view", "learning", "seed", "levels"]


@settings
class Normalisation:
    """Normalisation constants: the returns that count as scores 0 and 1.

    Attributes
    ----------
    random : float
        Mean return of a random policy; becomes score 0.
    best : float
        Return that becomes score 1.
    source : {"published", "measured", "computed", "given"}
        Where the two come from.

    Raises
    ------
    ValueError
        If a constant is no finite number, or `best` does not exceed `random` by more than returns are rounded.
    """

    random: Number
    best: Number
    source: Literal["published", "measured", "computed", "given"]

    @model_validator(mode="after")
    def _check_range(self) -> Normalisation:
        # As a share of the larger one: below it single precision, in which returns are counted, tells nothing apart.
        narrowest = max(LEAST_RANGE, NARROWEST * max(abs(self.random), abs(self.best)))
        if not narrowest < self.best - self.random < np.inf:
            raise ValueError(
                f"best={self.best} must exceed random={self.random}: no score can be counted between them; "
                "measure the random policy again or name a better reference"
            )
        return self

    def score(self, value: Value) -> Value:
        """Return ``(value − random) / (best − random)``, in the shape of `value`."""
        return (value - self.random) / (self.best - self.random)


def played_by(episodes: pd.DataFrame, rule: str = TEMPERED) -> pd.DataFrame:
    """Select the episodes that were played by one rule of acting.

    Parameters
    ----------
    episodes : pandas.DataFrame
        One row an evaluated episode, with a column `rule` where there are several.
    rule : {"tempered", "sampled"}
        The rule that is wanted.

    Returns
    -------
    pandas.DataFrame
        The rows of that rule; all rows of a table that knows one rule only.
    """
    if "rule" not in episodes.columns or episodes["rule"].nunique() < 2:
        return episodes
    return episodes[episodes["rule"] == rule]


def check_episodes(episodes: pd.DataFrame, *, game: str, budget: int, rule: str = TEMPERED) -> pd.DataFrame:
    """Validate the table of episodes, and return the rows of one game.

    Parameters
    ----------
    episodes : pandas.DataFrame
        One row an evaluated episode, with the columns of `COLUMNS`; steps in environment steps trained.
    game : str
        The game whose rows are wanted.
    budget : int
        Environment steps at which every curve ends.
    rule : {"tempered", "sampled"}
        Rule of acting whose episodes are wanted, where the table has several.

    Returns
    -------
    pandas.DataFrame
        A copy with those rows only, sorted by run, step and episode, with the columns in the order of `COLUMNS` and,
        where the table has them, `OPTIONAL_COLUMNS`.

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
    columns = [*COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in episodes.columns)]
    table = played_by(episodes.loc[episodes["game"] == game, columns], rule).reset_index(drop=True)
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
    """Check that all four cells have the same seeds, both kinds of level, and curves from 0 to the budget."""
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
        points), score (normalised), score_error (standard error of the score over its episodes; NaN for a single one; a
        run's errors at different steps are alike, for its evaluations play the same levels), episodes (their number).
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


def cell_scores(episodes: pd.DataFrame, normalisation: Normalisation, budget: int) -> pd.DataFrame:
    """Score every run on each kind of level, with the standard error over its episodes.

    Every evaluation of a run plays the same levels, so that its errors at different steps are alike: an easy level is
    easy at all of them. An episode's number stands for its level, and each contributes its own weighted curve; the
    standard error is that of a mean over these (the variance of a clustered mean, each level a cluster). It is right
    for evaluations on fresh levels, too.

    Parameters
    ----------
    episodes : pandas.DataFrame
        A table that :func:`check_episodes` returned.
    normalisation : Normalisation
        The constants of the game.
    budget : int
        Environment steps at which every curve ends.

    Returns
    -------
    pandas.DataFrame
        One row a (game, view, learning, seed, levels): the columns of :func:`curve_scores`, and for each score one with
        ``_error`` behind it (standard error over episodes; NaN where an evaluation has a single one), all in units of
        the normalised score.

    References
    ----------
    Liang, K.-Y. and Zeger, S. L. (1986), "Longitudinal data analysis using generalized linear models", Biometrika 73.
    """
    rows = []
    for key, run in episodes.groupby(_RUN):
        returns = run.pivot(index="step", columns="episode", values="return")  # noqa: PD010 (faster: no two to average)
        counts = returns.count(axis=1).to_numpy(dtype=np.float64)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.sqrt(counts / (counts - 1)) / counts / (normalisation.best - normalisation.random)
            parts = returns.sub(returns.mean(axis=1), axis=0).fillna(0.0).to_numpy() * spread
        row = dict(zip(_RUN, key, strict=True))
        for score, weights in _weights(returns.index.to_numpy(dtype=np.float64), budget).items():
            used = weights != 0
            row[f"{score}_error"] = float(np.linalg.norm(weights[used] @ parts[used]))
        rows.append(row)
    scores = curve_scores(learning_curves(episodes, normalisation), budget)
    return scores.merge(pd.DataFrame(rows), on=_RUN, validate="one_to_one")


def curve_scores(curves: pd.DataFrame, budget: int) -> pd.DataFrame:
    """Score every run on each kind of level from its learning curve.

    The area is the trapezoid of the normalised curve over the steps, divided by the budget, so that a constant curve
    scores its own height. The logarithmic area is the same over the logarithm of the steps, from the first evaluation
    after the start: what makes a curve rise twice as late costs the same wherever it would have risen.

    Parameters
    ----------
    curves : pandas.DataFrame
        What :func:`learning_curves` returned.
    budget : int
        Environment steps at which every curve ends.

    Returns
    -------
    pandas.DataFrame
        One row a (game, view, learning, seed, levels): a column for each of `SCORES`, in units of the normalised score.
    """
    rows = []
    for key, curve in curves.sort_values("step").groupby(_RUN):
        score = curve["score"].to_numpy(dtype=np.float64)
        weights = _weights(curve["step"].to_numpy(dtype=np.float64), budget)
        rows.append(dict(zip(_RUN, key, strict=True)) | {name: float(weights[name] @ score) for name in SCORES})
    return pd.DataFrame(rows)


def _weights(steps: NDArray[np.float64], budget: int) -> dict[str, NDArray[np.float64]]:
    """Weight of each evaluation of a curve in each of `SCORES`."""
    return {
        "area": _trapezoid(steps / budget),
        "log_area": np.append(0.0, _trapezoid(np.log(steps[1:]))),
        "final": np.eye(len(steps))[-1],
    }


def _trapezoid(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the trapezoid rule for the mean of a curve over sorted positions."""
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
    """Final score of each cell, its gain over training, and the gain in the last third.

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
