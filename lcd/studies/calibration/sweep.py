"""The runs of a calibration: every difficulty factor of Courier varied alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, field, replace
from typing import Annotated, Any

import pandas as pd
from pydantic import AfterValidator, Field, model_validator

from lcd.envs.calibration.courier import EPISODE, Rules, num_distractors
from lcd.envs.calibration.difficulty import PERCEPTUAL, POLICY, DifficultyFactors
from lcd.envs.calibration.options import CourierOptions
from lcd.experiments.plan import GamePlan, Plan, plan_game
from lcd.experiments.presets import Preset
from lcd.experiments.settings import Hyperparameters
from lcd.experiments.store import Store
from lcd.io.settings import AS_FLOAT, LISTED, Number, Several, Text, one_of, settings
from lcd.measurement.scores import cell_scores, check_episodes
from lcd.studies.finished_runs import episodes_of

FORMAT = "lcd.sweep/1"

PRESET = Preset(
    steps=98_304,
    seeds=3,
    evaluations=10,
    spacing="geometric",
    evaluation_episodes=64,
    encoder="small",
    num_levels=100_000,
    hyperparameters=Hyperparameters(rollout_steps=EPISODE, minibatches=8, gamma=0.99),
)
"""What calibration spends on each cell of each setting. Rollouts are whole episodes, as all games begin together:
halves of episodes would differ in their rewards, which may be paid at the end."""

MOST_VALUES = 101
"""Limit of the settings of a factor: each needs an optimal policy, and four cells of runs."""


@settings
class Sweep:
    """A sweep of difficulty factors, one at a time, with the others held constant.

    Attributes
    ----------
    factors
        Names of the factors to vary.
    values
        Settings of each.
    base
        Settings of the factors that are held constant.
    preset
        Budget of each cell of each setting.
    """

    factors: Several[Annotated[Text, one_of((*PERCEPTUAL, *POLICY), "difficulty factor")]] = (*PERCEPTUAL, *POLICY)
    values: Annotated[
        tuple[Annotated[Number, AS_FLOAT], ...],
        Field(max_length=MOST_VALUES),
        LISTED,
        AfterValidator(lambda values: tuple(sorted(values))),
    ] = (0.0, 0.25, 0.5, 0.75, 1.0)
    base: DifficultyFactors = field(default_factory=DifficultyFactors)
    preset: Preset = PRESET

    @model_validator(mode="after")
    def _check(self) -> Sweep:
        if len(set(self.factors)) < max(1, len(self.factors)):
            raise ValueError(f"Every factor is swept once, unlike in {', '.join(self.factors) or 'an empty list'}.")
        if len(set(self.values)) < max(2, len(self.values)):
            raise ValueError(f"A factor is swept over two or more different settings, not over {list(self.values)}.")
        for factor in self.factors:
            games = [_as_played(replace(self.base, **{factor: value})) for value in self.values]
            for one, other, sooner, later in zip(games, games[1:], self.values, self.values[1:], strict=False):
                if one == other:
                    raise ValueError(
                        f"The factor {factor} has whole steps, and {sooner:g} and {later:g} are the same game: "
                        "choose settings farther apart."
                    )
        return self

    def settings(self) -> Iterator[tuple[str, float, DifficultyFactors]]:
        """Each factor at each value, with the settings of all factors."""
        for factor in self.factors:
            for value in self.values:
                yield factor, value, replace(self.base, **{factor: value})

    def plan(self) -> Plan:
        """All runs, without duplicates where factors share a setting."""
        return Plan(
            tuple(plan_setting(factors, self.preset) for factors in dict.fromkeys(row[2] for row in self.settings()))
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data that describes the sweep completely."""
        data = asdict(self)
        return {"format": FORMAT, "dials": data.pop("factors")} | data


def _as_played(factors: DifficultyFactors) -> tuple[object, ...]:
    """What the factors amount to, in the games' whole numbers."""
    perceptual = tuple(getattr(factors, factor) for factor in PERCEPTUAL if factor != "distractors")
    return (Rules.of(factors), num_distractors(factors), *perceptual)


def plan_setting(factors: DifficultyFactors, preset: Preset) -> GamePlan:
    """Plan the four cells of one setting of the factors.

    The teacher is the optimal policy. Scores are normalised by the computed returns of the random and of the optimal
    policy, which is what a policy returns by sampling: no other temperature is tried.
    """
    return plan_game(CourierOptions(factors), replace(preset, inverse_temperatures=(1.0,)))


def sweep_scores(sweep: Sweep, store: Store, budget: int | None = None) -> pd.DataFrame:
    """Score every run of a sweep.

    Parameters
    ----------
    sweep, store
        The sweep, and the store of its runs.
    budget
        Score only the curves up to this evaluated step, as a sweep with a smaller budget would.

    Returns
    -------
    pandas.DataFrame
        One row a (dial, value, view, learning, seed, levels): name and value of the factor, followed by the columns of
        `lcd.measurement.scores.cell_scores`. A setting that several factors share occurs once for each of them.

    Raises
    ------
    lcd.experiments.store.StoreError
        If a run is missing or damaged.
    """
    of_settings: dict[DifficultyFactors, pd.DataFrame] = {}
    parts: list[pd.DataFrame] = []
    for factor, value, factors in sweep.settings():
        if factors not in of_settings:
            of_settings[factors] = _scores(plan_setting(factors, sweep.preset), store, budget)
        parts.append(of_settings[factors].assign(dial=factor, value=value))
    table = pd.concat(parts, ignore_index=True).drop(columns="game")
    first: Sequence[str] = ("dial", "value")
    return table[[*first, *(name for name in table.columns if name not in first)]]


def _scores(plan: GamePlan, store: Store, budget: int | None) -> pd.DataFrame:
    budget = budget or plan.budget
    episodes = episodes_of(plan, store)
    checked = check_episodes(episodes[episodes["step"] <= budget], game=plan.game, budget=budget)
    assert plan.normalisation is not None, "it is computed"
    return cell_scores(checked, plan.normalisation, budget)
