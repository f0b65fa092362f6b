"""Scaling: how gaps and demands change with steps, levels, width or frames, and how much more would close a gap."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lcd.io.files import check_output, replacing
from lcd.io.limits import NAME_IN_FIGURES, path, short
from lcd.io.untrusted import read_csv
from lcd.measurement.intervals import mean_limits
from lcd.measurement.scaling import (
    FEWEST_SIZES,
    FORMS,
    JUDGED_SIZES,
    STAYS,
    Fit,
    best_fit,
    exponent_limits,
    extrapolations,
    fits,
    multiple_limits,
    shown_multiple,
)
from lcd.measurement.scores import CELLS
from lcd.studies.figures import check_registered, registered
from lcd.studies.output import save_figure
from lcd.studies.survey.tables import SurveyTables

FIGURE = "scaling"
"""Name of the figure among the entry points ``lcd.figures``."""

KEYS = ("game", "quantity")

GAPS = {cell: f"gap of cell {cell}" for cell in CELLS}
"""Distance of each cell from the best return: 1 minus its score; that of d is the headroom."""

DEMANDS = {"perceptual": ("d", "c"), "policy": ("d", "b")}
"""Demands as differences of two cells."""

SOLVED = 0.1
"""Gap at which a cell counts as solved."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """What was fitted.

    Attributes
    ----------
    values
        One row a (game, quantity, size, seed): value.
    laws
        One row a (game, quantity): sizes, seeds, form (with the lowest criterion), ``aicc`` of each form, exponent (of
        the power law, with ``_low`` and ``_high``, see `lcd.measurement.scaling.exponent_limits`), last (mean value at
        the largest size), twice and tenfold (what the form predicts at 2 and at 10 times the largest size), and for
        gaps solved, with ``_low`` and ``_high``: the multiple of the largest size at which a gap of `SOLVED`
        is reached, see `lcd.measurement.scaling.multiple_limits`. For the gap of cell *a*, helped is the multiple at
        which it reaches the gap that the best of the other cells has at the largest size.
    extrapolation
        One row a (game, quantity, form, beyond): predicted, measured and error at the largest size, when it was fitted
        without that, and to the first half of the sizes, at least `lcd.measurement.scaling.JUDGED_SIZES`; see
        `lcd.measurement.scaling.extrapolations`. Empty where there are too few sizes.
    chosen
        The law of each (game, quantity).
    size
        What the sizes are.
    """

    values: pd.DataFrame
    laws: pd.DataFrame
    extrapolation: pd.DataFrame
    chosen: Mapping[tuple[str, str], Fit]
    size: str = "environment steps"

    def plot(self) -> Figure:
        """Draw the values with their laws."""
        return registered(FIGURE)(self.values, self.chosen, self.size)


def values_of_survey(curves: pd.DataFrame, levels: str = "unseen") -> pd.DataFrame:
    """Gaps and demands of a survey's games by step and seed.

    Parameters
    ----------
    curves : pandas.DataFrame
        Learning curves of a survey: game, view, learning, seed, levels, step and score.
    levels
        ``"unseen"`` or ``"training"``.

    Returns
    -------
    pandas.DataFrame
        One row a (game, quantity, size, seed): value. Step 0 is left out: no law has a size of 0.
    """
    used = curves[(curves["levels"] == levels) & (curves["step"] > 0)]
    letters = {kind: cell for cell, kind in CELLS.items()}
    used = used.assign(cell=[letters[kind] for kind in zip(used["view"], used["learning"], strict=True)])
    scores = used.pivot_table(index=["game", "step", "seed"], columns="cell", values="score")
    found = {GAPS[cell]: 1 - scores[cell] for cell in CELLS if cell in scores}
    for name, (more, less) in DEMANDS.items():
        if {more, less} <= set(scores):
            found[name] = scores[more] - scores[less]
    wide = pd.DataFrame(found).reset_index().rename(columns={"step": "size"})
    return wide.melt(["game", "size", "seed"], var_name="quantity")[[*KEYS, "size", "seed", "value"]].dropna()


def laws_of(values: pd.DataFrame) -> Scaling:
    """Fit all forms to each quantity of each game.

    Parameters
    ----------
    values : pandas.DataFrame
        One row a (game, quantity, size, seed): value.

    Raises
    ------
    ValueError
        If no quantity has `FEWEST_SIZES` + 1 sizes.
    """
    laws, errors, chosen = [], [], {}
    for (game, quantity), rows in values.groupby(list(KEYS), sort=False):
        by_seed = rows.pivot_table(index="seed", columns="size", values="value")
        if by_seed.shape[1] <= FEWEST_SIZES:
            continue
        if (lacking := by_seed.isna()).any(axis=None):
            row, column = np.argwhere(lacking.to_numpy())[0]
            raise ValueError(
                f"{quantity} of {game} lacks the size {by_seed.columns[column]:g} of seed {by_seed.index[row]}: leave "
                "out that seed, or that size of all seeds."
            )
        sizes, numbers = by_seed.columns.to_numpy(np.float64), by_seed.to_numpy(np.float64)
        means = numbers.mean(axis=0)
        # No return is above the best, unless that is the published one of a weaker learner, or a guess.
        least = min(0.0, float(means.min())) if quantity in GAPS.values() else -np.inf
        found = fits(sizes, means, least)
        best = chosen[str(game), str(quantity)] = best_fit(found)
        row = {"game": game, "quantity": quantity, "sizes": len(sizes), "seeds": len(numbers), "form": best.form}
        row |= {f"aicc_{form}": found[form].aicc if form in found else np.nan for form in FORMS}
        row |= _named("exponent", exponent_limits(sizes, numbers))
        row |= {"last": means[-1]}
        row |= {name: best.predict([by * sizes[-1]])[0] for name, by in (("twice", 2), ("tenfold", 10))}
        if quantity in GAPS.values():
            row |= _named("solved", multiple_limits(sizes, numbers, SOLVED))
        if quantity == GAPS["a"]:
            others = (
                values[(values["game"] == game) & (values["size"] == sizes[-1])].groupby("quantity")["value"].mean()
            )
            helped = float(others.reindex([GAPS[cell] for cell in "bcd"]).min())
            row |= _named("helped", multiple_limits(sizes, numbers, helped) if np.isfinite(helped) else (np.nan,) * 3)
        laws.append(row)
        for fitted in dict.fromkeys((len(sizes) - 1, max(JUDGED_SIZES, len(sizes) // 2))):
            if not JUDGED_SIZES <= fitted < len(sizes):
                continue
            table = extrapolations(sizes, means, sizes[-1] / sizes[fitted - 1], least)
            table["game"], table["quantity"] = str(game), str(quantity)
            errors.append(table)
    if not laws:
        raise ValueError(f"Nothing has more than {FEWEST_SIZES} sizes: scaling laws need that many, and one more.")
    columns = [*KEYS, "form", "beyond", "predicted", "measured", "error"]
    none = pd.DataFrame(columns=columns).astype(dict.fromkeys(columns[3:], np.float64))
    extrapolation = pd.concat(errors, ignore_index=True)[columns] if errors else none
    return Scaling(values, pd.DataFrame(laws), extrapolation, chosen)


def _named(name: str, limits: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), limits, strict=True))


def extrapolation_summary(extrapolation: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute error of each form's extrapolation.

    Returns
    -------
    pandas.DataFrame
        One row a (kind of quantity, beyond, form), the best form first: kind (demands, or gaps and others), beyond,
        form, quantities, error, and gain over `STAYS` in the same quantities with its 95 % t limits ``_low`` and
        ``_high`` over games.
    """
    kind = np.where(extrapolation["quantity"].isin(list(DEMANDS)), "demands", "gaps")
    table = extrapolation.assign(kind=kind, beyond=extrapolation["beyond"].round(2), error=extrapolation["error"].abs())
    keys = ["kind", "beyond", *KEYS]
    plain = table[table["form"] == STAYS].set_index(keys)["error"].rename("stays")
    table = table.join(plain, on=keys)
    rows = []
    for (name, beyond, form), group in table.groupby(["kind", "beyond", "form"]):
        gains = (group["stays"] - group["error"]).groupby(group["game"]).mean()
        rows.append((name, beyond, form, len(group), group["error"].mean(), *mean_limits(gains)))
    columns = ["kind", "beyond", "form", "quantities", "error", "gain", "gain_low", "gain_high"]
    return pd.DataFrame(rows, columns=columns).sort_values(["kind", "beyond", "error"], ignore_index=True)


