"""Learners: what a cell of the factorial learns from. A new one is an entry in `LEARNERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lcd.agents import PPO, DAgger
from lcd.agents.teacher_value import TeacherValue
from lcd.experiments.harmonized import HarmonizedDAgger, HarmonizedPPO
from lcd.io.limits import short


@dataclass(frozen=True)
class Learner:
    """A way to learn.

    Attributes
    ----------
    name
        Its name in settings and tables.
    needs_teacher
        Whether a teacher labels the states that the learner visits.
    build
        Makes the learner, a `lcd.agents.PPO` or a subclass, from its keyword arguments.
    harmonized
        The same with the harmonizer's auxiliary loss, given as `harmonizer`; None where there is none.
    fits_values
        Whether it learns what its teacher returns instead of what its teacher does.
    is_shaped
        Whether its teacher is such a value, which shapes its rewards, see `lcd.agents.teacher_value`.
    """

    name: str
    needs_teacher: bool
    build: Callable[..., PPO]
    harmonized: Callable[..., PPO] | None = None
    fits_values: bool = False
    is_shaped: bool = False


def reward_learner(build: Callable[..., PPO]) -> Callable[..., PPO]:
    """What makes a learner from reward, of the arguments that all learners are given: not those of imitation."""

    def without(*, mixing: float, memory: int, teacher: object, **arguments: Any) -> PPO:
        return build(**arguments)

    return without


LEARNERS: dict[str, Learner] = {
    "rl": Learner("rl", False, reward_learner(PPO), reward_learner(HarmonizedPPO)),
    "imitation": Learner("imitation", True, DAgger, HarmonizedDAgger),
    "teacher-value": Learner("teacher-value", True, TeacherValue, fits_values=True),
    "shaped": Learner("shaped", True, reward_learner(PPO), is_shaped=True),
}
"""Learners by name: reinforcement learning by PPO, imitation of a teacher by online DAgger, and for the ladder
(`lcd.studies.ladder`) the value of a teacher, and PPO on rewards that this value shapes."""


def has_fitted_values(card: Mapping[str, Any]) -> bool:
    """Whether the run on a policy's card has learned values and not to act; False for a card without a run."""
    run = card.get("run")
    learner = LEARNERS.get(str(run.get("learning"))) if isinstance(run, Mapping) else None
    return learner is not None and learner.fits_values


def get_learner(name: str) -> Learner:
    """Look a learner up by its name.

    Raises
    ------
    ValueError
        If there is no such learner.
    """
    if name not in LEARNERS:
        raise ValueError(f"Unknown kind of learning {short(name)}: choose one of {', '.join(LEARNERS)}.")
    return LEARNERS[name]
