"""Planning in the true simulator by random shooting: the general expert."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lcd.envs.procgen.actions import action_classes
from lcd.envs.procgen.options import ProcgenOptions
from lcd.envs.procgen.routes import TERRAINS, Route, position
from lcd.envs.procgen.saved_state import SavedState
from lcd.envs.procgen.simulator import Outcomes, Simulator
from lcd.io.settings import Count, Number, Positive, Share, settings


@settings
class SearchSettings:
    """Horizon, width and objective of a search.

    Attributes
    ----------
    horizon
        Steps of a plan.
    num_plans
        Plans tried at each decision; at least one more than the game has action classes.
    discount
        Discount factor per step.
    death_cost
        Return lost when an episode ends before its level is completed.
    hold
        Mean number of steps for which a random plan holds an action.
    route_weight
        Value of each cell closer to the goal at the end of a plan; 0 uses rewards alone.
    """

    horizon: Count = 20
    num_plans: Count = 24
    discount: Share = 0.98
    death_cost: Number = 5.0
    hold: Positive = 6.0
    route_weight: Number = 0.0


class PlanSearch:
    """Expert that simulates action sequences in copies of the game and follows the best.

    At each decision it tries the rest of its last plan, every action held, changes of the last plan at random places
    and random plans (random shooting with a warm start, as in model-predictive control).

    Parameters
    ----------
    options
        The game.
    settings
        Horizon, width and objective.
    seed
        Of the random plans.

    Raises
    ------
    ValueError
        If there are fewer plans than it takes to try every action, or no routes are known in the game.
    """

    def __init__(self, options: ProcgenOptions, settings: SearchSettings | None = None, seed: int = 0) -> None:
        self.settings = settings or SearchSettings()
        classes = action_classes(options.game)
        self._actions = np.array([members[0] for members in classes])
        if self.settings.num_plans <= len(classes):
            raise ValueError(
                f"{self.settings.num_plans} plans cannot try the {len(classes)} different actions of {options.game}: "
                f"num_plans must be at least {len(classes) + 1}."
            )
        if self.settings.route_weight and options.game not in TERRAINS:
            raise ValueError(f"No paths are known in {options.game}: route_weight must be 0.")
        self._game = options.game
        self._simulator = Simulator(options, self.settings.num_plans)
        self._random = np.random.default_rng(seed)
        self._discounts = self.settings.discount ** np.arange(self.settings.horizon)

    def decide(self, state: bytes, last: NDArray[np.integer] | None = None, elapsed: int = 1) -> NDArray[np.int64]:
        """Search from a state.

        Parameters
        ----------
        state
            What ``Engine.get_state`` gave.
        last : numpy.ndarray, shape (horizon,), or None
            The plan found `elapsed` steps before, if the episode has gone on since.
        elapsed
            Steps of it that were carried out.

        Returns
        -------
        numpy.ndarray, shape (horizon,)
            The best plan found.
        """
        plans = self._plans(last, elapsed)
        values = self._values(state, plans)
        if last is None:  # without a warm start: a second search starts from the best plan of the first
            again = self._plans(plans[int(values.argmax())], 0)
            plans, values = np.concatenate([plans, again]), np.concatenate([values, self._values(state, again)])
        return plans[int(values.argmax())]

    def _plans(self, last: NDArray[np.integer] | None, elapsed: int) -> NDArray[np.int64]:
        """Plans to try, every action first in one of them; the first is preferred among equals."""
        horizon, count = self.settings.horizon, self.settings.num_plans
        different = len(self._actions)
        plans = self._actions[self._random.integers(different, size=(count, horizon))]
        changes = self._random.random((count, horizon)) < 1 / self.settings.hold
        for time in range(1, horizon):
            plans[:, time] = np.where(changes[:, time], plans[:, time], plans[:, time - 1])
        if last is None:
            plans[:different] = self._actions[:, None]
            return plans
        rest = np.concatenate([last[elapsed:], np.repeat(last[-1:], elapsed)])
        changed = plans[1 : (1 + different + count) // 2]
        begins = np.zeros(len(changed), np.int64)
        begins[different:] = self._random.integers(horizon, size=len(changed) - different)
        changed[:different, 0] = self._actions
        for plan, begin in zip(changed, begins, strict=True):
            end = begin + int(self._random.geometric(1 / self.settings.hold))
            action = plan[begin]
            plan[:] = rest
            plan[begin:end] = action
        plans[0] = rest
        return plans

    def _values(self, state: bytes, plans: NDArray[np.int64]) -> NDArray[np.float64]:
        """Discounted return of each plan, less the costs of dying and of the remaining path."""
        outcomes = self._simulator.try_plans(state, plans)
        died = outcomes.ended & ~outcomes.completed
        values = outcomes.rewards @ self._discounts - np.where(
            died, self.settings.death_cost * self._discounts[outcomes.lengths - 1], 0.0
        )
        if self.settings.route_weight:
            values -= self.settings.route_weight * self._to_go(state, outcomes)
        return values

    def _to_go(self, state: bytes, outcomes: Outcomes) -> NDArray[np.float64]:
        """Length of the remaining path after each plan, 0 for a completed level."""
        root = SavedState(state)
        route = Route(self._game, root)
        to_go = np.full(len(outcomes.ended), route.remaining(*position(root)))
        to_go[outcomes.completed] = 0
        for index, leaf in enumerate(self._simulator.states(len(to_go))):
            if not outcomes.ended[index]:
                to_go[index] = route.remaining(*position(SavedState(leaf)))
        return to_go

    def close(self) -> None:
        """Free the simulator."""
        self._simulator.close()