def judgements(summary: pd.DataFrame) -> Iterator[str]:
    """Sentences that say whether the chosen laws predict better than that nothing changes.

    Parameters
    ----------
    summary
        See `extrapolation_summary`.
    """
    if summary.empty:
        yield f"Nothing tells how far these laws can be trusted: that takes {JUDGED_SIZES + 1} sizes or more."
    for (kind, beyond), rows in summary.groupby(["kind", "beyond"]):
        by_form = rows.set_index("form")
        chosen, stays = by_form.loc["chosen"], by_form.loc[STAYS]
        verdict = "which the games do not decide"
        if chosen["gain_low"] > 0:
            verdict = "so it may be trusted that far"
        elif chosen["gain_high"] < 0:
            verdict = "so do not trust it that far"
        yield (
            f"At {beyond:.2g} times the largest size that was fitted, the chosen law of {chosen['quantities']} {kind} "
            f"errs by {chosen['error']:.3f} on average, and no change by {stays['error']:.3f}, {verdict}."
        )


def more_steps(curves: pd.DataFrame) -> dict[str, str]:
    """How many more steps would bring each game's learner from frames and reward where help brings one, as a sentence.

    Parameters
    ----------
    curves : pandas.DataFrame
        As in `values_of_survey`.

    Returns
    -------
    dict of str to str
        By game; empty where there are too few evaluations, or a cell is missing.
    """
    try:
        found = laws_of(values_of_survey(curves))
    except ValueError:
        return {}
    if found.extrapolation.empty:
        return {}
    summary = extrapolation_summary(found.extrapolation)
    farthest = summary[(summary["kind"] == "gaps") & (summary["beyond"] == summary["beyond"].max())].set_index("form")
    trusted = farthest.loc["chosen", "gain_low"] > 0
    judged = "predicted better than that" if trusted else "did not predict better than that"
    caution = f"Such laws {judged} nothing changes when they were fitted to the first part of these curves."
    laws = found.laws[found.laws["quantity"] == GAPS["a"]]
    return {
        row["game"]: f"Scaling: by the {row['form']} law of its curve, the learner from frames and reward "
        f"{_needed(row)}. {caution}"
        for row in laws.to_dict("records")
        if np.isfinite(row["last"]) and not np.isnan(row.get("helped", np.nan))
    }


