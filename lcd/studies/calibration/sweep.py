"""The runs of a calibration: every dial of Courier turned alone, as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pandas as pd

from lcd.envs.calibration.courier import EPISODE, Rules, num_distractors
from lcd.envs.calibration.dials import PERCEPTUAL, POLICY, Dials
from lcd.envs.calibration.optimum import expected_returns
from lcd.experiments.plan import GamePlan, Plan, cells_of, evaluated_steps, weights_checksum
from lcd.experiments.presets import Preset
from lcd.experiments.settings import CALIBRATION_GAME, EXPERT, Evaluation, Hyperparameters, RunSettings
from lcd.experiments.store import Store
from lcd.measurement.scores import Normalisation, cell_scores, check_episodes

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
"""What calibration spends on each cell of each setting. All games begin together, and so rollouts are whole episodes:
halves would differ in their rewards, for debts are paid at the end."""

MOST_VALUES = 101
"""Settings of a dial: each is a game whose best player is computed, and four cells of runs."""

_UNFELT_BY_IMITATION = ("delay", "sparsity")


@dataclass(frozen=True)
class Sweep:
    """Dials turned one at a time, all others left where they are.

    Attributes
    ----------
    dials
        Names of the dials to turn.
    values
        Settings of each.
    base
        Where the dials are that are not turned.
    preset
        What to spend on each cell of each setting.
    """

    dials: tuple[str, ...] = (*PERCEPTUAL, *POLICY)
    values: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    base: Dials = field(default_factory=Dials)
    preset: Preset = PRESET

    def __post_init__(self) -> None:
        known = (*PERCEPTUAL, *POLICY)
        for dial in self.dials:
            if dial not in known:
                raise ValueError(f"Unknown dial {dial!r}: choose among {', '.join(known)}.")
        if len(set(self.dials)) < max(1, len(self.dials)):
            raise ValueError(f"Every dial is swept once, unlike in {', '.join(self.dials) or 'an empty list'}.")
        if len(self.values) > MOST_VALUES:
            raise ValueError(f"A dial is swept over at most {MOST_VALUES} settings, not over {len(self.values)}.")
        if len(set(self.values)) < max(2, len(self.values)):
            raise ValueError(f"A dial is swept over two or more different settings, not over {list(self.values)}.")
        object.__setattr__(self, "values", tuple(float(value) + 0.0 for value in sorted(self.values)))
        for dial in self.dials:
            games = [_as_played(replace(self.base, **{dial: value})) for value in self.values]
            for one, other, sooner, later in zip(games, games[1:], self.values, self.values[1:], strict=False):
                if one == other:
                    raise ValueError(
                        f"The dial {dial} has whole steps, and {sooner:g} and {later:g} are the same game: "
                        "choose settings farther apart."
                    )

    def settings(self) -> Iterator[tuple[str, float, Dials]]:
        """Each dial at each value, with all dials as they are then."""
        for dial in self.dials:
            for value in self.values:
                yield dial, value, replace(self.base, **{dial: value})

    def plan(self) -> Plan:
        """All runs; settings that several dials share, and their runs, are there once."""
        return Plan(
            tuple(plan_setting(dials, self.preset) for dials in dict.fromkeys(row[2] for row in self.settings()))
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data that says everything the sweep would do."""
        return {"format": FORMAT} | asdict(self)


def _as_played(dials: Dials) -> tuple[object, ...]:
    """What the dials amount to."""
    seen = tuple(getattr(dials, dial) for dial in PERCEPTUAL if dial != "distractors")
    return (Rules.of(dials), num_distractors(dials), *seen)


def _felt(dials: Dials, run: RunSettings) -> Dials:
    """The dials without those that a run cannot depend on, so that what several settings share is trained once.

    Label maps show nothing of the perceptual dials, and imitation never hears of rewards.
    """
    off = (*PERCEPTUAL * (run.view == "semantic"), *_UNFELT_BY_IMITATION * (run.learning == "imitation"))
    return replace(dials, **dict.fromkeys(off, 0.0))


def plan_setting(dials: Dials, preset: Preset) -> GamePlan:
    """Lay out the four cells of one setting of the dials.

    The teacher is the planner, and returns are counted between chance and the planner's, both computed.
    """
    preset.check()
    evaluated = evaluated_steps(preset)
    expected = expected_returns(dials)
    base = RunSettings(
        game=CALIBRATION_GAME,
        view="semantic",
        learning="rl",
        seed=0,
        steps=evaluated[-1],
        evaluation=Evaluation(evaluated, num_envs=preset.evaluation_episodes),
        encoder=preset.encoder,
        eye=weights_checksum(preset.encoder),
        num_levels=preset.num_levels,
        hyperparameters=preset.hyperparameters,
        dials=dials,
    )
    return GamePlan(
        game=CALIBRATION_GAME,
        budget=evaluated[-1],
        normalisation=Normalisation(expected.random, expected.best, source="computed"),
        teacher_run=None,
        given_teacher=None,
        cells=tuple(replace(run, dials=_felt(dials, run)) for run in cells_of(base, range(preset.seeds), EXPERT)),
    )


def sweep_scores(sweep: Sweep, store: Store, budget: int | None = None) -> pd.DataFrame:
    """Score every run of a sweep.

    Parameters
    ----------
    sweep, store
        What was turned, and where its runs are.
    budget
        Score only the curves' first part, as a sweep with a smaller budget would have; it ends at an evaluated step.

    Returns
    -------
    pandas.DataFrame
        One row a (dial, value, view, learning, seed, levels): the columns of `lcd.measurement.scores.cell_scores`
        behind the dial and its value. A setting that several dials share is there for each of them.

    Raises
    ------
    lcd.experiments.store.StoreError
        If a run is missing or damaged.
    """
    of_settings: dict[Dials, pd.DataFrame] = {}
    parts: list[pd.DataFrame] = []
    for dial, value, dials in sweep.settings():
        if dials not in of_settings:
            of_settings[dials] = _scores(plan_setting(dials, sweep.preset), store, budget)
        parts.append(of_settings[dials].assign(dial=dial, value=value))
    table = pd.concat(parts, ignore_index=True).drop(columns="game")
    first: Sequence[str] = ("dial", "value")
    return table[[*first, *(name for name in table.columns if name not in first)]]


def _scores(plan: GamePlan, store: Store, budget: int | None) -> pd.DataFrame:
    budget = budget or plan.budget
    episodes = pd.concat([store.load(run).episodes for run in plan.cells], ignore_index=True)
    checked = check_episodes(episodes[episodes["step"] <= budget], game=plan.game, budget=budget)
    return cell_scores(checked, plan.normalisation, budget)
