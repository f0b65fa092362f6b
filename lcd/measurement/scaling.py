"""Scaling laws: how a quantity changes with steps, levels, width or frames, and where it would be beyond them.

Five forms are fitted to a quantity y at sizes x and compared:

- **constant**, ``y = c``;
- **logarithmic**, ``y = c + m log x``;
- **power**, ``y = a x^−b``, of quantities above 0, such as the gap between a learner and the best return;
- **saturating**, ``y = c + a x^−b`` with b above 0: something is left however large x is;
- **broken**, a power law whose exponent changes at one x (the sharp limit of Caballero et al., 2023, *Broken Neural
  Scaling Laws*, arXiv:2210.14891), for learners that begin to learn late.

A form that describes the sizes that were measured need not hold beyond them, so each is also fitted without the largest
and judged by what it predicts there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from lcd.measurement.intervals import mean_limits

Floats = NDArray[np.float64]
Form = Literal["constant", "logarithmic", "power", "saturating", "broken"]
FORMS: tuple[Form, ...] = get_args(Form)

NUMBER_OF_PARAMETERS: dict[Form, int] = {"constant": 1, "logarithmic": 2, "power": 2, "saturating": 3, "broken": 4}
POSITIVE: tuple[Form, ...] = ("power", "broken")
"""Forms of quantities above 0."""

STAYS = "stays"
"""The simplest prediction: the quantity stays what it was at the largest size that was fitted."""

FEWEST_SIZES = 5
"""Smallest number of sizes to which forms are fitted: with fewer only a constant has a finite criterion, and would
always be chosen."""

JUDGED_SIZES = 7
"""Smallest number of sizes from which a law is chosen to be judged by what it predicts: with fewer not every form has a
finite criterion, and its correction for small samples prefers a constant to what is no constant."""

SMALLEST_EXPONENT, LARGEST_EXPONENT = 0.01, 5.0
"""Limits of the exponent of a power law and of a saturating one."""

FARTHEST = 1_000.0
"""Multiple of the largest size beyond which nothing is predicted."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A form that was fitted.

    Attributes
    ----------
    form
        Its name.
    parameters : numpy.ndarray, shape (parameters,)
        In the order of the form's formula: c; c, m; a, b; c, a, b; and for the broken one log y and log x at the
        break, and the exponents before and after it.
    unit
        The largest size, in whose units x is taken.
    aicc
        Akaike's criterion, corrected for small samples; lower is better, infinite for too few sizes.
    least
        Smallest value that the quantity can have: nothing lower is predicted.
    """

    form: Form
    parameters: Floats
    unit: float
    aicc: float
    least: float = -np.inf

    def predict(self, sizes: ArrayLike) -> Floats:
        """The quantity at some sizes."""
        values = _value(self.form, self.parameters, np.asarray(sizes, np.float64) / self.unit)
        return np.maximum(values, self.least)

    def reaches(self, value: float, largest: float = FARTHEST) -> float:
        """The smallest size, beyond the largest that was fitted, at which the quantity falls to a value.

        Parameters
        ----------
        value
            The value.
        largest
            Multiple of the largest size up to which it is looked for.

        Returns
        -------
        float
            The largest size itself where it is as low there; infinite where it is not reached.
        """
        sizes = self.unit * np.geomspace(1, largest, 2_000)
        below = np.flatnonzero(self.predict(sizes) <= value)
        return float(sizes[below[0]]) if len(below) else np.inf


def _value(form: Form, parameters: Floats, x: Floats) -> Floats:
    if form == "constant":
        return np.full_like(x, parameters[0])
    if form == "logarithmic":
        return parameters[0] + parameters[1] * np.log(x)
    if form == "power":
        return parameters[0] * x ** -parameters[1]
    if form == "saturating":
        return parameters[0] + parameters[1] * x ** -parameters[2]
    height, place, before, after = parameters
    beyond = np.log(x) - place
    return np.exp(height - before * np.minimum(beyond, 0) - after * np.maximum(beyond, 0))


def fit(form: Form, sizes: ArrayLike, values: ArrayLike) -> Fit:
    """Fit a form by least squares.

    Parameters
    ----------
    form
        One of `FORMS`.
    sizes : array_like, shape (sizes,)
        Above 0, at least `FEWEST_SIZES`.
    values : array_like, shape (sizes,)
        The quantity.

    Raises
    ------
    ValueError
        If there are too few sizes, or the form does not take the values.
    """
    x, y = np.asarray(sizes, np.float64), np.asarray(values, np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(np.unique(x)) < FEWEST_SIZES:
        raise ValueError(f"A scaling law is fitted to {FEWEST_SIZES} sizes or more, not to {len(np.unique(x))}.")
    if not (np.isfinite(x).all() and np.isfinite(y).all() and (x > 0).all()):
        raise ValueError("A scaling law is fitted to finite values at sizes above 0.")
    if form in POSITIVE and not (y > 0).all():
        raise ValueError(f"A {form} law is fitted to values above 0.")
    unit = float(x.max())
    parameters = _fitted(form, x / unit, y)
    squares = float(np.square(_value(form, parameters, x / unit) - y).sum())
    least = max(1e-12 * float(np.square(y).sum()), float(np.finfo(np.float64).tiny))  # of rounding, in any unit
    return Fit(form, parameters, unit, _aicc(max(squares, least), len(y), NUMBER_OF_PARAMETERS[form]))


def _aicc(squares: float, count: int, parameters: int) -> float:
    parameters += 1  # the variance
    if count <= parameters + 1:
        return np.inf
    return count * np.log(squares / count) + 2 * parameters * count / (count - parameters - 1)


def _fitted(form: Form, x: Floats, y: Floats) -> Floats:
    if form == "constant":
        return np.array([y.mean()])
    if form == "logarithmic":
        slope, start = np.polyfit(np.log(x), y, 1)
        return np.array([start, slope])
    if form == "broken":
        return _broken(x, y)
    return _power(x, y, constant=form == "saturating")


def _power(x: Floats, y: Floats, *, constant: bool) -> Floats:
    """The exponent by a search, and what is linear by least squares for each."""

    def linear(exponent: float) -> tuple[Floats, float]:
        columns = np.stack([np.ones_like(x)] * constant + [x**-exponent], axis=1)
        found = np.linalg.lstsq(columns, y, rcond=None)[0]
        return found, float(np.square(columns @ found - y).sum())

    grid = np.geomspace(SMALLEST_EXPONENT, LARGEST_EXPONENT, 60)
    if not constant:
        grid = np.concatenate([-grid[::-1], [0.0], grid])  # the quantity may rise, too
    best = int(np.argmin([linear(exponent)[1] for exponent in grid]))
    around = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    found = optimize.minimize_scalar(lambda exponent: linear(exponent)[1], bounds=around, method="bounded")
    exponent = float(found.x) if found.fun <= linear(grid[best])[1] else float(grid[best])
    return np.append(linear(exponent)[0], exponent)


def _broken(x: Floats, y: Floats) -> Floats:
    """From every break, fitted in logarithms, to least squares of the values themselves: the best one."""
    log_x, log_y = np.log(x), np.log(y)
    best, chosen = np.inf, np.zeros(4)
    places = np.unique(log_x)
    low, high = np.array([-np.inf, places[0], -50, -50]), np.array([np.inf, places[-1], 50, 50])
    for place in np.concatenate([places[1:-1], (places[1:] + places[:-1])[1:-1] / 2]):
        beyond = log_x - place
        columns = np.stack([np.ones_like(x), -np.minimum(beyond, 0), -np.maximum(beyond, 0)], axis=1)
        height, before, after = np.linalg.lstsq(columns, log_y, rcond=None)[0]
        start = np.clip([height, place, before, after], low, high)
        found = optimize.least_squares(lambda each: _value("broken", each, x) - y, start, bounds=(low, high))
        if found.cost < best:
            best, chosen = found.cost, found.x
    return chosen


def fits(sizes: ArrayLike, values: ArrayLike, least: float = -np.inf) -> dict[Form, Fit]:
    """Fit all forms that take the values, by name; `least` is the smallest value that the quantity can have."""
    usable = [form for form in FORMS if form not in POSITIVE or (np.asarray(values) > 0).all()]
    return {form: replace(fit(form, sizes, values), least=least) for form in usable}


def best_fit(found: dict[Form, Fit]) -> Fit:
    """The fit with the lowest criterion."""
    return min(found.values(), key=lambda each: each.aicc)


def extrapolations(sizes: ArrayLike, values: ArrayLike, times: float = 1.0, least: float = -np.inf) -> pd.DataFrame:
    """What each form predicts at the largest size when it is fitted to smaller ones.

    Parameters
    ----------
    sizes : array_like, shape (sizes,)
        At least `FEWEST_SIZES` of them are fitted.
    values : array_like, shape (sizes,)
    times
        What is fitted are sizes below the largest, and up to the largest divided by this number.
    least
        Smallest value that the quantity can have.

    Returns
    -------
    pandas.DataFrame
        One row a form, with `STAYS` for the last value and ``chosen`` for the form with the lowest criterion:
        beyond (the largest size as a multiple of the largest that was fitted), predicted, measured and error, predicted
        less measured.

    Raises
    ------
    ValueError
        If there are too few sizes.
    """
    order = np.argsort(sizes)
    x, y = np.asarray(sizes, np.float64)[order], np.asarray(values, np.float64)[order]
    used = np.flatnonzero((x < x[-1]) & (x <= x[-1] / times * (1 + 1e-9)))
    found = fits(x[used], y[used], least)
    predicted: dict[str, float] = {form: float(each.predict(x[-1:])[0]) for form, each in found.items()}
    predicted["chosen"] = predicted[best_fit(found).form]
    predicted[STAYS] = float(y[used[-1]])
    table = pd.DataFrame(
        {"form": list(predicted), "beyond": x[-1] / x[used[-1]], "predicted": list(predicted.values())}
    )
    return table.assign(measured=y[-1], error=table["predicted"] - y[-1])


def exponent_limits(sizes: ArrayLike, values: ArrayLike) -> tuple[float, float, float]:
    """Exponent of a power law, fitted to each seed, with 95 % t limits over seeds.

    Parameters
    ----------
    sizes : array_like, shape (sizes,)
    values : array_like, shape (seeds, sizes)
        The quantity.

    Returns
    -------
    mean, low, high : float
        Above 0 where the quantity falls. The limits are NaN for one seed, and all three where a value is not above 0:
        no power law describes that.
    """
    if not (np.asarray(values) > 0).all():
        return np.nan, np.nan, np.nan
    return mean_limits([fit("power", sizes, each).parameters[1] for each in np.atleast_2d(values)])


def multiple_limits(sizes: ArrayLike, values: ArrayLike, target: float) -> tuple[float, float, float]:
    """How many times the largest size is needed for a quantity to fall to a target, with limits over seeds.

    The estimate is that of the law of the mean over seeds, the form with the lowest criterion. Limits are of the
    logarithm of the multiple by the same form of each seed (95 %, Student's t), widened to hold the estimate. Where
    some seeds do not reach the target nothing is known: they are 1 and infinite, or where nothing does, infinite both.

    Parameters
    ----------
    sizes : array_like, shape (sizes,)
    values : array_like, shape (seeds, sizes)
    target
        The value.

    Returns
    -------
    estimate, low, high : float
        1 where it is reached; infinite from `FARTHEST` times on. The limits are NaN for one seed.
    """
    every = np.atleast_2d(np.asarray(values, np.float64))
    x = np.asarray(sizes, np.float64)
    law = best_fit(fits(x, every.mean(axis=0)))
    estimate = law.reaches(target) / x.max()
    usable = [law.form if law.form not in POSITIVE or (each > 0).all() else "saturating" for each in every]
    found = [fit(form, x, each).reaches(target) / x.max() for form, each in zip(usable, every, strict=True)]
    if len(found) < 2:
        return estimate, np.nan, np.nan
    if not np.isfinite(found).all():
        return estimate, np.inf if np.isinf([estimate, *found]).all() else 1.0, np.inf
    _, low, high = np.exp(mean_limits(np.log(found)))
    return estimate, max(1.0, min(estimate, low)), max(estimate, float(high) if high < FARTHEST else np.inf)


def shown_multiple(multiple: float) -> str:
    """A multiple of a size as text: two digits of what is below 10, and ``>1,000`` for what is infinite."""
    return f">{FARTHEST:,.0f}" if np.isinf(multiple) else f"{multiple:.2g}" if multiple < 9.5 else f"{multiple:,.0f}"