def _needed(row: Mapping[Hashable, Any]) -> str:
    """What a learner needs to come where help brings it, as the end of a sentence."""
    where = "where the best learner with help is now"
    if row["helped"] <= 1:
        return f"is {where}"
    low, high = (shown_multiple(row[f"helped_{end}"]) for end in ("low", "high"))
    limits = "" if np.isnan(row["helped_low"]) else f" (95 % limits {low} to {high})"
    if not np.isfinite(row["helped"]):
        return f"does not come {where} with 1,000 times as many{limits if np.isfinite(row['helped_low']) else ''}"
    return f"comes {where} with {shown_multiple(row['helped'])} times as many{limits}"


def read_values(file: Path, size: str, value: str, by: Sequence[str]) -> pd.DataFrame:
    """Read a table of one's own: a row a (setting, size, seed).

    Parameters
    ----------
    file
        A CSV file, with a column ``seed``.
    size, value
        Columns of the sizes and of the quantity.
    by
        Columns whose combinations are scaled apart.

    Raises
    ------
    ValueError
        If it is not such a table.
    """
    table = read_csv(file)
    needed = dict.fromkeys([*by, size, value, "seed"])
    if missing := [name for name in needed if name not in table]:
        raise ValueError(f"The table {file} has no column {short(missing[0])}: it has {', '.join(map(str, table))}.")
    for name in (size, value):
        table[name] = pd.to_numeric(table[name], errors="coerce")
        if not np.isfinite(table[name]).all() or (name == size and not (table[name] > 0).all()):
            what = "sizes above 0" if name == size else "finite numbers"
            raise ValueError(f"The column {name} of {file} must hold {what}.")
    for name in (*by, "seed"):
        if (lacking := table[name].isna()).any():
            raise ValueError(
                f"{file} lacks a value of {name} in line {lacking.argmax() + 2}: give it, or leave the row out."
            )
    games = table[list(by)].astype(str).agg(", ".join, axis=1) if by else pd.Series(value, table.index)
    for name in (size, value, *games.unique()):
        if NAME_IN_FIGURES.fullmatch(name) is None:
            raise ValueError(
                f"{file} has the name {short(name)}: a name has at most 200 signs, and no dollar sign or backslash."
            )
    found = pd.DataFrame({"game": games, "quantity": value, "size": table[size], "seed": table["seed"]})
    if (twice := found.duplicated()).any():
        row = found[twice].iloc[0]
        setting = f" of {row['game']}" if by else ""
        raise ValueError(
            f"{file} has several rows of {size} {row['size']:g} and seed {row['seed']}{setting}: name the columns in "
            f"which they differ, --by {','.join([*by, 'COLUMN'])}."
        )
    return found.assign(value=table[value])


