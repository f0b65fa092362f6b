"""States of a game with what an expert expects of every action in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from agents import EncoderPolicy
from agents.search import PlanSearch, SearchSettings
from envs import ProcgenBatch, ProcgenOptions
from envs.actions import action_classes
from envs.heading import NO_MOVE
from lcd.files import replacing
from lcd.teachers.recipes import Advice

NUM_GAMES = 16


@dataclass(frozen=True)
class Demonstrations:
    """Labelled states.

    Attributes
    ----------
    observations : numpy.ndarray, shape (n, 64, 64), uint8
        Label maps.
    action_values : numpy.ndarray, shape (n, 15), float32
        Return that the expert expects when it begins with each action.
    expert_returns : numpy.ndarray, shape (m,), float32
        Returns of the episodes that the expert played from beginning to end, slips included.
    """

    observations: NDArray[np.uint8]
    action_values: NDArray[np.float32]
    expert_returns: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Write the states to a file, whole or not at all."""
        with replacing(path) as partial:
            np.savez_compressed(
                partial,
                observations=self.observations,
                action_values=self.action_values,
                expert_returns=self.expert_returns,
            )

    @classmethod
    def load(cls, path: Path) -> Demonstrations:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as data:
            return cls(data["observations"], data["action_values"], data["expert_returns"])


def demonstrate(
    options: ProcgenOptions,
    search: SearchSettings,
    advice: Advice,
    count: int,
    student: EncoderPolicy | None = None,
    *,
    seed: int = 0,
) -> Demonstrations:
    """Play some games, asking the expert about every `advice.stride`-th state.

    Parameters
    ----------
    options
        The game and its levels.
    search
        The expert.
    advice
        How it is asked, and how often it acts itself.
    count
        States to label.
    student
        Acts in the games in which the expert does not; without one the expert acts in all.
    seed
        Of levels and chance.

    Returns
    -------
    Demonstrations
    """
    random = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    batch = ProcgenBatch(options, NUM_GAMES, "semantic", seed)
    expert = PlanSearch(options, search, seed)
    first_of_class = np.array([members[0] for members in action_classes(options.game)])
    led = np.arange(NUM_GAMES) < (NUM_GAMES if student is None else round(advice.expert_share * NUM_GAMES))
    plans: list[NDArray[np.int64] | None] = [None] * NUM_GAMES
    observations: list[NDArray[np.uint8]] = []
    values: list[NDArray[np.float32]] = []
    finished: list[float] = []
    returns = np.zeros(NUM_GAMES)
    seen = np.asarray(batch.observe())
    try:
        while len(observations) * NUM_GAMES < count:
            decisions = [
                expert.decide(batch.saved_state(index), plans[index], advice.stride) for index in range(NUM_GAMES)
            ]
            observations.append(seen)
            values.append(np.array([decision.values for decision in decisions], np.float32))
            plans = [decision.plan for decision in decisions]
            ahead = np.array([decision.plan[: advice.stride] for decision in decisions])
            slips = random.random(NUM_GAMES) < advice.slips
            ahead[slips] = first_of_class[random.integers(len(first_of_class), size=int(slips.sum()))][:, None]
            for time in range(advice.stride):
                actions = ahead[:, time]
                if student is not None and not led.all():
                    own = _sample(student, seen, generator)
                    actions = np.where(led, actions, own)
                step = batch.step(actions.astype(np.int32))
                seen = np.asarray(step.observations)
                returns += step.rewards
                for index in np.flatnonzero(step.terminated | step.truncated).tolist():
                    if led[index]:
                        finished.append(returns[index])
                    returns[index] = 0
                    plans[index] = None
                    ahead[index] = NO_MOVE
    finally:
        expert.close()
        batch.close()
    return Demonstrations(
        np.concatenate(observations)[:count], np.concatenate(values)[:count], np.array(finished, np.float32)
    )


@torch.no_grad()
def _sample(policy: EncoderPolicy, observations: np.ndarray, generator: torch.Generator) -> NDArray[np.int64]:
    chances = policy.log_probabilities(torch.from_numpy(observations)).exp()
    return torch.multinomial(chances, 1, generator=generator).squeeze(1).numpy()