def scaling(
    source: Path | str,
    *,
    levels: str | None = None,
    size: str | None = None,
    value: str | None = None,
    by: Sequence[str] = (),
    out: Path | str | None = None,
    figure: Path | str | None = None,
) -> Scaling:
    """Fit scaling laws to a survey, over the steps of its learning curves, or to a table of one's own.

    The command ``lcd scaling`` is this function.

    Parameters
    ----------
    source
        A folder of diagnoses, a survey that comes with the package, or with `size` a CSV file.
    levels
        Of a survey: ``"unseen"``, the default, or ``"training"``.
    size, value, by
        Of a file, see `read_values`; by default its values are in the column ``score``.
    out, figure
        Output files of the laws and of the figure; by default nothing is written.

    Raises
    ------
    ValueError
        If an argument is invalid; the message says what is allowed.
    """
    if levels not in (None, "unseen", "training"):
        raise ValueError(f"Unknown levels {short(levels)}: choose unseen or training.")
    if size is not None and levels is not None:
        raise ValueError(f"levels are those of a survey's curves, and size ({size}) is a column of a table: give one.")
    if size is None and (value is not None or by):
        raise ValueError("value and by name columns of a table: give size too, the column of its sizes.")
    table_file = None if out is None else check_output(path("out", out), ".csv", inputs=[source])
    figure_file = (
        None if figure is None else check_output(path("figure", figure), ".png", ".pdf", ".svg", inputs=[source])
    )
    if figure_file is not None:
        check_registered(FIGURE)
    if size is None:
        found = laws_of(values_of_survey(SurveyTables.read(source).curves, levels or "unseen"))
    else:
        found = replace(laws_of(read_values(path("source", source), size, value or "score", by)), size=size)
    if table_file is not None:
        with replacing(table_file) as partial:
            found.laws.round(5).to_csv(partial, index=False)
    if figure_file is not None:
        save_figure(found.plot(), figure_file)
    return found
